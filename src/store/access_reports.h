/* Which reads other processes report. Reads from a mapping (reader.h) leave no trace in an item. So
 * that the daemon still knows which items are in use, a process reads an item over the socket when
 * the last access noted in the item is older than an interval. The daemon notes that read. The
 * interval is a part of the time after which an unread item is removed:
 *
 *     idle_timeout   an eighth of it
 *     evict = yes    a sixteenth of the age of the oldest segment at the last eviction, which is
 *                    about the time that an unread item lives before it is evicted
 *
 * The shorter interval counts. Called by the thread that opens the pool, and then by the janitor's
 * thread. */
#ifndef STAYD_STORE_ACCESS_REPORTS_H
#define STAYD_STORE_ACCESS_REPORTS_H

#include "store/pool_private.h"

/* Before the pool is served. */
void access_reports_init(struct pool *pool);

/* Notes how many seconds ago the segment that is being evicted, the oldest one, was opened. */
void access_reports_note_window(struct pool *pool, uint32_t window_s);

#endif
