/* Making a persistent pool's file smaller, at the start. (data_file.h lets one grow.) The size of a
 * segment stays what it was when the file was made. What lives in the last segments moves to the
 * front, then the header counts fewer, then the file is cut. A crash in between leaves a pool of
 * the old size, or a file that is longer than its header says, which counts as sound.
 *
 * Called while the pool is being opened, before any other thread sees it.
 */
#ifndef STAYD_STORE_RESIZE_H
#define STAYD_STORE_RESIZE_H

#include "store/pool_private.h"

/* Empties the segments from `count` on and cuts the file. The pool is whole, its janitor does not
 * run; afterwards it must be closed and opened again. False, with the reason: what lives does not
 * fit, the pool is as large as it was and nothing is lost. */
bool resize_shrink(struct pool *pool, uint32_t count, char error[POOL_ERROR_MAX]);

#endif
