/* The limits on age, idle_timeout and max_lifetime, across restarts of a persistent pool.
 *
 * The record of an item that has expired by a limit does not say so, and may stay in the file for
 * long. So the header records the limits in force. When a pool is opened with a longer limit, the
 * records of items that have expired by the old limits first get an expiry in the past, durably.
 * After a crash before the new limits are noted, the next start does that again. Called while the
 * pool is being opened, before any other thread sees it.
 *
 * An item that has expired by a limit must not come back, and a wrong clock must not end an item
 * for good; both need the right time. So while the clock is not trusted (expiry_clock.h), the pool
 * keeps the earlier limits and logs that; the next start tries again.
 */
#ifndef STAYD_STORE_AGE_LIMITS_H
#define STAYD_STORE_AGE_LIMITS_H

#include "store/pool_private.h"

/* Called before recovery, and before anything is served or written. Afterwards the options and the
 * header hold the limits in force; the caller syncs the header. `attached`: the index of the last
 * clean stop is in use, and is updated too. False: a sync failed, or the daemon is stopping
 * (pool_is_stopping). */
bool age_limits_take(struct pool *pool, bool attached, uint32_t now_s);

#endif
