/* Reads by other processes (reader.h) leave no trace in an item. So that the daemon still knows
 * what is in use, such a process reads an item over the socket when the access noted in it is old:
 * a share of what lets an item go. One read in so much time is noted; all others stay in the
 * mapping.
 *
 *     idle_timeout   an eighth of it
 *     evict = yes    a sixteenth of the time that an unread item lives before it is evicted: as old
 *                    as the oldest segment was at the last eviction
 *
 * whichever is less. Called by the thread that opens the pool, and then by the janitor's. */
#ifndef STAYD_STORE_ACCESS_REPORTS_H
#define STAYD_STORE_ACCESS_REPORTS_H

#include "store/pool_private.h"

/* Before the pool is served. */
void access_reports_init(struct pool *pool);

/* The oldest segment is being evicted, and was opened so long ago. */
void access_reports_note_window(struct pool *pool, uint32_t window_s);

#endif
