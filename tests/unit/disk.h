/* A simulated disk that can lose what was not synced. It replaces the real disk under a pool's
 * file.
 *
 * A pool writes by storing into its mapping, and the kernel may write any page of the mapping to
 * the disk at any moment, in any order. So for each page this disk keeps the version that is
 * certainly on the disk, and every version recorded since. A power cut leaves any one of these
 * versions for each page, or a page torn between two of them.
 *
 *     page 7   | durable | version | version | newest |     recorded by disk_record
 *     page 8   | durable |
 *     page 9   | durable | newest |
 *                 a sync makes durable what was there when it began
 *
 * While a disk exists the store works on it (store/io.h); files in other folders are never synced.
 * Any thread may call. */
#ifndef STAYD_TESTS_DISK_H
#define STAYD_TESTS_DISK_H

#include "store/io.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DISK_PAGE = 4096, DISK_SECTOR = 512, DISK_NOTES = 512 };

struct disk;

/* What the watcher notes at the moment at which a sync begins. */
struct disk_note {
    uint64_t numbers[DISK_NOTES];
};

/* The thread that syncs calls both. */
struct disk_watcher {
    void (*sync_begins)(void *context, struct disk_note *note);
    void (*sync_ended)(void *context, const struct disk_note *note);
    void *context;
};

/* A disk with one file, at `path`. The file need not exist yet. */
struct disk *disk_create(const char *path, const struct disk_watcher *watcher);
void disk_destroy(struct disk *disk);

/* The store's system calls on this disk, for tests that intercept them. */
extern const struct store_io disk_io;

/* Makes a sync fail. As on Linux, the pages that could not be written then count as clean: later
 * syncs leave them out until they are written again. */
void disk_fail_sync(struct disk *disk);

/* The pool has removed its mapping. */
void disk_unmap(struct disk *disk);

/* Records the pages as they are now: a power cut may leave these versions. */
void disk_record(struct disk *disk);

/* As disk_record, for one page in `share`, while other threads write. */
void disk_record_some(struct disk *disk, uint64_t *random, uint32_t one_in);

/* Bytes of the file; 0 before a pool has mapped it. */
size_t disk_size(const struct disk *disk);

/* Writes to `image`, of disk_size bytes, what a power cut at this moment might leave. */
void disk_cut(struct disk *disk, uint64_t *random, unsigned char *image);

/* As disk_cut, for tests that choose which pages are lost: a page is as it was at the last sync if
 * `lost` returns true, and otherwise as it is now. */
void disk_cut_pages(struct disk *disk, bool (*lost)(void *context, size_t page), void *context,
                    unsigned char *image);

/* Switches the power off: from now on no write to the file reaches the disk. The pool is still
 * open. */
void disk_power_off(struct disk *disk);

/* Switches the power on again, with `image` on the disk. The pool is closed. */
void disk_power_on(struct disk *disk, const unsigned char *image);

/* Writes a file with these bytes. */
void disk_write_file(const char *path, const unsigned char *image, size_t size);

#endif
