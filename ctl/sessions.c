/* `stayctl sessions`: how many items are live, and when they expire. Keys are not shown, because a
 * session's key is as good as a password. */
#include "command.h"
#include "words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSIONS_HOURS = 24 };

struct sessions {
    bool any; /* the server has these statistics */
    uint64_t expired;
    uint64_t hours[SESSIONS_HOURS]; /* [0]: items that expire in the next hour */
    uint64_t later;
    uint64_t never;
};

static void sessions_take(void *user, const char *name, const char *value) {
    static const char prefix[] = "expire_in_hour_";
    struct sessions *sessions = user;
    uint64_t number = strtoull(value, NULL, 10);
    sessions->any = true;
    if (strncmp(name, prefix, sizeof prefix - 1) == 0) {
        unsigned long hour = strtoul(name + sizeof prefix - 1, NULL, 10);
        if (hour >= 1 && hour <= SESSIONS_HOURS) {
            sessions->hours[hour - 1] = number;
        }
    } else if (strcmp(name, "expired") == 0) {
        sessions->expired = number;
    } else if (strcmp(name, "expire_later") == 0) {
        sessions->later = number;
    } else if (strcmp(name, "expire_never") == 0) {
        sessions->never = number;
    }
}

static uint64_t sessions_sum(const struct sessions *sessions, unsigned from, unsigned to) {
    uint64_t sum = 0;
    for (unsigned hour = from; hour < to; hour++) {
        sum += sessions->hours[hour];
    }
    return sum;
}

static void sessions_print_row(const char *when, uint64_t count, uint64_t live) {
    char bar[WORDS_BAR + 3];
    printf("  %-26s %10" PRIu64 "%s\n", when, count, words_bar(count, live, bar));
}

static void sessions_print(const char *name, const struct sessions *sessions, uint64_t live) {
    printf("pool %s: about %" PRIu64 " live items\n", name, live);
    sessions_print_row("expire within the hour", sessions->hours[0], live);
    sessions_print_row("in 1 to 6 hours", sessions_sum(sessions, 1, 6), live);
    sessions_print_row("in 6 to 24 hours", sessions_sum(sessions, 6, SESSIONS_HOURS), live);
    sessions_print_row("later", sessions->later, live);
    sessions_print_row("never", sessions->never, live);
    sessions_print_row("expired, not yet reclaimed", sessions->expired, 0);
}

static json_t *sessions_to_json(const char *name, const struct sessions *sessions, uint64_t live) {
    json_t *hours = json_array();
    for (unsigned hour = 0; hour < SESSIONS_HOURS; hour++) {
        json_array_append_new(hours, json_integer((json_int_t)sessions->hours[hour]));
    }
    return json_pack("{s:s, s:I, s:I, s:o, s:I, s:I}", "pool", name, "live", (json_int_t)live,
                     "expired", (json_int_t)sessions->expired, "within_hours", hours, "later",
                     (json_int_t)sessions->later, "never", (json_int_t)sessions->never);
}

int sessions_run(struct stayd *client, const struct target *target,
                 const struct invocation *invocation) {
    struct sessions sessions = {0};
    struct stayd_error error;
    if (stayd_stats(client, 0, "expiry", sessions_take, &sessions, &error) != STAYD_OK) {
        return command_fail(target, error.message);
    }
    if (!sessions.any) {
        return command_fail(target, "this server is not stayd");
    }
    uint64_t live = sessions_sum(&sessions, 0, SESSIONS_HOURS) + sessions.later + sessions.never;
    if (invocation->json) {
        json_t *object = sessions_to_json(target->name, &sessions, live);
        return words_print_json(object) ? 0 : EXIT_FAULT;
    }
    sessions_print(target->name, &sessions, live);
    return 0;
}
