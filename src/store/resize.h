/* Makes a persistent pool's file smaller while the pool is being opened. (data_file.h grows files.)
 * The size of a segment never changes. The live records of the last segments are moved to the
 * front, then the header gets the lower count, then the space behind it is given back to the file
 * system. The file keeps its length, because other processes may have mapped it
 * (data_file_give_back). A crash leaves a valid pool of the old or of the new size.
 *
 * Called while the pool is being opened, before any other thread sees it.
 */
#ifndef STAYD_STORE_RESIZE_H
#define STAYD_STORE_RESIZE_H

#include "store/pool_private.h"

/* Empties the segments from number `count` on, and takes them out of the file. The pool is open,
 * but its janitor does not run; afterwards the pool must be closed and opened again. False, with
 * the reason: the live records do not fit; the pool has its old size, and nothing is lost. */
bool resize_shrink(struct pool *pool, uint32_t count, char error[POOL_ERROR_MAX]);

#endif
