#include "admin/page.h"

#include "base/clock.h"

#include <inttypes.h>

static const char page_head[] =
    "<!doctype html>\n"
    "<html lang=\"en\"><head><meta charset=\"utf-8\"><title>stayd</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<noscript><meta http-equiv=\"refresh\" content=\"2\"></noscript>\n"
    "<style>\n"
    ":root{color-scheme:light dark}\n"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\n"
    "h1{font-size:1.4rem}h1 small,.dim{font-weight:normal;opacity:.65}\n"
    "section{border:1px solid #8885;border-radius:.5rem;padding:.2rem 1rem 1rem;margin:1rem 0}\n"
    "h2{font-size:1.1rem;margin:.6rem 0}\n"
    "table{border-collapse:collapse;width:100%}\n"
    "th{text-align:left;font-weight:normal;opacity:.65}\n"
    "td{font-variant-numeric:tabular-nums}th,td{padding:.1rem .8rem .1rem 0;width:25%}\n"
    ".bar{display:flex;height:.9rem;border-radius:.3rem;overflow:hidden;background:#8883;"
    "margin:.4rem 0}\n"
    ".live{background:#2a7ae2}.dead{background:#e2a72a}\n"
    ".alarm{background:#c62828;color:#fff;padding:.5rem 1rem;border-radius:.3rem;"
    "font-weight:bold}\n"
    "</style></head><body><main>\n";

static const char page_tail[] = "</main>\n<script src=\"/dashboard.js\"></script></body></html>\n";

/* Replaces the content of the page every two seconds, or shows that the server does not answer. */
static const char page_script[] =
    "setInterval(async () => {\n"
    "  try {\n"
    "    const text = await (await fetch('/', {cache: 'no-store'})).text();\n"
    "    const page = new DOMParser().parseFromString(text, 'text/html');\n"
    "    document.querySelector('main').replaceWith(page.querySelector('main'));\n"
    "  } catch {\n"
    "    document.querySelector('h1').textContent = 'stayd does not answer';\n"
    "  }\n"
    "}, 2000);\n";

void dashboard_write_script(FILE *stream) {
    fputs(page_script, stream);
}

static double percent(uint64_t part, uint64_t whole) {
    return whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
}

static void dashboard_write_bytes(FILE *stream, uint64_t bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double number = (double)bytes;
    unsigned unit = 0;
    while (number >= 1024 && unit < 4) {
        number /= 1024;
        unit++;
    }
    fprintf(stream, "%.*f %s", unit == 0 ? 0 : 1, number, units[unit]);
}

static void dashboard_write_age(FILE *stream, uint64_t seconds) {
    if (seconds >= 86400) {
        fprintf(stream, "%" PRIu64 " d %" PRIu64 " h", seconds / 86400, seconds / 3600 % 24);
    } else if (seconds >= 3600) {
        fprintf(stream, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600, seconds / 60 % 60);
    } else {
        fprintf(stream, "%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
    }
}

static void dashboard_write_count(FILE *stream, const char *name, uint64_t count) {
    fprintf(stream, "<th>%s</th><td>%" PRIu64 "</td>", name, count);
}

static void dashboard_write_memory(FILE *stream, const struct pool_stats *stats) {
    fprintf(stream,
            "<div class=\"bar\"><span class=\"live\" style=\"width:%.2f%%\"></span>"
            "<span class=\"dead\" style=\"width:%.2f%%\"></span></div>\n<p class=\"dim\">",
            percent(stats->live_bytes, stats->capacity_bytes),
            percent(stats->dead_bytes + stats->tombstone_bytes, stats->capacity_bytes));
    dashboard_write_bytes(stream, stats->live_bytes);
    fputs(" live, ", stream);
    dashboard_write_bytes(stream, stats->dead_bytes + stats->tombstone_bytes);
    fputs(" to be reclaimed, of ", stream);
    dashboard_write_bytes(stream, stats->capacity_bytes);
    fprintf(stream, " (%.1f %%); index ", percent(stats->live_bytes, stats->capacity_bytes));
    dashboard_write_bytes(stream, stats->index_bytes);
    if (stats->sync_lag_ms > 0) {
        fprintf(stream, "; the disk is %.1f s behind", (double)stats->sync_lag_ms / 1000);
    }
    if (stats->full_in_s != UINT64_MAX && !stats->full) {
        fputs("; full in ", stream);
        dashboard_write_age(stream, stats->full_in_s);
        fputs(" at the rate of the last minute", stream);
    }
    fputs("</p>\n", stream);
}

static void dashboard_write_pool(FILE *stream, struct pool *pool) {
    const struct pool_options *options = pool_get_options(pool);
    struct pool_stats stats;
    pool_get_stats(pool, &stats);
    const uint64_t *counters = stats.counters;
    fprintf(stream, "<section><h2>%s <small class=\"dim\">%s, %s</small></h2>\n", options->name,
            options->evict ? "evicts when full" : "never evicts",
            options->persist ? "on disk" : "in memory only");
    if (stats.read_only) {
        fputs("<p class=\"alarm\">READ-ONLY: the pool's file failed; see the log.</p>\n", stream);
    }
    if (stats.index_full) {
        fputs("<p class=\"alarm\">FULL: new keys are refused. run_dir has no space left for the "
              "pool's "
              "index; free space in run_dir.</p>\n",
              stream);
    } else if (stats.full) {
        fputs("<p class=\"alarm\">FULL: new keys are refused. Raise the pool's memory.</p>\n",
              stream);
    }
    dashboard_write_memory(stream, &stats);
    fputs("<table><tr>", stream);
    dashboard_write_count(stream, "items", stats.items);
    fprintf(stream, "<th>hits</th><td>%" PRIu64 " (%.1f %%)</td></tr>\n<tr>",
            counters[POOL_GET_HITS], percent(counters[POOL_GET_HITS], counters[POOL_CMD_GET]));
    dashboard_write_count(stream, "looked up", counters[POOL_CMD_GET]);
    dashboard_write_count(stream, "misses", counters[POOL_GET_MISSES]);
    fputs("</tr>\n<tr>", stream);
    dashboard_write_count(stream, "stored", counters[POOL_TOTAL_ITEMS]);
    dashboard_write_count(stream, "evictions", counters[POOL_EVICTIONS]);
    fputs("</tr>\n<tr>", stream);
    dashboard_write_count(stream, "deleted", counters[POOL_DELETE_HITS]);
    dashboard_write_count(stream, "refused: full", counters[POOL_STORE_NO_MEMORY]);
    fputs("</tr></table></section>\n", stream);
}

void dashboard_write(const struct admin_options *options, FILE *stream) {
    const struct proto_server *server = options->server;
    fputs(page_head, stream);
    fputs("<h1>stayd <small>" STAYD_VERSION ", up ", stream);
    dashboard_write_age(stream, clock_unix_s() - server->started_s);
    fprintf(stream, ", %" PRIu64 " of %u connections, %u threads</small></h1>\n",
            (uint64_t)atomic_load(&server->limits.connections.used),
            (unsigned)server->limits.connections.limit, server->threads);
    for (unsigned i = 0; i < options->pool_count; i++) {
        dashboard_write_pool(stream, options->pools[i]);
    }
    fputs("<p class=\"dim\"><a href=\"/metrics\">/metrics</a> for Prometheus, "
          "<a href=\"/healthz\">/healthz</a> for a health check.</p>\n",
          stream);
    fputs(page_tail, stream);
}
