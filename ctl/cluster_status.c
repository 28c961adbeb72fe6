/* `stayctl cluster status`: each partition as the engine has it, and as this host's daemon has it.
 */
#include "cluster_status.h"

#include "base/clock.h"
#include "words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    STATUS_PATIENCE_MS = 5000, /* nodes that have just started elect leaders first */
    STATUS_NAP_MS = 200,
};

/* A partition. */
struct cluster_row {
    bool is_checked; /* by the engine; else `error` says why not */
    struct engine_log log;
    char error[ENGINE_ERROR_MAX];
    /* from the daemon */
    char state[16];
    uint64_t position;
    uint64_t lag_ms;
    uint64_t silent_ms;
    uint64_t to_read;
    uint64_t in_flight;
    uint64_t conflicts;
};

struct cluster_view {
    const struct config_pool *pool;
    struct cluster_row rows[POOL_PARTITIONS_MAX];
    bool answered; /* the daemon */
    char error[512];
    char stage[16];
    char syncs[16];
    uint64_t leaderless;
    uint64_t away_ms;
    uint64_t failed;
    uint64_t lost_answers;
    uint64_t lost_logs;
};

/* ---- the daemon ---- */

static void view_take_general(void *user, const char *name, const char *value) {
    struct cluster_view *view = user;
    const struct {
        const char *name;
        uint64_t *number;
    } numbers[] = {
        {"cluster_leaderless", &view->leaderless}, {"cluster_away_ms", &view->away_ms},
        {"cluster_failed", &view->failed},         {"cluster_lost_answers", &view->lost_answers},
        {"cluster_lost_logs", &view->lost_logs},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            *numbers[i].number = strtoull(value, NULL, 10);
        }
    }
    if (strcmp(name, "cluster_state") == 0) {
        snprintf(view->stage, sizeof view->stage, "%s", value);
    } else if (strcmp(name, "cluster_syncs") == 0) {
        snprintf(view->syncs, sizeof view->syncs, "%s", value);
    }
}

/* PARTITION:NAME */
static void view_take_partition(void *user, const char *name, const char *value) {
    struct cluster_view *view = user;
    char *end;
    unsigned long partition = strtoul(name, &end, 10);
    if (*end != ':' || partition >= POOL_PARTITIONS_MAX) {
        return;
    }
    struct cluster_row *row = &view->rows[partition];
    const struct {
        const char *name;
        uint64_t *number;
    } numbers[] = {
        {"position", &row->position},   {"lag_ms", &row->lag_ms},
        {"silent_ms", &row->silent_ms}, {"to_read", &row->to_read},
        {"in_flight", &row->in_flight}, {"conflicts", &row->conflicts},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(end + 1, numbers[i].name) == 0) {
            *numbers[i].number = strtoull(value, NULL, 10);
        }
    }
    if (strcmp(end + 1, "state") == 0) {
        snprintf(row->state, sizeof row->state, "%s", value);
    }
}

static void view_ask_daemon(struct cluster_view *view, const struct target *target) {
    struct stayd_error error = {0};
    const char *url;
    struct stayd *client = target_open(target, &url, &error);
    view->answered =
        client != NULL &&
        stayd_stats(client, 0, NULL, view_take_general, view, &error) == STAYD_OK &&
        stayd_stats(client, 0, "cluster", view_take_partition, view, &error) == STAYD_OK;
    snprintf(view->error, sizeof view->error, "%s", error.message);
    stayd_close(client);
}

/* ---- the engine ---- */

static void view_ask_engine(struct cluster_view *view, const struct engine *engine) {
    uint64_t until_ms = clock_monotonic_ms() + STATUS_PATIENCE_MS;
    for (uint32_t i = 0; i < view->pool->options.partitions; i++) {
        struct cluster_row *row = &view->rows[i];
        enum engine_check check;
        while ((check = engine->check(engine->self, i, &row->log, row->error)) == ENGINE_AWAY &&
               clock_monotonic_ms() < until_ms) {
            nanosleep(&(struct timespec){.tv_nsec = STATUS_NAP_MS * 1000000}, NULL);
        }
        row->is_checked = check == ENGINE_RIGHT;
    }
}

static bool view_is_well(const struct cluster_view *view) {
    for (uint32_t i = 0; i < view->pool->options.partitions; i++) {
        if (!view->rows[i].is_checked || view->rows[i].log.leader[0] == '\0') {
            return false;
        }
    }
    return view->lost_logs == 0 && strcmp(view->syncs, "no") != 0;
}

/* ---- output ---- */

