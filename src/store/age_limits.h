/* The limits on age, idle_timeout and max_lifetime, across restarts of a persistent pool.
 *
 * The record of an item that a limit has ended does not say so, and may stay in the file for long.
 * So the header notes the limits in force. When a pool is opened with a longer limit, the records
 * that the old limits have ended first get an expiry in the past, durably. After a crash before the
 * new limits are noted, the next start does that again. Called while the pool is being opened,
 * before any other thread sees it.
 *
 * Both promises need the right time: an item that a limit has ended must not come back, and a wrong
 * clock must not end an item for good. So while the clock is in doubt (expiry_clock.h), the pool
 * goes on with the earlier limits, and says so; the next start tries again.
 */
#ifndef STAYD_STORE_AGE_LIMITS_H
#define STAYD_STORE_AGE_LIMITS_H

#include "store/pool_private.h"

/* Before recovery, and before anything is served or written. Afterwards the options and the header,
 * which the caller syncs, have the limits in force. `attached`: the index is in use, and learns
 * where items end now. False: a sync failed, or the start is to end (pool_is_stopping). */
bool age_limits_take(struct pool *pool, bool attached, uint32_t now_s);

#endif
