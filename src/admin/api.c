/* /api/v1/stats and /api/v1/history: JSON, for the dashboard and for scripts. */
#include "admin/json.h"
#include "admin/page.h"
#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

static void api_write_warnings(FILE *stream, const struct advice *advice, unsigned count) {
    fputs("\"warnings\":[", stream);
    for (unsigned i = 0; i < count; i++) {
        fprintf(stream, "%s{\"name\":\"%s\",\"level\":\"%s\",\"what\":", i > 0 ? "," : "",
                advice[i].name, advice[i].level == ADVICE_FAULT ? "fault" : "warning");
        json_write_string(stream, advice[i].what);
        fputs(",\"remedy\":", stream);
        json_write_string(stream, advice[i].remedy);
        putc('}', stream);
    }
    fputs("],", stream);
}

static const char *api_state(const struct pool_stats *stats, const struct advice *advice,
                             unsigned count) {
    if (count == 0) {
        return "ok";
    }
    if (advice[0].level == ADVICE_WARNING) {
        return "warning";
    }
    if (stats->read_only) {
        return "READ-ONLY";
    }
    if (advice_cluster_word(&advice[0]) != NULL) {
        return advice_cluster_word(&advice[0]);
    }
    if (stats->full) {
        return "FULL";
    }
    return strcmp(advice[0].name, "sync_stalled") == 0 ? "STALLED" : "REFUSES";
}

static void api_write_expiry(FILE *stream, const struct pool *pool) {
    struct pool_expiry expiry;
    pool_get_expiry(pool, clock_unix_s(), &expiry);
    fputs("\"expiry\":{", stream);
    json_write_number(stream, "expired", expiry.expired);
    json_write_number(stream, "later", expiry.later);
    json_write_number(stream, "never", expiry.never);
    fputs("\"within_hours\":[", stream);
    for (unsigned hour = 0; hour < POOL_EXPIRY_HOURS; hour++) {
        fprintf(stream, "%s%" PRIu64, hour > 0 ? "," : "", expiry.within_hours[hour]);
    }
    fputs("]},", stream);
}

static void api_write_figures(FILE *stream, const struct pool_stats *stats) {
    json_write_number(stream, "items", stats->items);
    json_write_number(stream, "live_bytes", stats->live_bytes);
    json_write_number(stream, "tombstone_bytes", stats->tombstone_bytes);
    json_write_number(stream, "dead_bytes", stats->dead_bytes);
    json_write_number(stream, "free_bytes", stats->free_bytes);
    json_write_number(stream, "capacity_bytes", stats->capacity_bytes);
    json_write_number(stream, "index_bytes", stats->index_bytes);
    json_write_number(stream, "segments", stats->segments);
    json_write_number(stream, "segments_free", stats->segments_free);
    json_write_number(stream, "syncs", stats->syncs);
    json_write_number(stream, "sync_lag_ms", stats->sync_lag_ms);
    json_write_bool(stream, "read_only", stats->read_only);
    json_write_bool(stream, "full", stats->full);
    json_write_bool(stream, "index_full", stats->index_full);
    if (stats->full_in_s == UINT64_MAX) {
        fputs("\"full_in_s\":null,", stream);
    } else {
        json_write_number(stream, "full_in_s", stats->full_in_s);
    }
    uint64_t gets = stats->counters[POOL_CMD_GET];
    if (gets == 0) {
        fputs("\"hit_ratio\":null,", stream);
    } else {
        fprintf(stream, "\"hit_ratio\":%.6f,",
                (double)stats->counters[POOL_GET_HITS] / (double)gets);
    }
}

