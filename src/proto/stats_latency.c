/* stats latency: the histograms of latency.h, for `stayctl latency`. stayd's own command. */
#include "proto/latency.h"
#include "proto/stats_groups.h"

#include <inttypes.h>
#include <stdio.h>

/* STAT get_256 17: 17 measured reads took 129 to 256 ns. Empty buckets are left out. */
void stats_put_latency(struct stats_listing *listing) {
    const struct latency *latency = &listing->connection->service->latency;
    char name[48];
    stats_put_u64(listing->sink, "measured_every", LATENCY_EVERY);
    for (unsigned command = 0; command < LATENCY_COMMANDS; command++) {
        const char *of = latency_get_name((enum latency_command)command);
        for (unsigned bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
            uint64_t count = atomic_load_explicit(&latency->buckets[command][bucket],
                                                  memory_order_relaxed); /* a count */
            uint64_t limit_ns = latency_get_limit_ns(bucket);
            if (count == 0) {
                continue;
            }
            if (limit_ns == UINT64_MAX) {
                snprintf(name, sizeof name, "%s_more", of);
            } else {
                snprintf(name, sizeof name, "%s_%" PRIu64, of, limit_ns);
            }
            stats_put_u64(listing->sink, name, count);
        }
    }
}
