/* stats without a group: the process, the counters, the pool. */
#include "proto/stats_groups.h"
#include "proto/totals.h"
#include "proto/watch.h"

#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t stats_load(const _Atomic uint64_t *counter) {
    /* relaxed: counters do not order other memory */
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void stats_put_process(struct stats_listing *listing) {
    struct stats_sink *sink = listing->sink;
    const struct proto_service *service = listing->connection->service;
    const struct proto_server *server = service->server;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    stats_put_u64(sink, "pid", (uint64_t)getpid());
    stats_put_u64(sink, "uptime", listing->thread->now_s - server->started_s);
    stats_put_u64(sink, "time", listing->thread->now_s);
    stats_put(sink, "version", "%s", PROTO_VERSION);
    stats_put(sink, "stayd_version", "%s", STAYD_VERSION); /* ours */
    stats_put_u64(sink, "pointer_size", 8 * sizeof(void *));
    stats_put(sink, "rusage_user", "%ld.%06ld", (long)usage.ru_utime.tv_sec,
              (long)usage.ru_utime.tv_usec);
    stats_put(sink, "rusage_system", "%ld.%06ld", (long)usage.ru_stime.tv_sec,
              (long)usage.ru_stime.tv_usec);
    stats_put_u64(sink, "max_connections", server->limits.connections.limit);
    stats_put_u64(sink, "curr_connections", stats_load(&server->limits.connections.used));
    stats_put_u64(sink, "total_connections", totals_get(service, PROTO_TOTAL_CONNECTIONS));
    stats_put_u64(sink, "rejected_connections",
                  totals_get(service, PROTO_TOTAL_CONNECTIONS_REJECTED));
    stats_put_u64(sink, "connection_structures", stats_load(&server->limits.connections.used));
    stats_put_u64(sink, "bytes_read", totals_get(service, PROTO_TOTAL_BYTES_READ));
    stats_put_u64(sink, "bytes_written", totals_get(service, PROTO_TOTAL_BYTES_WRITTEN));
    stats_put_u64(sink, "threads", server->threads);
    stats_put_u64(sink, "conn_yields", totals_get(service, PROTO_TOTAL_YIELDS));
    stats_put_u64(sink, "idle_kicks", totals_get(service, PROTO_TOTAL_IDLE_KICKS));
}

static void stats_put_tls(struct stats_listing *listing) {
    struct stats_sink *sink = listing->sink;
    const struct proto_service *service = listing->connection->service;
    const struct proto_tls *tls = &service->server->tls;
    if (!tls->is_enabled) {
        return;
    }
    stats_put_u64(sink, "ssl_handshake_errors", totals_get(service, PROTO_TOTAL_HANDSHAKE_ERRORS));
    stats_put_u64(sink, "ssl_new_sessions", totals_get(service, PROTO_TOTAL_NEW_SESSIONS));
    stats_put_u64(sink, "ssl_resumed_sessions",
                  totals_get(service, PROTO_TOTAL_RESUMED_SESSIONS)); /* ours */
    stats_put_u64(sink, "time_since_server_cert_refresh",
                  listing->thread->now_s - atomic_load(&tls->loaded_s));
}

/* memcached keeps input and replies in one pool of buffers, so read_buf_count and read_buf_bytes
 * count both. stayd frees a buffer when it is empty, so read_buf_bytes_free is 0. */
static void stats_put_memory(struct stats_sink *sink, const struct proto_service *service) {
    const struct proto_memory *memory = &service->server->limits.memory;
    uint64_t replies = stats_load(&memory->kinds[PROTO_MEMORY_OUTPUT].buffers);
    stats_put_u64(sink, "response_obj_oom", totals_get(service, PROTO_TOTAL_OUTPUTS_REFUSED));
    stats_put_u64(sink, "response_obj_count", replies);
    stats_put_u64(sink, "response_obj_bytes",
                  stats_load(&memory->kinds[PROTO_MEMORY_OUTPUT].bytes));
    stats_put_u64(sink, "read_buf_count",
                  replies + stats_load(&memory->kinds[PROTO_MEMORY_INPUT].buffers));
    stats_put_u64(sink, "read_buf_bytes", stats_load(&memory->bytes.used));
    stats_put_u64(sink, "read_buf_bytes_free", 0);
    stats_put_u64(sink, "read_buf_oom", totals_get(service, PROTO_TOTAL_INPUTS_REFUSED));
    stats_put_u64(sink, "connection_memory", memory->bytes.limit); /* ours */
}

