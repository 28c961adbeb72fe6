/* The file of a persistent pool, data_dir/NAME.pool: made, opened, grown, checked. Shrinking moves
 * records first: resize.h. */
#ifndef STAYD_STORE_DATA_FILE_H
#define STAYD_STORE_DATA_FILE_H

#include "store/layout.h"
#include "store/mapping.h"

/* Opens data_dir/NAME.pool and lets it grow to the memory in the options, or makes one of the
 * geometry in `wanted`, preallocated, all zero behind its header. Locked against a second daemon. A
 * file that is not sound, or cannot serve the options, is refused and left as it is.
 *
 * A crash while the file grows leaves a file that is longer than its header says; that counts as
 * sound. */
enum status data_file_open(struct mapping *mapping, const struct pool_options *options,
                           const struct layout_data_header *wanted, bool *created,
                           char error[POOL_ERROR_MAX]);

/* How long a file of this header is that has `count` segments. */
uint64_t data_file_bytes(const struct layout_data_header *header, uint32_t count);

/* Writes the header with another count of segments. In one piece: between two stores into the
 * mapping the kernel might bring it to the disk with a checksum that is not its own. */
bool data_file_write_header(int file, struct layout_data_header *header, uint32_t count);

/* A sync of this data file has failed. What the kernel could not write it keeps in memory, but
 * takes for written: this leaves word, in that same memory, for the next start. */
void data_file_note_failed_sync(int file);

/* If a sync of the data failed in an earlier run: has all of it written again by the next one.
 * False and errno if it cannot even be read. */
bool data_file_write_again(const struct mapping *mapping);

#endif
