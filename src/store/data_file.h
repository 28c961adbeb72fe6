/* The file of a persistent pool, data_dir/NAME.pool: creates, opens, checks and grows it. Shrinking
 * moves records first: resize.h. */
#ifndef STAYD_STORE_DATA_FILE_H
#define STAYD_STORE_DATA_FILE_H

#include "store/layout.h"
#include "store/mapping.h"

/* Opens data_dir/NAME.pool and grows it to the memory in the options. If there is no such file,
 * creates one with the geometry in `wanted`: preallocated, all zero behind its header. Locks the
 * file against a second daemon. A file that is damaged, or cannot serve the options, is refused and
 * not changed.
 *
 * A file may be longer than its header says: after a crash while it grew, and after it was shrunk.
 *
 * A file of an earlier version of the layout is converted: its header is written again, in one
 * write, and synced before anything else is changed. A crash leaves a valid file of the old or the
 * new version. */
enum status data_file_open(struct mapping *mapping, const struct pool_options *options,
                           const struct layout_data_header *wanted, bool *created,
                           char error[POOL_ERROR_MAX]);

/* Gives the space behind `count` segments back to the file system. The file keeps its length:
 * another process may have mapped it, and would be killed (SIGBUS) when it reads behind the end. */
void data_file_give_back(int file, const struct layout_data_header *header, uint32_t count);

/* Writes the header with another count of segments, in one write. (If the count and the checksum
 * were stored into the mapping one after the other, the kernel could write the page to the disk in
 * between.) */
bool data_file_write_header(int file, struct layout_data_header *header, uint32_t count);

/* Notes in the file's header that a sync of the file has failed. The kernel keeps the pages that it
 * could not write in the page cache, but regards them as written. The note is in the page cache
 * too, so the next start finds it as long as it finds those pages. */
void data_file_note_failed_sync(int file);

/* If a sync of the file failed in an earlier run: writes the whole contents into the page cache
 * again, so that the next sync brings all of it to the disk. False and errno if that fails. */
bool data_file_write_again(const struct mapping *mapping);

#endif