static void stats_put_counters(struct stats_sink *sink, const struct pool_stats *stats) {
    static const struct {
        const char *name;
        enum pool_counter counter;
    } counters[] = {
        {"cmd_get", POOL_CMD_GET},
        {"cmd_set", POOL_CMD_SET},
        {"cmd_flush", POOL_CMD_FLUSH},
        {"cmd_touch", POOL_CMD_TOUCH},
        {"cmd_meta", POOL_CMD_META},
        {"get_hits", POOL_GET_HITS},
        {"get_misses", POOL_GET_MISSES},
        {"get_expired", POOL_GET_EXPIRED},
        {"get_flushed", POOL_GET_FLUSHED},
        {"delete_misses", POOL_DELETE_MISSES},
        {"delete_hits", POOL_DELETE_HITS},
        {"incr_misses", POOL_INCR_MISSES},
        {"incr_hits", POOL_INCR_HITS},
        {"decr_misses", POOL_DECR_MISSES},
        {"decr_hits", POOL_DECR_HITS},
        {"cas_misses", POOL_CAS_MISSES},
        {"cas_hits", POOL_CAS_HITS},
        {"cas_badval", POOL_CAS_BADVAL},
        {"touch_hits", POOL_TOUCH_HITS},
        {"touch_misses", POOL_TOUCH_MISSES},
        {"store_too_large", POOL_STORE_TOO_LARGE},
        {"store_no_memory", POOL_STORE_NO_MEMORY},
        {"auth_cmds", POOL_AUTH_CMDS},
        {"auth_errors", POOL_AUTH_ERRORS},
        {"total_items", POOL_TOTAL_ITEMS},
        {"evictions", POOL_EVICTIONS},
        {"evicted_unfetched", POOL_EVICTED_UNFETCHED},
        {"reclaimed", POOL_EXPIRED_RECLAIMED},
        {"expired_unfetched", POOL_EXPIRED_UNFETCHED},
        /* ours */
        {"segments_compacted", POOL_SEGMENTS_COMPACTED},
        {"bytes_moved", POOL_BYTES_MOVED},
    };
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        stats_put_u64(sink, counters[i].name, stats->counters[counters[i].counter]);
    }
}

/* Exporters read these names. stayd reports 0, because it never disables its listeners, has no
 * segmented LRU and no slabs to move, and reclaims items with the janitor (`reclaimed`), not with a
 * crawler. */
static void stats_put_absent(struct stats_sink *sink) {
    static const char *const names[] = {
        "listen_disabled_num",
        "time_in_listen_disabled_us",
        "evicted_active",
        "crawler_reclaimed",
        "crawler_items_checked",
        "lrutail_reflocked",
        "moves_to_cold",
        "moves_to_warm",
        "moves_within_lru",
        "direct_reclaims",
        "lru_bumps_dropped",
        "lru_maintainer_juggles",
        "slab_reassign_rescues",
        "slab_reassign_chunk_rescues",
        "slab_reassign_inline_reclaim",
        "slab_reassign_busy_items",
        "slab_reassign_busy_deletes",
        "slab_reassign_busy_nomem",
        "slab_reassign_running",
        "slabs_moved",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        stats_put_u64(sink, names[i], 0);
    }
    stats_put(sink, "slab_reassign_last_busy_status", "none");
}

