#include "proto/stats.h"

#include "proto/reply.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { STATS_LINE_MAX = 256 };

/* STAT <name> <value>\r\n. The first failure for want of memory is the last line's business. */
__attribute__((format(printf, 3, 4))) static void stat_put(struct buffer *replies, const char *name,
                                                           const char *format, ...) {
    char line[STATS_LINE_MAX];
    int size = snprintf(line, sizeof(line), "STAT %s ", name);
    va_list arguments;
    va_start(arguments, format);
    size += vsnprintf(line + size, sizeof(line) - (size_t)size, format, arguments);
    va_end(arguments);
    assert((size_t)size < sizeof(line));
    if (reply_reserve(replies, (size_t)size + 2)) {
        reply_bytes(replies, line, (size_t)size);
        reply_bytes(replies, "\r\n", 2);
    }
}

static void stat_put_u64(struct buffer *replies, const char *name, uint64_t number) {
    stat_put(replies, name, "%" PRIu64, number);
}

static void stat_put_bool(struct buffer *replies, const char *name, bool yes) {
    stat_put(replies, name, "%s", yes ? "yes" : "no");
}

static uint64_t stats_load(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed); /* a number to look at */
}

static void stats_put_process(struct request *request) {
    struct buffer *replies = request->replies;
    const struct proto_server *server = request->connection->service->server;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    stat_put_u64(replies, "pid", (uint64_t)getpid());
    stat_put_u64(replies, "uptime", request->thread->now_s - server->started_s);
    stat_put_u64(replies, "time", request->thread->now_s);
    stat_put(replies, "version", "%s", PROTO_VERSION);
    stat_put_u64(replies, "pointer_size", 8 * sizeof(void *));
    stat_put(replies, "rusage_user", "%ld.%06ld", (long)usage.ru_utime.tv_sec,
             (long)usage.ru_utime.tv_usec);
    stat_put(replies, "rusage_system", "%ld.%06ld", (long)usage.ru_stime.tv_sec,
             (long)usage.ru_stime.tv_usec);
    stat_put_u64(replies, "max_connections", server->max_connections);
    stat_put_u64(replies, "curr_connections", stats_load(&server->connections));
    stat_put_u64(replies, "total_connections", stats_load(&server->connections_total));
    stat_put_u64(replies, "rejected_connections", stats_load(&server->connections_rejected));
    stat_put_u64(replies, "bytes_read", stats_load(&server->bytes_read));
    stat_put_u64(replies, "bytes_written", stats_load(&server->bytes_written));
    stat_put_u64(replies, "threads", server->threads);
}

static void stats_put_counters(struct buffer *replies, const struct pool_stats *stats) {
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
        {"total_items", POOL_TOTAL_ITEMS},
        {"evictions", POOL_EVICTIONS},
        {"reclaimed", POOL_EXPIRED_RECLAIMED},
        /* ours */
        {"segments_compacted", POOL_SEGMENTS_COMPACTED},
        {"bytes_moved", POOL_BYTES_MOVED},
    };
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        stat_put_u64(replies, counters[i].name, stats->counters[counters[i].counter]);
    }
}

