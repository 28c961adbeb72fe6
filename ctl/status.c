/* `stayctl status`: a line for each pool, and below them what is wrong and what to do about it. */
#include "command.h"
#include "look.h"
#include "words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void status_look(struct look *pool, const struct target *target) {
    *pool = (struct look){.target = target};
    struct stayd *client = target_open(target, &pool->url, &pool->error);
    look_at(pool, client);
    stayd_close(client);
}

/* A clustered pool refuses connections until it has caught up. Another pool of the daemon says that
 * the daemon runs. */
static void status_find_waiting(struct look *pools, unsigned count) {
    bool runs = false;
    for (unsigned i = 0; i < count; i++) {
        runs = runs || (pools[i].answered && pools[i].state.stayd_version[0] != '\0');
    }
    for (unsigned i = 0; i < count; i++) {
        pools[i].waits = runs && pools[i].target->clustered && pools[i].url == NULL;
    }
}

/* The escape sequences that begin and end a colour; empty without colours. */
static const char *status_colour(const struct look *pool) {
    if (!words_have_colours()) {
        return "";
    }
    static const char *const colours[] = {
        [LOOK_WELL] = "\033[32m",    /* green */
        [LOOK_WARNING] = "\033[33m", /* yellow */
        [LOOK_FAULT] = "\033[1;31m", /* red */
    };
    return colours[look_level(pool)];
}

static const char *status_end_colour(void) {
    return words_have_colours() ? "\033[0m" : "";
}

static void status_print_head(const struct look *pools, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        const struct state *state = &pools[i].state;
        char uptime[WORDS_MAX];
        if (pools[i].answered && state->stayd_version[0] != '\0') {
            printf("stayd %s, up %s, %" PRIu64 " threads, %" PRIu64 " of %" PRIu64
                   " connections\n\n",
                   state->stayd_version, words_time(state->uptime_s, uptime), state->threads,
                   state->connections, state->connections_max);
            return;
        }
    }
}

#define STATUS_LINE "%-*s %s%-*s%s %8s %13s %8s %6s %7s %8s %9s\n"

/* The widths of the first two columns; the others have a fixed width. */
struct status_widths {
    int name;
    int word;
};

static int status_max(int width, const char *text) {
    int length = (int)strlen(text);
    return length > width ? length : width;
}

static struct status_widths status_measure(const struct look *pools, unsigned count) {
    struct status_widths widths = {.name = (int)strlen("POOL"), .word = (int)strlen("STATE")};
    for (unsigned i = 0; i < count; i++) {
        widths.name = status_max(widths.name, look_name(&pools[i]));
        widths.word = status_max(widths.word, look_word(&pools[i]));
    }
    return widths;
}

static void status_print_line(const struct look *pool, struct status_widths widths) {
    const struct state *state = &pool->state;
    char items[WORDS_MAX] = "-";
    char live[WORDS_MAX];
    char capacity[WORDS_MAX];
    char memory[2 * WORDS_MAX + 4] = "-";
    char pressure[WORDS_MAX] = "-";
    char hits[WORDS_MAX] = "-";
    char evicted[WORDS_MAX] = "-";
    char lag[WORDS_MAX] = "-";
    char full_in[WORDS_MAX];
    if (pool->answered) {
        snprintf(items, sizeof items, "%" PRIu64, state->items);
        snprintf(evicted, sizeof evicted, "%" PRIu64, state->evictions);
        snprintf(memory, sizeof memory, "%s/%s", words_bytes(state->live_bytes, live),
                 words_bytes(state->capacity_bytes, capacity));
    }
    if (state->needed_limit_bytes > 0) {
        snprintf(pressure, sizeof pressure, "%.0f%%", 100 * state_pressure(state));
    }
    if (state_is(state->persist)) {
        snprintf(lag, sizeof lag, "%.1f s", (double)state->sync_lag_ms / 1000);
    }
    uint64_t full_in_s = pool->answered && !state_is(state->full) ? state->full_in_s : UINT64_MAX;
    printf(STATUS_LINE, widths.name, look_name(pool), status_colour(pool), widths.word,
           look_word(pool), status_end_colour(), items, memory, pressure,
           words_share(state->hits, state->lookups, hits), evicted, lag,
           words_time(full_in_s, full_in));
}

static void status_print_advice(const struct look *pools, unsigned count) {
    bool any = false;
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < pools[i].advice_count; j++) {
            const struct advice *advice = &pools[i].advice[j];
            printf("%s%s%s: pool %s %s%s.\n    %s\n", any ? "" : "\n", status_colour(&pools[i]),
                   advice->level == ADVICE_FAULT ? "FAULT" : "warning", look_name(&pools[i]),
                   advice->what, status_end_colour(), advice->remedy);
            any = true;
        }
    }
}

static json_t *status_advice_to_json(const struct look *pool) {
    json_t *array = json_array();
    for (unsigned i = 0; i < pool->advice_count; i++) {
        const struct advice *advice = &pool->advice[i];
        json_array_append_new(array,
                              json_pack("{s:s, s:s, s:s, s:s}", "name", advice->name, "level",
                                        advice->level == ADVICE_FAULT ? "fault" : "warning", "what",
                                        advice->what, "remedy", advice->remedy));
    }
    return array;
}

