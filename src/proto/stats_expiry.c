/* stats expiry: how many items expire in each of the next hours, for `stayctl sessions`. stayd's
 * own command. */
#include "base/clock.h"
#include "proto/stats_groups.h"

#include <stdio.h>

void stats_put_expiry(struct stats_listing *listing) {
    struct pool_expiry expiry;
    char name[32];
    pool_get_expiry(listing->connection->pool, clock_unix_s(), &expiry);
    stats_put_u64(listing->sink, "expired", expiry.expired);
    for (unsigned hour = 0; hour < POOL_EXPIRY_HOURS; hour++) {
        snprintf(name, sizeof name, "expire_in_hour_%u", hour + 1);
        stats_put_u64(listing->sink, name, expiry.within_hours[hour]);
    }
    stats_put_u64(listing->sink, "expire_later", expiry.later);
    stats_put_u64(listing->sink, "expire_never", expiry.never);
}