static void view_print_host(const struct cluster_view *view) {
    if (!view->answered) {
        printf("this host: stayd does not answer on this pool (%s): it does not run, or it waits "
               "until it has caught up; its log and /healthz say which\n",
               view->error);
        return;
    }
    printf("this host: %s; %" PRIu64 " writes failed, %" PRIu64 " answers lost; nodes sync each "
           "write: %s",
           view->stage, view->failed, view->lost_answers, view->syncs);
    if (view->away_ms > 0) {
        printf("; no connection for %" PRIu64 " s", view->away_ms / 1000);
    }
    putchar('\n');
}

static void view_print_row(const struct cluster_view *view, uint32_t partition) {
    const struct cluster_row *row = &view->rows[partition];
    if (row->is_checked) {
        printf("%9" PRIu32 "  %-16s %4" PRIu32 "/%-3" PRIu32 " %10" PRIu64 " %12" PRIu64
               " %12" PRIu64,
               partition, row->log.leader[0] != '\0' ? row->log.leader : "(none)",
               row->log.replicas_current, row->log.replicas, row->log.records, row->log.bytes,
               row->log.last);
    } else {
        printf("%9" PRIu32 "  %-67s", partition, "(not there)");
    }
    if (view->answered) {
        uint64_t lag_ms = row->silent_ms > row->lag_ms ? row->silent_ms : row->lag_ms;
        printf(" %12" PRIu64 " %8.3f %9" PRIu64 " %9" PRIu64 "  %s", row->position,
               (double)lag_ms / 1000, row->in_flight, row->conflicts, row->state);
    }
    if (!row->is_checked) {
        printf("\n           %s", row->error);
    }
    putchar('\n');
}

static void view_print(const struct cluster_view *view) {
    view_print_host(view);
    printf("%9s  %-16s %8s %10s %12s %12s", "partition", "leader", "current", "records", "bytes",
           "last");
    if (view->answered) {
        printf(" %12s %8s %9s %9s  %s", "here", "lag s", "in flight", "conflicts", "state");
    }
    putchar('\n');
    for (uint32_t i = 0; i < view->pool->options.partitions; i++) {
        view_print_row(view, i);
    }
}

static json_t *view_row_to_json(const struct cluster_view *view, uint32_t partition) {
    const struct cluster_row *row = &view->rows[partition];
    json_t *object = json_pack("{s:I}", "partition", (json_int_t)partition);
    if (row->is_checked) {
        json_t *engine = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "leader", row->log.leader,
                                   "replicas", (json_int_t)row->log.replicas, "replicas_current",
                                   (json_int_t)row->log.replicas_current, "records",
                                   (json_int_t)row->log.records, "bytes",
                                   (json_int_t)row->log.bytes, "last", (json_int_t)row->log.last);
        json_object_set_new(object, "engine", engine);
    } else {
        json_object_set_new(object, "error", json_string(row->error));
    }
    if (view->answered) {
        json_t *host =
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "state", row->state, "position",
                      (json_int_t)row->position, "lag_ms", (json_int_t)row->lag_ms, "silent_ms",
                      (json_int_t)row->silent_ms, "to_read", (json_int_t)row->to_read, "in_flight",
                      (json_int_t)row->in_flight, "conflicts", (json_int_t)row->conflicts);
        json_object_set_new(object, "host", host);
    }
    return object;
}

static bool view_print_json(const struct cluster_view *view) {
    json_t *object =
        json_pack("{s:s, s:b}", "pool", view->pool->options.name, "well", view_is_well(view));
    json_t *array = json_array();
    for (uint32_t i = 0; i < view->pool->options.partitions; i++) {
        json_array_append_new(array, view_row_to_json(view, i));
    }
    if (view->answered) {
        json_t *host = json_pack(
            "{s:s, s:s, s:I, s:I, s:I, s:I}", "state", view->stage, "syncs", view->syncs, "failed",
            (json_int_t)view->failed, "lost_answers", (json_int_t)view->lost_answers, "away_ms",
            (json_int_t)view->away_ms, "lost_logs", (json_int_t)view->lost_logs);
        json_object_set_new(object, "host", host);
    } else {
        json_object_set_new(object, "host", json_null());
        json_object_set_new(object, "host_error", json_string(view->error));
    }
    json_object_set_new(object, "partitions", array);
    return words_print_json(object);
}

int cluster_status_show(const struct config_pool *pool, const struct target *target,
                        const struct engine *engine, bool json) {
    struct cluster_view *view = calloc(1, sizeof *view);
    if (view == NULL) {
        fputs("stayctl: no memory\n", stderr);
        return EXIT_FAULT;
    }
    view->pool = pool;
    view_ask_daemon(view, target);
    view_ask_engine(view, engine);
    bool printed = true;
    if (json) {
        printed = view_print_json(view);
    } else {
        view_print(view);
    }
    int result = printed && view_is_well(view) ? 0 : EXIT_FAULT;
    free(view);
    return result;
}
