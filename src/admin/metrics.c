#include "admin/page.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

struct metric {
    const char *name;
    const char *help;
};

/* Indexed by enum pool_counter. */
static const struct metric counters[] = {
    [POOL_CMD_GET] = {"gets_total", "Keys looked up."},
    [POOL_GET_HITS] = {"get_hits_total", "Keys looked up and found."},
    [POOL_GET_MISSES] = {"get_misses_total", "Keys looked up and not found."},
    [POOL_GET_EXPIRED] = {"get_expired_total", "Keys not found because the item had expired."},
    [POOL_GET_FLUSHED] = {"get_flushed_total", "Keys not found because the item was flushed."},
    [POOL_CMD_SET] = {"sets_total", "Requests to store an item."},
    [POOL_CMD_FLUSH] = {"flushes_total", "Requests to flush all items (flush_all)."},
    [POOL_CMD_TOUCH] = {"touches_total", "Requests to change an expiry."},
    [POOL_CMD_META] = {"meta_commands_total", "Requests with meta commands."},
    [POOL_AUTH_CMDS] = {"auth_cmds_total", "Logins, successful or not."},
    [POOL_AUTH_ERRORS] = {"auth_errors_total", "Failed logins."},
    [POOL_TOUCH_HITS] = {"touch_hits_total", "Expiries changed."},
    [POOL_TOUCH_MISSES] = {"touch_misses_total", "Expiries not changed: no such item."},
    [POOL_DELETE_HITS] = {"delete_hits_total", "Items deleted."},
    [POOL_DELETE_MISSES] = {"delete_misses_total", "Deletions of items that were not there."},
    [POOL_INCR_HITS] = {"incr_hits_total", "Numbers incremented."},
    [POOL_INCR_MISSES] = {"incr_misses_total", "Increments of items that were not there."},
    [POOL_DECR_HITS] = {"decr_hits_total", "Numbers decremented."},
    [POOL_DECR_MISSES] = {"decr_misses_total", "Decrements of items that were not there."},
    [POOL_CAS_HITS] = {"cas_hits_total", "Compare-and-swaps that stored."},
    [POOL_CAS_MISSES] = {"cas_misses_total", "Compare-and-swaps of items that were not there."},
    [POOL_CAS_BADVAL] = {"cas_badval_total", "Compare-and-swaps whose CAS did not match."},
    [POOL_STORE_TOO_LARGE] = {"store_too_large_total", "Items refused: larger than item_max."},
    [POOL_STORE_NO_MEMORY] = {"store_no_memory_total", "Items refused: the pool is full."},
    [POOL_TOTAL_ITEMS] = {"stored_total", "Items stored since the start."},
    [POOL_EVICTIONS] = {"evictions_total", "Live items evicted to free memory."},
    [POOL_EVICTED_UNFETCHED] = {"evicted_unfetched_total", "Evicted items that were never read."},
    [POOL_EXPIRED_RECLAIMED] = {"expired_reclaimed_total",
                                "Expired items whose memory was reclaimed."},
    [POOL_EXPIRED_UNFETCHED] = {"expired_unfetched_total", "Expired items that were never read."},
    [POOL_SEGMENTS_COMPACTED] = {"segments_compacted_total", "Segments compacted."},
    [POOL_BYTES_MOVED] = {"moved_bytes_total", "Bytes moved by compaction and eviction."},
};

const char *metrics_counter_name(enum pool_counter counter) {
    return counters[counter].name;
}

static const struct metric syncs = {"syncs_total", "Times the pool's file was synced."};

_Static_assert(sizeof counters / sizeof counters[0] == POOL_COUNTERS, "a counter has no name");

/* Values that are not counters. */
enum gauge {
    GAUGE_ITEMS,
    GAUGE_LIVE,
    GAUGE_TOMBSTONES,
    GAUGE_DEAD,
    GAUGE_FREE,
    GAUGE_CAPACITY,
    GAUGE_INDEX,
    GAUGE_SEGMENTS,
    GAUGE_SEGMENTS_FREE,
    GAUGE_SYNC_LAG,
    GAUGE_FULL_IN,
    GAUGE_READ_ONLY,
    GAUGE_FULL,
    GAUGE_INDEX_FULL,
    GAUGE_PRESSURE,
    GAUGE_CONNECTIONS,
    GAUGE_BACKUP_AGE,
    GAUGE_EVICTS,
    GAUGE_PERSISTENT,
    GAUGES
};