static void stats_put_pool(struct stats_sink *sink, const struct pool *pool,
                           const struct pool_stats *stats) {
    const struct pool_options *options = pool_get_options(pool);
    stats_put_u64(sink, "bytes", stats->live_bytes);
    stats_put_u64(sink, "curr_items", stats->items);
    stats_put_u64(sink, "limit_maxbytes", pool_get_memory_limit(pool));
    stats_put_u64(sink, "hash_bytes", stats->index_bytes);
    stats_put_u64(sink, "hash_power_level", stats->index_power);
    stats_put_u64(sink, "hash_is_expanding", 0); /* it grows one bucket at a time */
    stats_put_u64(sink, "total_malloced",
                  (uint64_t)stats->segment_bytes * (stats->segments - stats->segments_free));
    stats_put_u64(sink, "slab_global_page_pool", stats->segments_free);
    stats_put_u64(sink, "accepting_conns", 1);
    stats_put_absent(sink);
    /* ours */
    stats_put(sink, "pool", "%s", options->name);
    stats_put_bool(sink, "evict", options->evict);
    stats_put_bool(sink, "persist", options->persist);
    stats_put_u64(sink, "capacity_bytes", stats->capacity_bytes);
    stats_put_u64(sink, "live_bytes", stats->live_bytes);
    stats_put_u64(sink, "tombstone_bytes", stats->tombstone_bytes);
    stats_put_u64(sink, "dead_bytes", stats->dead_bytes);
    stats_put_u64(sink, "free_bytes", stats->free_bytes);
    stats_put_u64(sink, "needed_bytes", stats->needed_bytes);
    stats_put_u64(sink, "needed_limit_bytes", stats->needed_limit_bytes);
    stats_put_u64(sink, "segments", stats->segments);
    stats_put_u64(sink, "segments_free", stats->segments_free);
    stats_put_u64(sink, "segment_bytes", stats->segment_bytes);
    stats_put_bool(sink, "full", stats->full);
    stats_put_bool(sink, "index_full", stats->index_full);
    if (stats->full_in_s != UINT64_MAX) {
        stats_put_u64(sink, "full_in_seconds", stats->full_in_s);
    }
    if (options->persist) {
        static const char *const fsync[] = {"no", "everysec", "always"}; /* by enum pool_fsync */
        stats_put(sink, "fsync", "%s", fsync[options->fsync]);
        stats_put_u64(sink, "syncs", stats->syncs);
        stats_put_u64(sink, "sync_lag_ms", stats->sync_lag_ms);
    }
    stats_put_u64(sink, "idle_timeout", options->idle_timeout_s);
    stats_put_u64(sink, "max_lifetime", options->max_lifetime_s);
    stats_put_bool(sink, "read_only", stats->read_only);
}

static void stats_put_text(void *sink, const char *name, const char *value) {
    stats_put(sink, name, "%s", value);
}

void stats_put_general(struct stats_listing *listing) {
    struct pool_stats stats;
    pool_get_stats(listing->connection->pool, &stats);
    stats_put_process(listing);
    stats_put_tls(listing);
    stats_put_memory(listing->sink, listing->connection->service);
    stats_put_counters(listing->sink, &stats);
    stats_put_pool(listing->sink, listing->connection->pool, &stats);
    const struct pool_replication *replication = pool_get_replication(listing->connection->pool);
    if (replication != NULL && replication->visit_stats != NULL) {
        replication->visit_stats(replication->context, stats_put_text, listing->sink);
    }
    const struct proto_service *service = listing->connection->service;
    stats_put_u64(listing->sink, "pool_connections", stats_load(&service->connections.used));
    stats_put_bool(listing->sink, "turns_clients_away", proto_service_turns_away(service));
    stats_put_u64(listing->sink, "lru_crawler_running", stats_load(&service->dump) != 0);
    stats_put_u64(listing->sink, "log_watchers", watch_get_stats(service->watch).watchers);
    stats_put_u64(listing->sink, "log_watcher_sent", totals_get(service, PROTO_TOTAL_LINES_SENT));
    stats_put_u64(listing->sink, "log_watcher_skipped",
                  totals_get(service, PROTO_TOTAL_LINES_SKIPPED));
    stats_put_u64(listing->sink, "lru_crawler_starts", totals_get(service, PROTO_TOTAL_CRAWLS));
}
