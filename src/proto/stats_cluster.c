/* stats cluster: each partition of a clustered pool. A plain pool has none. */
#include "proto/stats_groups.h"

#include "store/replication.h"

#include <stdio.h>

static void cluster_put(struct stats_sink *sink, uint32_t partition, const char *name,
                        uint64_t number) {
    char whole[48];
    snprintf(whole, sizeof whole, "%u:%s", partition, name);
    stats_put_u64(sink, whole, number);
}

static void cluster_put_text(struct stats_sink *sink, uint32_t partition, const char *name,
                             const char *text) {
    char whole[48];
    snprintf(whole, sizeof whole, "%u:%s", partition, name);
    stats_put(sink, whole, "%s", text);
}

static void cluster_put_partition(struct stats_sink *sink, uint32_t partition,
                                  const struct replication_partition *state) {
    cluster_put_text(sink, partition, "leader", state->leader[0] != '\0' ? state->leader : "-");
    cluster_put_text(sink, partition, "state",
                     state->is_lost         ? "lost"
                     : state->is_leaderless ? "leaderless"
                     : state->caught_up     ? "caught_up"
                                            : "catching_up");
    cluster_put(sink, partition, "position", state->position);
    cluster_put(sink, partition, "last", state->last);
    cluster_put(sink, partition, "records", state->records);
    cluster_put(sink, partition, "replicas", state->replicas);
    cluster_put(sink, partition, "replicas_current", state->replicas_current);
    cluster_put(sink, partition, "lag_ms", state->lag_ms);
    cluster_put(sink, partition, "silent_ms", state->silent_ms);
    cluster_put(sink, partition, "to_read", state->to_read);
    cluster_put(sink, partition, "in_flight", state->in_flight);
    cluster_put(sink, partition, "conflicts", state->conflicts);
}

void stats_put_cluster(struct stats_listing *listing) {
    const struct pool_replication *replication = pool_get_replication(listing->connection->pool);
    struct replication_state state;
    if (replication == NULL || replication->get_state == NULL) {
        return;
    }
    replication->get_state(replication->context, &state);
    for (uint32_t i = 0; i < state.partitions; i++) {
        struct replication_partition partition;
        replication->get_partition(replication->context, i, &partition);
        cluster_put_partition(listing->sink, i, &partition);
    }
}
