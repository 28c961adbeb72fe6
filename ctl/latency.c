/* `stayctl latency`: how long requests take inside the daemon, by command. */
#include "command.h"
#include "words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LATENCY_KINDS = 8, LATENCY_STEPS = 32 };

struct latency_step {
    uint64_t limit_ns; /* UINT64_MAX: longer than the step before */
    uint64_t count;
};

struct latency_kind {
    char name[24];
    struct latency_step steps[LATENCY_STEPS]; /* ascending; empty steps are left out */
    unsigned step_count;
    uint64_t count; /* of all steps */
};

struct latency_report {
    uint64_t every; /* one in `every` requests is measured; 0: the server is not stayd */
    struct latency_kind kinds[LATENCY_KINDS];
    unsigned kind_count;
};

/* Finds or adds the kind with this name. NULL: there are too many kinds. */
static struct latency_kind *latency_find(struct latency_report *report, const char *name,
                                         size_t size) {
    for (unsigned i = 0; i < report->kind_count; i++) {
        if (strlen(report->kinds[i].name) == size &&
            memcmp(report->kinds[i].name, name, size) == 0) {
            return &report->kinds[i];
        }
    }
    if (report->kind_count == LATENCY_KINDS || size >= sizeof report->kinds[0].name) {
        return NULL;
    }
    struct latency_kind *kind = &report->kinds[report->kind_count++];
    memcpy(kind->name, name, size);
    return kind;
}

static void latency_take(void *user, const char *name, const char *value) {
    struct latency_report *report = user;
    uint64_t count = strtoull(value, NULL, 10);
    const char *limit = strrchr(name, '_');
    if (strcmp(name, "measured_every") == 0) {
        report->every = count;
        return;
    }
    struct latency_kind *kind =
        limit == NULL ? NULL : latency_find(report, name, (size_t)(limit - name));
    if (kind == NULL || kind->step_count == LATENCY_STEPS) {
        return;
    }
    kind->steps[kind->step_count++] = (struct latency_step){
        .limit_ns = strcmp(limit, "_more") == 0 ? UINT64_MAX : strtoull(limit + 1, NULL, 10),
        .count = count,
    };
    kind->count += count;
}

static const char *latency_time(uint64_t ns, char text[WORDS_MAX]) {
    if (ns == UINT64_MAX) {
        return "more";
    }
    if (ns < 1000) {
        snprintf(text, WORDS_MAX, "%" PRIu64 " ns", ns);
    } else if (ns < 1000000) {
        snprintf(text, WORDS_MAX, "%.1f us", (double)ns / 1e3);
    } else {
        snprintf(text, WORDS_MAX, "%.1f ms", (double)ns / 1e6);
    }
    return text;
}

/* The smallest limit that at least `per_mille` of 1000 requests do not exceed. */
static uint64_t latency_quantile(const struct latency_kind *kind, uint64_t per_mille) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < kind->step_count; i++) {
        sum += kind->steps[i].count;
        if (sum * 1000 >= kind->count * per_mille) {
            return kind->steps[i].limit_ns;
        }
    }
    return UINT64_MAX;
}

static void latency_print(const struct latency_kind *kind) {
    char text[3][WORDS_MAX];
    printf("\n%s: %" PRIu64 " measured; half took up to %s, 99 %% up to %s, all up to %s\n",
           kind->name, kind->count, latency_time(latency_quantile(kind, 500), text[0]),
           latency_time(latency_quantile(kind, 990), text[1]),
           latency_time(latency_quantile(kind, 1000), text[2]));
    for (unsigned i = 0; i < kind->step_count; i++) {
        char bar[WORDS_BAR + 3];
        const struct latency_step *step = &kind->steps[i];
        printf("  %s %8s %10" PRIu64 "%s\n", step->limit_ns == UINT64_MAX ? "     " : "up to",
               latency_time(step->limit_ns, text[0]), step->count,
               words_bar(step->count, kind->count, bar));
    }
}

static json_t *latency_limit_to_json(uint64_t limit_ns) {
    return limit_ns == UINT64_MAX ? json_null() : json_integer((json_int_t)limit_ns);
}

static json_t *latency_to_json(const struct target *target, const struct latency_report *report) {
    json_t *kinds = json_object();
    for (unsigned i = 0; i < report->kind_count; i++) {
        const struct latency_kind *kind = &report->kinds[i];
        json_t *steps = json_array();
        for (unsigned j = 0; j < kind->step_count; j++) {
            json_array_append_new(steps, json_pack("{s:o, s:I}", "up_to_ns",
                                                   latency_limit_to_json(kind->steps[j].limit_ns),
                                                   "count", (json_int_t)kind->steps[j].count));
        }
        json_object_set_new(kinds, kind->name,
                            json_pack("{s:I, s:o, s:o, s:o}", "measured", (json_int_t)kind->count,
                                      "p50_ns", latency_limit_to_json(latency_quantile(kind, 500)),
                                      "p99_ns", latency_limit_to_json(latency_quantile(kind, 990)),
                                      "histogram", steps));
    }
    return json_pack("{s:s, s:I, s:o}", "pool", target->name, "measured_every",
                     (json_int_t)report->every, "commands", kinds);
}

int latency_run(struct stayd *client, const struct target *target,
                const struct invocation *invocation) {
    struct latency_report report = {0};
    struct stayd_error error;
    if (stayd_stats(client, 0, "latency", latency_take, &report, &error) != STAYD_OK) {
        return command_fail(target, error.message);
    }
    if (report.every == 0) {
        return command_fail(target, "this server is not stayd");
    }
    if (invocation->json) {
        return words_print_json(latency_to_json(target, &report)) ? 0 : EXIT_FAULT;
    }
    printf("pool %s: time of a request inside the daemon; one in %" PRIu64 " is measured\n",
           target->name, report.every);
    for (unsigned i = 0; i < report.kind_count; i++) {
        latency_print(&report.kinds[i]);
    }
    return 0;
}