static const struct metric gauges[GAUGES] = {
    [GAUGE_ITEMS] = {"items", "Items in the pool."},
    [GAUGE_LIVE] = {"live_bytes", "Bytes of the pool's items, with their headers."},
    [GAUGE_TOMBSTONES] = {"tombstone_bytes",
                          "Bytes of records that keep deleted items from coming back."},
    [GAUGE_DEAD] = {"dead_bytes", "Bytes of removed items that are not yet reclaimed."},
    [GAUGE_FREE] = {"free_bytes", "Bytes that are free for new items."},
    [GAUGE_CAPACITY] = {"capacity_bytes", "Bytes of all segments."},
    [GAUGE_INDEX] = {"index_bytes", "Bytes of the index in use."},
    [GAUGE_SEGMENTS] = {"segments", "Segments."},
    [GAUGE_SEGMENTS_FREE] = {"segments_free", "Segments that are empty."},
    [GAUGE_SYNC_LAG] = {"sync_lag_seconds", "Age of the oldest write that is not on the disk."},
    [GAUGE_FULL_IN] = {"full_in_seconds",
                       "Seconds until the pool is full, at the rate of the last minute."},
    [GAUGE_READ_ONLY] = {"read_only", "1 if the pool takes no writes because its file failed."},
    [GAUGE_FULL] = {"full", "1 if the pool refuses new keys because it or its index is full."},
    [GAUGE_INDEX_FULL] = {"index_full",
                          "1 if the pool refuses new keys because run_dir has no room."},
    [GAUGE_PRESSURE] = {"pressure_ratio",
                        "How near the pool is to refusing new keys, or to evicting: 0 to 1."},
    [GAUGE_CONNECTIONS] = {"connections", "Connections to the pool that are open."},
    [GAUGE_BACKUP_AGE] = {"backup_age_seconds",
                          "Seconds since the last backup, or since the start if there was none."},
    [GAUGE_EVICTS] = {"evicts", "1 if the pool evicts items when it is full."},
    [GAUGE_PERSISTENT] = {"persistent", "1 if the pool keeps its items in a file."},
};

static double metrics_gauge(const struct pool_stats *stats, const struct advice_facts *facts,
                            enum gauge gauge) {
    switch (gauge) {
    case GAUGE_ITEMS:
        return (double)stats->items;
    case GAUGE_LIVE:
        return (double)stats->live_bytes;
    case GAUGE_TOMBSTONES:
        return (double)stats->tombstone_bytes;
    case GAUGE_DEAD:
        return (double)stats->dead_bytes;
    case GAUGE_FREE:
        return (double)stats->free_bytes;
    case GAUGE_CAPACITY:
        return (double)stats->capacity_bytes;
    case GAUGE_INDEX:
        return (double)stats->index_bytes;
    case GAUGE_SEGMENTS:
        return stats->segments;
    case GAUGE_SEGMENTS_FREE:
        return stats->segments_free;
    case GAUGE_SYNC_LAG:
        return (double)stats->sync_lag_ms / 1000;
    case GAUGE_FULL_IN:
        return stats->full_in_s == UINT64_MAX ? INFINITY : (double)stats->full_in_s;
    case GAUGE_READ_ONLY:
        return stats->read_only;
    case GAUGE_FULL:
        return stats->full;
    case GAUGE_INDEX_FULL:
        return stats->index_full;
    case GAUGE_PRESSURE:
        return advice_pressure(facts);
    case GAUGE_CONNECTIONS:
        return (double)facts->pool_connections;
    case GAUGE_BACKUP_AGE:
        return facts->backup_age_s;
    case GAUGE_EVICTS:
        return facts->evicts;
    case GAUGE_PERSISTENT:
        return facts->persists;
    case GAUGES:
        break;
    }
    return 0;
}

static void metrics_write_head(FILE *stream, const char *prefix, const struct metric *metric,
                               const char *type) {
    fprintf(stream, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, metric->name, metric->help, prefix,
            metric->name, type);
}

