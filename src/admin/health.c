#include "admin/advice.h"
#include "admin/page.h"
#include "base/clock.h"

static struct advice_cluster pool_cluster(const struct pool *pool,
                                          struct replication_state *state) {
    const struct pool_replication *replication = pool_get_replication(pool);
    if (replication == NULL || replication->get_state == NULL) {
        return (struct advice_cluster){0};
    }
    replication->get_state(replication->context, state);
    return (struct advice_cluster){
        .stage = replication_stage_name(state->stage),
        .wrong = state->wrong,
        .serves = state->serves,
        .unsynced = state->unsynced[0] != '\0',
        .partitions = state->partitions,
        .leaderless = state->leaderless,
        .lost_logs = state->lost_logs,
        .away_ms = state->away_ms,
        .lag_ms = state->lag_ms,
        .silent_ms = state->silent_ms,
        .applied = state->applied,
        .to_read = state->to_read,
    };
}

struct advice_facts pool_facts(const struct admin_options *options, unsigned pool,
                               const struct pool_stats *stats,
                               struct replication_state *replication) {
    const struct proto_server *server = options->server;
    uint32_t backup_s = stats->backup_s != 0 ? stats->backup_s : server->started_s;
    uint32_t now_s = clock_unix_s();
    return (struct advice_facts){
        .persists = pool_get_options(options->pools[pool])->persist,
        .backup_age_s = now_s > backup_s ? now_s - backup_s : 0,
        .evicts = pool_get_options(options->pools[pool])->evict,
        .read_only = stats->read_only,
        .full = stats->full,
        .index_full = stats->index_full,
        .turns_away = proto_service_turns_away(&options->services[pool]),
        .needed_bytes = stats->needed_bytes,
        .needed_limit_bytes = stats->needed_limit_bytes,
        .full_in_s = stats->full_in_s,
        .sync_lag_ms = stats->sync_lag_ms,
        .pool_connections = atomic_load(&options->services[pool].connections.used),
        .connections = atomic_load(&server->limits.connections.used),
        .connections_max = server->limits.connections.limit,
        .evictions = stats->counters[POOL_EVICTIONS],
        .evicted_unfetched = stats->counters[POOL_EVICTED_UNFETCHED],
        .cluster = pool_cluster(options->pools[pool], replication),
    };
}

bool health_write(const struct admin_options *options, bool may_read, FILE *stream) {
    bool well = true;
    for (unsigned i = 0; i < options->pool_count; i++) {
        struct pool_stats stats;
        struct advice advice[ADVICE_MAX];
        struct replication_state replication;
        pool_get_stats(options->pools[i], &stats);
        const struct advice_facts facts = pool_facts(options, i, &stats, &replication);
        unsigned count = advice_find(&facts, advice);
        for (unsigned j = 0; j < count && advice[j].level == ADVICE_FAULT; j++) {
            if (may_read) {
                fprintf(stream, "pool %s %s. %s\n", pool_get_options(options->pools[i])->name,
                        advice[j].what, advice[j].remedy);
            }
            well = false;
        }
    }
    if (well) {
        fputs("ok\n", stream);
    } else if (!may_read) {
        fputs("There are faults. Log in to read them.\n", stream);
    }
    return well;
}
