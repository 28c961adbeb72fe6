/* Changing the memory of a persistent pool between two runs of the daemon: its file gets more
 * segments, or fewer. The size of a segment stays what it was when the file was made.
 *
 *     grow     more room is reserved behind the last segment, then the header counts it
 *     shrink   what lives in the last segments moves to the front, then the header counts fewer
 *
 * A crash in between leaves a pool of the old size, or a file that is longer than its header says,
 * which counts as sound. Called while the pool is being opened, before any other thread sees it.
 */
#ifndef STAYD_STORE_RESIZE_H
#define STAYD_STORE_RESIZE_H

#include "store/pool_private.h"

/* Sets `*count` to the segments that the options ask for in a file of these segments. False, with
 * the reason, if the file cannot serve these options at any size. */
bool resize_plan(const struct layout_data_header *found, const struct pool_options *options,
                 uint32_t *count, char error[POOL_ERROR_MAX]);

/* Makes an open, locked, not yet mapped file hold `count` segments, more than it has; updates
 * `header` to what is then on the disk. Out of space: the file is as it was. */
bool resize_grow(int file, struct layout_data_header *header, uint32_t count,
                 char error[POOL_ERROR_MAX]);

/* Empties the segments from `count` on and cuts the file. The pool is whole, its janitor does not
 * run; afterwards it must be closed and opened again. False, with the reason: what lives does not
 * fit, the pool is as large as it was and nothing is lost. */
bool resize_shrink(struct pool *pool, uint32_t count, char error[POOL_ERROR_MAX]);

#endif
