#include "cluster/cluster_private.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Whether no leader was found for some seconds. Under the lock. */
static bool cluster_is_leaderless(const struct cluster_log *log, uint64_t now_ms) {
    return log->failed && log->led_ms != 0 && now_ms > log->led_ms + CLUSTER_LEADERLESS_MS;
}

/* Records of the partition that are still to be read; 0 when it is caught up. */
static uint64_t cluster_get_to_read(const struct reader *reader, uint32_t partition) {
    struct reader_partition_stats stats;
    if (reader == NULL) {
        return 0;
    }
    reader_get_partition(reader, partition, &stats);
    return stats.caught_up ? 0 : stats.pending;
}

void cluster_get_state(void *context, struct replication_state *state) {
    struct cluster *cluster = context;
    const struct reader *reader = atomic_load(&cluster->reader);
    struct writes_stats writes;
    struct reader_stats read = {0};
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t lost_ms = atomic_load(&cluster->lost_ms);
    writes_get_stats(cluster->writes, &writes);
    if (reader != NULL) {
        reader_get_stats(reader, &read);
    }
    *state = (struct replication_state){
        .stage = atomic_load(&cluster->stage),
        .serves = atomic_load(&cluster->serves),
        .connected = cluster->engine.is_connected(cluster->engine.self),
        .partitions = cluster->subjects.partitions,
        .caught_up = read.caught_up,
        .lost_logs = (uint32_t)writes.lost_logs,
        .away_ms = lost_ms != 0 && now_ms > lost_ms ? now_ms - lost_ms : 0,
        .lag_ms = read.lag_ms,
        .silent_ms = read.oldest_ms,
        .applied = read.applied,
        .left_out = read.foreign,
        .no_room = read.refused,
        .in_flight = writes.in_flight,
        .acknowledged = writes.acknowledged,
        .conflicts = writes.conflicts,
        .lost_answers = writes.lost_answers,
        .failed = writes.failed,
        .confirmed = writes.confirmed,
        .confirmations = writes.confirmations,
        .longest_write_ms = writes.longest_ms,
    };
    for (uint32_t i = 0; i < state->partitions; i++) {
        state->to_read += cluster_get_to_read(reader, i);
    }
    pthread_mutex_lock(&cluster->lock);
    for (uint32_t i = 0; i < state->partitions; i++) {
        state->leaderless += cluster_is_leaderless(&cluster->logs[i], now_ms);
    }
    state->sync_is_known = cluster->nodes.answered > 0;
    memcpy(state->unsynced, cluster->nodes.unsynced, sizeof state->unsynced);
    memcpy(state->wrong, cluster->wrong, sizeof state->wrong);
    pthread_mutex_unlock(&cluster->lock);
}

void cluster_get_partition(void *context, uint32_t partition, struct replication_partition *state) {
    struct cluster *cluster = context;
    const struct reader *reader = atomic_load(&cluster->reader);
    struct writes_partition_stats writes;
    struct reader_partition_stats read = {0};
    uint64_t now_ms = clock_monotonic_ms();
    writes_get_partition(cluster->writes, partition, &writes);
    if (reader != NULL) {
        reader_get_partition(reader, partition, &read);
    }
    *state = (struct replication_partition){
        .caught_up = read.caught_up,
        .is_lost = writes_has_lost_log(cluster->writes, partition),
        .position = pool_get_position(cluster->pool, partition),
        .lag_ms = read.lag_ms,
        .silent_ms = read.silent_ms,
        .to_read = cluster_get_to_read(reader, partition),
        .in_flight = writes.in_flight,
        .conflicts = writes.conflicts,
    };
    pthread_mutex_lock(&cluster->lock);
    const struct cluster_log *log = &cluster->logs[partition];
    memcpy(state->leader, log->log.leader, sizeof state->leader);
    state->is_leaderless = cluster_is_leaderless(log, now_ms);
    state->last = log->log.last;
    state->records = log->log.records;
    state->bytes = log->log.bytes;
    state->replicas = log->log.replicas;
    state->replicas_current = log->log.replicas_current;
    pthread_mutex_unlock(&cluster->lock);
}

void cluster_visit_stats(void *context, void (*visit)(void *, const char *, const char *),
                         void *visitor) {
    struct replication_state state;
    cluster_get_state(context, &state);
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {
        {"cluster_connected", state.connected},
        {"cluster_partitions", state.partitions},
        {"cluster_caught_up", state.caught_up},
        {"cluster_leaderless", state.leaderless},
        {"cluster_away_ms", state.away_ms},
        {"cluster_lag_ms", state.lag_ms},
        {"cluster_silent_ms", state.silent_ms},
        {"cluster_to_read", state.to_read},
        {"cluster_applied", state.applied},
        {"cluster_left_out", state.left_out},
        {"cluster_no_room", state.no_room},
        {"cluster_in_flight", state.in_flight},
        {"cluster_acknowledged", state.acknowledged},
        {"cluster_conflicts", state.conflicts},
        {"cluster_lost_answers", state.lost_answers},
        {"cluster_failed", state.failed},
        {"cluster_confirmed", state.confirmed},
        {"cluster_confirmations", state.confirmations},
        {"cluster_lost_logs", state.lost_logs},
        {"cluster_longest_write_ms", state.longest_write_ms},
    };
    visit(visitor, "cluster_state", replication_stage_name(state.stage));
    visit(visitor, "cluster_serves", state.serves ? "yes" : "no");
    visit(visitor, "cluster_syncs",
          !state.sync_is_known        ? "unknown"
          : state.unsynced[0] != '\0' ? "no"
                                      : "yes");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char text[24];
        snprintf(text, sizeof text, "%" PRIu64, numbers[i].number);
        visit(visitor, numbers[i].name, text);
    }
    if (state.wrong[0] != '\0') {
        state.wrong[200] = '\0'; /* a line of statistics is short */
        visit(visitor, "cluster_wrong", state.wrong);
    }
}
