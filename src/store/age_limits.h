/* The limits on age, idle_timeout and max_lifetime, across restarts of a persistent pool.
 *
 * The record of an item that a limit has ended does not say so, and may stay in the file for long.
 * So the header notes the limits in force. When a pool is opened with a longer limit, the records
 * that the old limits have ended first get an expiry in the past, durably. After a crash before the
 * new limits are noted, the next start does that again. Called while the pool is being opened,
 * before any other thread sees it.
 */
#ifndef STAYD_STORE_AGE_LIMITS_H
#define STAYD_STORE_AGE_LIMITS_H

#include "store/pool_private.h"

/* Before recovery, and before anything is served or written: with the limits of the options from
 * then on, in a header that the caller syncs. `attached`: the index is in use, and learns where
 * items end now. False if a sync failed. */
bool age_limits_take(struct pool *pool, bool attached, uint32_t now_s);

#endif