static void metrics_write_one(FILE *stream, const char *prefix, const char *name, const char *help,
                              const char *type, uint64_t value) {
    const struct metric metric = {name, help};
    metrics_write_head(stream, prefix, &metric, type);
    fprintf(stream, "%s%s %" PRIu64 "\n", prefix, name, value);
}

static void metrics_write_server(FILE *stream, const char *name, const char *help, const char *type,
                                 uint64_t value) {
    metrics_write_one(stream, "stayd_", name, help, type, value);
}

static void metrics_write_memory(const struct proto_memory *memory, FILE *stream) {
    metrics_write_server(stream, "connection_memory_limit_bytes",
                         "Limit of the bytes that all connections together may use.", "gauge",
                         memory->bytes.limit);
    metrics_write_server(stream, "connection_input_bytes",
                         "Bytes of requests that have been received in part.", "gauge",
                         atomic_load(&memory->kinds[PROTO_MEMORY_INPUT].bytes));
    metrics_write_server(stream, "connection_output_bytes",
                         "Bytes of replies that clients have not read.", "gauge",
                         atomic_load(&memory->kinds[PROTO_MEMORY_OUTPUT].bytes));
    metrics_write_server(stream, "connections_out_of_memory_total",
                         "Connections closed because of connection_memory_limit_bytes.", "counter",
                         atomic_load(&memory->kinds[PROTO_MEMORY_INPUT].refused) +
                             atomic_load(&memory->kinds[PROTO_MEMORY_OUTPUT].refused));
}

static void metrics_write_tls(const struct proto_tls *tls, const char *prefix, FILE *stream) {
    metrics_write_one(stream, prefix, "tls_handshake_errors_total", "TLS handshakes that failed.",
                      "counter", atomic_load(&tls->handshake_errors));
    metrics_write_one(stream, prefix, "tls_new_sessions_total", "Full TLS handshakes.", "counter",
                      atomic_load(&tls->new_sessions));
    metrics_write_one(stream, prefix, "tls_resumed_sessions_total",
                      "TLS handshakes that resumed a session.", "counter",
                      atomic_load(&tls->resumed_sessions));
    metrics_write_one(stream, prefix, "tls_certificates_loaded_seconds",
                      "When the certificates were last loaded, in unix seconds.", "gauge",
                      atomic_load(&tls->loaded_s));
}

static void metrics_write_servers(const struct proto_server *server, FILE *stream) {
    fputs("# HELP stayd_build_info Always 1; the version is a label.\n"
          "# TYPE stayd_build_info gauge\n"
          "stayd_build_info{version=\"" STAYD_VERSION "\"} 1\n",
          stream);
    metrics_write_server(stream, "start_time_seconds", "When the daemon started, in unix seconds.",
                         "gauge", server->started_s);
    metrics_write_server(stream, "threads", "Worker threads.", "gauge", server->threads);
    metrics_write_server(stream, "connections", "Connections that are open.", "gauge",
                         atomic_load(&server->limits.connections.used));
    metrics_write_server(stream, "connections_max", "Limit of open connections.", "gauge",
                         server->limits.connections.limit);
    metrics_write_server(stream, "connections_total", "Connections accepted.", "counter",
                         atomic_load(&server->counters.connections_total));
    metrics_write_server(stream, "connections_rejected_total",
                         "Connections refused: too many were open.", "counter",
                         atomic_load(&server->counters.connections_rejected));
    metrics_write_server(stream, "read_bytes_total", "Bytes received from clients.", "counter",
                         atomic_load(&server->counters.bytes_read));
    metrics_write_server(stream, "written_bytes_total", "Bytes sent to clients.", "counter",
                         atomic_load(&server->counters.bytes_written));
    metrics_write_server(stream, "connections_idle_closed_total",
                         "Connections closed by connection_idle_timeout.", "counter",
                         atomic_load(&server->counters.idle_kicks));
    metrics_write_server(stream, "turns_ended_total",
                         "Turns of connections that ended before all requests were answered.",
                         "counter", atomic_load(&server->counters.yields));
    metrics_write_memory(&server->limits.memory, stream);
    if (server->tls.is_enabled) {
        metrics_write_tls(&server->tls, "stayd_", stream);
    }
}