static void api_write_pool(FILE *stream, const struct admin_options *options,
                           struct history *history, unsigned index) {
    static const char *const fsync[] = {"no", "everysec", "always"}; /* by enum pool_fsync */
    struct pool *pool = options->pools[index];
    const struct pool_options *settings = pool_get_options(pool);
    struct pool_stats stats;
    struct advice advice[ADVICE_MAX];
    struct replication_state replication;
    pool_get_stats(pool, &stats);
    struct advice_facts facts = pool_facts(options, index, &stats, &replication);
    facts.evictions = history_get_growth(history, index, HISTORY_EVICTIONS);
    facts.evicted_unfetched = history_get_growth(history, index, HISTORY_EVICTED_UNREAD);
    unsigned count = advice_find(&facts, advice);
    fputs("{\"name\":", stream);
    json_write_string(stream, settings->name);
    fprintf(stream, ",\"state\":\"%s\",\"fsync\":\"%s\",", api_state(&stats, advice, count),
            fsync[settings->fsync]);
    json_write_bool(stream, "evict", settings->evict);
    json_write_bool(stream, "persist", settings->persist);
    fputs("\"cluster\":", stream);
    api_write_cluster(pool, stream);
    json_write_number(stream, "connections", facts.pool_connections);
    fprintf(stream, "\"pressure\":%.6f,", advice_pressure(&facts));
    api_write_figures(stream, &stats);
    api_write_expiry(stream, pool);
    api_write_warnings(stream, advice, count);
    fputs("\"counters\":{", stream);
    for (unsigned counter = 0; counter < POOL_COUNTERS; counter++) {
        fprintf(stream, "%s\"%s\":%" PRIu64, counter > 0 ? "," : "",
                metrics_counter_name((enum pool_counter)counter), stats.counters[counter]);
    }
    fputs("}}", stream);
}

void api_write_stats(const struct admin_options *options, struct history *history, FILE *stream) {
    const struct proto_server *server = options->server;
    uint32_t now_s = clock_unix_s();
    fputs("{\"version\":\"" STAYD_VERSION "\",", stream);
    json_write_number(stream, "now", now_s);
    json_write_number(stream, "started", server->started_s);
    json_write_number(stream, "uptime_s", now_s - server->started_s);
    json_write_number(stream, "threads", server->threads);
    json_write_number(stream, "connections", atomic_load(&server->limits.connections.used));
    json_write_number(stream, "connections_max", server->limits.connections.limit);
    fputs("\"pools\":[", stream);
    for (unsigned i = 0; i < options->pool_count; i++) {
        fputs(i > 0 ? "," : "", stream);
        api_write_pool(stream, options, history, i);
    }
    fputs("]}\n", stream);
}

static void api_write_value(FILE *stream, const char *before, double value) {
    fputs(before, stream);
    if (value < 0) {
        fputs("null", stream);
    } else {
        bool whole = value < 1e15 && value == (double)(int64_t)value;
        fprintf(stream, whole ? "%.0f" : "%.3f", value);
    }
}

static void api_write_columns(FILE *stream, const struct history_row *rows, unsigned count) {
    fputs(",\"time\":[", stream);
    for (unsigned i = 0; i < count; i++) {
        api_write_value(stream, i > 0 ? "," : "", rows[i].time_s);
    }
    for (unsigned column = 0; column < HISTORY_COLUMNS; column++) {
        fprintf(stream, "],\"%s\":[", history_column_name((enum history_column)column));
        for (unsigned i = 0; i < count; i++) {
            api_write_value(stream, i > 0 ? "," : "", rows[i].columns[column]);
        }
    }
    putc(']', stream);
}

void api_write_history(const struct admin_options *options, struct history *history,
                       enum history_span span, uint32_t since_s, FILE *stream) {
    fprintf(stream, "{\"span\":\"%s\",\"step_s\":%u,\"now\":%u,\"pools\":[",
            span == HISTORY_HOUR ? "hour" : "day", history_step_s(span), clock_unix_s());
    for (unsigned i = 0; i < options->pool_count; i++) {
        fputs(i > 0 ? ",{\"name\":" : "{\"name\":", stream);
        json_write_string(stream, pool_get_options(options->pools[i])->name);
        unsigned count;
        const struct history_row *rows = history_read(history, span, i, since_s, &count);
        api_write_columns(stream, rows, count);
        putc('}', stream);
    }
    fputs("]}\n", stream);
}
