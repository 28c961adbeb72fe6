/* The limits on age, idle_timeout and max_lifetime, across restarts of a persistent pool.
 *
 * Items that are gone by a limit say so by nothing in the file: their records may be there long
 * after. So the header notes which limits are in force, and when a pool is opened with a longer one
 * than that, what the old limits have ended is made to end by its own expiry first, durably. A
 * crash before the new limits are noted only has it done again. Called while the pool is being
 * opened, before any other thread sees it.
 */
#ifndef STAYD_STORE_AGE_LIMITS_H
#define STAYD_STORE_AGE_LIMITS_H

#include "store/pool_private.h"

/* Before recovery, and before anything is served or written: with the limits of the options from
 * then on, in a header that the caller syncs. `attached`: the index is in use, and learns where
 * items end now. False if a sync failed. */
bool age_limits_take(struct pool *pool, bool attached, uint32_t now_s);

#endif