static void metrics_write_counter(FILE *stream, const struct metric *metric,
                                  const struct pool *pool, uint64_t value) {
    fprintf(stream, "stayd_pool_%s{pool=\"%s\"} %" PRIu64 "\n", metric->name,
            pool_get_options(pool)->name, value);
}

static void metrics_write_gauge(FILE *stream, const struct metric *metric, const struct pool *pool,
                                double value) {
    fprintf(stream, "stayd_pool_%s{pool=\"%s\"} ", metric->name, pool_get_options(pool)->name);
    if (isinf(value)) {
        fputs("+Inf\n", stream);
    } else {
        fprintf(stream, "%.15g\n", value);
    }
}

static double metrics_seconds(uint64_t ns) {
    return (double)ns / 1e9;
}

static void metrics_write_histogram(const struct admin_options *options, unsigned pool,
                                    unsigned command, FILE *stream) {
    const struct latency *latency = &options->services[pool].latency;
    const char *name = pool_get_options(options->pools[pool])->name;
    const char *of = latency_get_name((enum latency_command)command);
    uint64_t count = 0;
    for (unsigned bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        uint64_t limit_ns = latency_get_limit_ns(bucket);
        count += atomic_load_explicit(&latency->buckets[command][bucket],
                                      memory_order_relaxed); /* a count */
        fprintf(stream, "stayd_pool_command_seconds_bucket{pool=\"%s\",command=\"%s\",le=\"", name,
                of);
        if (limit_ns == UINT64_MAX) {
            fputs("+Inf", stream);
        } else {
            fprintf(stream, "%.10g", metrics_seconds(limit_ns));
        }
        fprintf(stream, "\"} %" PRIu64 "\n", count);
    }
    fprintf(stream,
            "stayd_pool_command_seconds_sum{pool=\"%s\",command=\"%s\"} %.9f\n"
            "stayd_pool_command_seconds_count{pool=\"%s\",command=\"%s\"} %" PRIu64 "\n",
            name, of, metrics_seconds(atomic_load(&latency->sum_ns[command])), name, of, count);
}

static void metrics_write_latency(const struct admin_options *options, FILE *stream) {
    static const struct metric metric = {
        "command_seconds", "Time of requests inside the daemon; one in 256 is measured."};
    metrics_write_head(stream, "stayd_pool_", &metric, "histogram");
    for (unsigned pool = 0; pool < options->pool_count; pool++) {
        for (unsigned command = 0; command < LATENCY_COMMANDS; command++) {
            metrics_write_histogram(options, pool, command, stream);
        }
    }
}

void metrics_write(const struct admin_options *options, FILE *stream) {
    metrics_write_servers(options->server, stream);
    if (options->tls != NULL) {
        metrics_write_tls(options->tls_counters, "stayd_admin_", stream);
    }
    struct pool_stats *stats = calloc(options->pool_count + 1, sizeof *stats);
    if (stats == NULL) {
        return;
    }
    for (unsigned i = 0; i < options->pool_count; i++) {
        pool_get_stats(options->pools[i], &stats[i]);
    }
    for (unsigned gauge = 0; gauge < GAUGES; gauge++) {
        metrics_write_head(stream, "stayd_pool_", &gauges[gauge], "gauge");
        for (unsigned i = 0; i < options->pool_count; i++) {
            struct replication_state replication;
            const struct advice_facts facts = pool_facts(options, i, &stats[i], &replication);
            metrics_write_gauge(stream, &gauges[gauge], options->pools[i],
                                metrics_gauge(&stats[i], &facts, gauge));
        }
    }
    for (unsigned counter = 0; counter < POOL_COUNTERS; counter++) {
        metrics_write_head(stream, "stayd_pool_", &counters[counter], "counter");
        for (unsigned i = 0; i < options->pool_count; i++) {
            metrics_write_counter(stream, &counters[counter], options->pools[i],
                                  stats[i].counters[counter]);
        }
    }
    metrics_write_head(stream, "stayd_pool_", &syncs, "counter");
    for (unsigned i = 0; i < options->pool_count; i++) {
        metrics_write_counter(stream, &syncs, options->pools[i], stats[i].syncs);
    }
    free(stats);
    metrics_write_latency(options, stream);
    metrics_write_clusters(options, stream);
}