static void stats_put_pool(struct buffer *replies, const struct pool_options *options,
                           const struct pool_stats *stats) {
    stat_put_u64(replies, "bytes", stats->live_bytes);
    stat_put_u64(replies, "curr_items", stats->items);
    stat_put_u64(replies, "limit_maxbytes", options->memory_bytes);
    stat_put_u64(replies, "hash_bytes", stats->index_bytes);
    stat_put_u64(replies, "accepting_conns", 1);
    /* ours */
    stat_put(replies, "pool", "%s", options->name);
    stat_put_bool(replies, "evict", options->evict);
    stat_put_bool(replies, "persist", options->persist);
    stat_put_u64(replies, "capacity_bytes", stats->capacity_bytes);
    stat_put_u64(replies, "live_bytes", stats->live_bytes);
    stat_put_u64(replies, "tombstone_bytes", stats->marker_bytes);
    stat_put_u64(replies, "dead_bytes", stats->dead_bytes);
    stat_put_u64(replies, "free_bytes", stats->free_bytes);
    stat_put_u64(replies, "segments", stats->segments);
    stat_put_u64(replies, "segments_free", stats->segments_free);
    stat_put_u64(replies, "segment_bytes", stats->segment_bytes);
    stat_put_bool(replies, "full", stats->full);
    if (stats->full_in_s != UINT64_MAX) {
        stat_put_u64(replies, "full_in_seconds", stats->full_in_s);
    }
    if (options->persist) {
        static const char *const fsync[] = {"no", "everysec", "always"}; /* by enum pool_fsync */
        stat_put(replies, "fsync", "%s", fsync[options->fsync]);
        stat_put_u64(replies, "syncs", stats->syncs);
        stat_put_u64(replies, "sync_lag_ms", stats->sync_lag_ms);
    }
    stat_put_u64(replies, "idle_timeout", options->idle_timeout_s);
    stat_put_u64(replies, "max_lifetime", options->max_lifetime_s);
    stat_put_bool(replies, "read_only", stats->read_only);
}

static void stats_put_general(struct request *request) {
    struct pool_stats stats;
    pool_get_stats(request->pool, &stats);
    stats_put_process(request);
    stats_put_counters(request->replies, &stats);
    stats_put_pool(request->replies, pool_get_options(request->pool), &stats);
}

static void stats_put_settings(struct request *request) {
    static const char *const fsyncs[] = {
        [POOL_FSYNC_NO] = "no", [POOL_FSYNC_EVERYSEC] = "everysec", [POOL_FSYNC_ALWAYS] = "always"};
    struct buffer *replies = request->replies;
    const struct pool_options *options = pool_get_options(request->pool);
    stat_put_u64(replies, "maxbytes", options->memory_bytes);
    stat_put_u64(replies, "maxconns", request->connection->service->server->max_connections);
    stat_put(replies, "evictions", "%s", options->evict ? "on" : "off");
    stat_put_u64(replies, "num_threads", request->connection->service->server->threads);
    stat_put_bool(replies, "cas_enabled", true);
    stat_put_u64(replies, "item_size_max", options->item_max_bytes);
    stat_put_bool(replies, "flush_enabled", true);
    stat_put_bool(replies, "dump_enabled", false);
    /* ours */
    stat_put(replies, "pool", "%s", options->name);
    stat_put_bool(replies, "persist", options->persist);
    stat_put(replies, "fsync", "%s", options->persist ? fsyncs[options->fsync] : "no");
}

/* Tools ask for memcached's slab classes: there are none, and that is what they are told. */
static void stats_put_slabs(struct request *request) {
    stat_put_u64(request->replies, "active_slabs", 0);
    stat_put_u64(request->replies, "total_malloced", 0);
}

static void stats_put_items(struct request *request) {
    (void)request;
}

static void stats_put_sizes(struct request *request) {
    stat_put(request->replies, "sizes_status", "disabled");
}

enum request_end stats_run(struct request *request, unsigned variant) {
    (void)variant;
    static const struct {
        const char *name;
        void (*put)(struct request *request);
    } groups[] = {
        {"", stats_put_general},    {"settings", stats_put_settings}, {"slabs", stats_put_slabs},
        {"items", stats_put_items}, {"sizes", stats_put_sizes},
    };
    struct bytes group;
    line_next(&request->line, &group);
    if (word_is(group, "reset")) {
        pool_reset_counters(request->pool);
        reply_text(request, "RESET\r\n");
        return REQUEST_DONE;
    }
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (word_is(group, groups[i].name)) {
            groups[i].put(request);
            bool whole = reply_reserve(request->replies, 0);
            reply_text(request, "END\r\n");
            return whole ? REQUEST_DONE : REQUEST_CLOSES;
        }
    }
    reply_text(request, REPLY_ERROR);
    return REQUEST_DONE;
}