static json_t *status_to_json(const struct look *pool) {
    const struct state *state = &pool->state;
    json_t *object =
        json_pack("{s:s, s:s, s:s?, s:b}", "name", look_name(pool), "state", look_word(pool),
                  "address", pool->url, "well", look_level(pool) != LOOK_FAULT);
    if (!pool->answered) {
        json_object_set_new(object, "error", json_string(pool->error.message));
        return object;
    }
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"connections", state->pool_connections},
        {"items", state->items},
        {"live_bytes", state->live_bytes},
        {"dead_bytes", state->dead_bytes},
        {"free_bytes", state->free_bytes},
        {"capacity_bytes", state->capacity_bytes},
        {"sync_lag_ms", state->sync_lag_ms},
        {"lookups", state->lookups},
        {"hits", state->hits},
        {"stores", state->stores},
        {"evictions", state->evictions},
        {"evicted_unread", state->evicted_unfetched},
        {"expirations", state->expirations},
        {"refused_full", state->refused_full},
        {"conflicts", state->conflicts},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        json_object_set_new(object, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    }
    json_object_set_new(object, "pressure", json_real(state_pressure(state)));
    json_object_set_new(
        object, "full_in_seconds",
        state->full_in_s == UINT64_MAX ? json_null() : json_integer((json_int_t)state->full_in_s));
    json_object_set_new(object, "hit_ratio",
                        state->lookups == 0
                            ? json_null()
                            : json_real((double)state->hits / (double)state->lookups));
    if (state->cluster_state[0] != '\0') {
        const struct advice_cluster *cluster = &state->cluster;
        json_object_set_new(
            object, "cluster",
            json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I}", "state", state->cluster_state,
                      "serves", state_is(state->cluster_serves), "leaderless",
                      (json_int_t)cluster->leaderless, "lost_logs", (json_int_t)cluster->lost_logs,
                      "lag_ms", (json_int_t)cluster->lag_ms, "silent_ms",
                      (json_int_t)cluster->silent_ms, "away_ms", (json_int_t)cluster->away_ms));
    }
    json_object_set_new(object, "warnings", status_advice_to_json(pool));
    return object;
}

static bool status_print_json(const struct look *pools, unsigned count) {
    json_t *object = json_object();
    json_t *array = json_array();
    for (unsigned i = 0; i < count; i++) {
        const struct state *state = &pools[i].state;
        json_array_append_new(array, status_to_json(&pools[i]));
        if (state->stayd_version[0] != '\0' && json_object_size(object) == 0) {
            json_object_set_new(object, "version", json_string(state->stayd_version));
            json_object_set_new(object, "uptime_s", json_integer((json_int_t)state->uptime_s));
            json_object_set_new(object, "connections",
                                json_integer((json_int_t)state->connections));
            json_object_set_new(object, "connections_max",
                                json_integer((json_int_t)state->connections_max));
        }
    }
    json_object_set_new(object, "pools", array);
    return words_print_json(object);
}

/* Returns true if there is no connection to some pool. */
static bool status_print_text(const struct look *pools, unsigned count) {
    bool unreached = false;
    struct status_widths widths = status_measure(pools, count);
    status_print_head(pools, count);
    printf(STATUS_LINE, widths.name, "POOL", "", widths.word, "STATE", "", "ITEMS", "LIVE/MEMORY",
           "PRESSURE", "HITS", "EVICTED", "SYNC LAG", "FULL IN");
    for (unsigned i = 0; i < count; i++) {
        status_print_line(&pools[i], widths);
    }
    status_print_advice(pools, count);
    fflush(stdout);
    for (unsigned i = 0; i < count; i++) {
        if (pools[i].waits) {
            fprintf(stderr,
                    "stayctl: pool %s refuses connections: stayd runs, and this pool waits for its "
                    "cluster or catches up with it. stayd's log and /healthz say which; stayctl "
                    "cluster status shows the nodes\n",
                    look_name(&pools[i]));
        } else if (!pools[i].answered) {
            unreached = unreached || pools[i].url == NULL;
            fprintf(stderr, "stayctl: pool %s: %s\n", look_name(&pools[i]), pools[i].error.message);
        }
    }
    return unreached;
}

int status_run(const struct target_list *list, struct invocation *invocation) {
    static struct look pools[CONFIG_POOLS_MAX];
    bool well = true;
    for (unsigned i = 0; i < list->count; i++) {
        status_look(&pools[i], &list->items[i]);
        well = well && look_level(&pools[i]) != LOOK_FAULT;
    }
    status_find_waiting(pools, list->count);
    if (invocation->json) {
        well = status_print_json(pools, list->count) && well;
    } else {
        invocation->unreached = status_print_text(pools, list->count);
    }
    return well ? 0 : EXIT_FAULT;
}
