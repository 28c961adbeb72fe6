/* The commands on one running pool: stats, get, delete, flush, ping, version. */
#include "command.h"
#include "state.h"
#include "words.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int command_fail(const struct target *target, const char *reason) {
    fprintf(stderr, "stayctl: pool %s: %s\n", target->name, reason);
    return EXIT_FAULT;
}

static int online_print(json_t *object) {
    return words_print_json(object) ? 0 : EXIT_FAULT;
}

static void stats_print(void *user, const char *name, const char *value) {
    (void)user;
    printf("%-24s %s\n", name, value);
}

/* Whole numbers become numbers in JSON; all other values become text. */
static void stats_collect(void *user, const char *name, const char *value) {
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    bool is_number = (isdigit((unsigned char)value[0]) || value[0] == '-') && *end == '\0' &&
                     end != value && errno == 0;
    json_object_set_new(user, name, is_number ? json_integer(number) : json_string(value));
}

int stats_run(struct stayd *client, const struct target *target,
              const struct invocation *invocation) {
    const char *group = invocation->argument_count > 0 ? invocation->arguments[0] : NULL;
    struct stayd_error error;
    json_t *object = invocation->json ? json_object() : NULL;
    if (stayd_stats(client, 0, group, object != NULL ? stats_collect : stats_print, object,
                    &error) != STAYD_OK) {
        json_decref(object);
        return command_fail(target, error.message);
    }
    return invocation->json ? online_print(object) : 0;
}

static int fail_item(const struct target *target, const char *key, const struct stayd_error *error,
                     enum stayd_status status) {
    const char *reason = stayd_failed(status) ? error->message : "there is no such item";
    fprintf(stderr, "stayctl: pool %s: key %s: %s\n", target->name, key, reason);
    if (status == STAYD_NOT_FOUND) {
        return EXIT_NO_ITEM;
    }
    return status == STAYD_INVALID ? EXIT_WRONG : EXIT_FAULT;
}

/* On a terminal, control characters are printed as \xNN, because the terminal could obey them. */
static void get_print_text(const struct stayd_value *value) {
    if (!isatty(STDOUT_FILENO)) {
        fwrite(value->data, 1, value->size, stdout);
        return;
    }
    for (size_t i = 0; i < value->size; i++) {
        unsigned char byte = (unsigned char)value->data[i];
        if ((byte < ' ' && byte != '\n' && byte != '\t') || byte >= 0x7f) {
            printf("\\x%02x", byte);
        } else {
            putchar(byte);
        }
    }
    putchar('\n');
}

static int get_print(const struct stayd_value *value, const char *key, bool json) {
    if (!json) {
        get_print_text(value);
        return fflush(stdout) == 0 ? 0 : EXIT_FAULT;
    }
    json_t *object = json_object();
    words_set_bytes(object, "key", key, strlen(key));
    words_set_bytes(object, "value", value->data, value->size);
    json_object_set_new(object, "size", json_integer((json_int_t)value->size));
    json_object_set_new(object, "flags", json_integer(value->flags));
    return online_print(object);
}

int get_run(struct stayd *client, const struct target *target,
            const struct invocation *invocation) {
    const char *key = invocation->arguments[0];
    struct stayd_value value = {0};
    struct stayd_error error;
    enum stayd_status status = stayd_get(client, key, strlen(key), &value, &error);
    int result = status == STAYD_OK ? get_print(&value, key, invocation->json)
                                    : fail_item(target, key, &error, status);
    stayd_value_free(&value);
    return result;
}

int delete_run(struct stayd *client, const struct target *target,
               const struct invocation *invocation) {
    const char *key = invocation->arguments[0];
    struct stayd_error error;
    enum stayd_status status = stayd_delete(client, key, strlen(key), &error);
    if (status != STAYD_OK) {
        return fail_item(target, key, &error, status);
    }
    if (invocation->json) {
        json_t *object = json_object();
        words_set_bytes(object, "deleted", key, strlen(key));
        return online_print(object);
    }
    printf("pool %s: %s is deleted\n", target->name, key);
    return 0;
}

/* Asks the user to type the pool's name. */
static bool flush_is_confirmed(const char *name, uint64_t items) {
    char line[128];
    fprintf(stderr,
            "This deletes all %llu items of pool %s for good, and logs out every user with a "
            "session in it.\nType the pool's name to go on: ",
            (unsigned long long)items, name);
    fflush(stderr);
    if (fgets(line, sizeof line, stdin) == NULL) {
        fputc('\n', stderr);
        return false;
    }
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, name) == 0;
}

/* Returns 0 if the pool may be flushed, otherwise the exit status. */
static int flush_check(const struct state *state, const char *name, bool yes) {
    bool keeps = state_is(state->persist) || strcmp(state->evict, "no") == 0;
    if (!keeps || yes) {
        return 0;
    }
    if (isatty(STDIN_FILENO)) {
        if (flush_is_confirmed(name, state->items)) {
            return 0;
        }
        fputs("stayctl: that is not the pool's name; nothing was deleted\n", stderr);
        return EXIT_WRONG;
    }
    fprintf(stderr,
            "stayctl: pool %s is persistent or never evicts: flush deletes its %llu items for "
            "good, and logs out every user with a session in it. To confirm, add --yes.\n",
            name, (unsigned long long)state->items);
    return EXIT_WRONG;
}

int flush_run(struct stayd *client, const struct target *target,
              const struct invocation *invocation) {
    struct stayd_error error;
    struct state state;
    if (state_read(client, &state, &error) != STAYD_OK) {
        return command_fail(target, error.message);
    }
    const char *name = state.pool[0] != '\0' ? state.pool : target->name;
    int refused = flush_check(&state, name, invocation->yes);
    if (refused != 0) {
        return refused;
    }
    if (stayd_flush_all(client, 0, &error) != STAYD_OK) {
        return command_fail(target, error.message);
    }
    if (invocation->json) {
        return online_print(
            json_pack("{s:s, s:I}", "pool", name, "deleted_items", (json_int_t)state.items));
    }
    printf("pool %s is empty (it had %llu items)\n", name, (unsigned long long)state.items);
    return 0;
}

int ping_run(struct stayd *client, const struct target *target,
             const struct invocation *invocation) {
    char version[64];
    struct stayd_error error;
    struct timespec begin;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    if (stayd_version(client, 0, version, sizeof version, &error) != STAYD_OK) {
        return command_fail(target, error.message);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double microseconds =
        (double)(end.tv_sec - begin.tv_sec) * 1e6 + (double)(end.tv_nsec - begin.tv_nsec) / 1e3;
    if (invocation->json) {
        return online_print(
            json_pack("{s:s, s:f}", "pool", target->name, "reply_us", microseconds));
    }
    printf("%-16s answers in %.0f us\n", target->name, microseconds);
    return 0;
}

int version_run(struct stayd *client, const struct target *target,
                const struct invocation *invocation) {
    char version[64];
    struct stayd_error error;
    struct state state;
    if (stayd_version(client, 0, version, sizeof version, &error) != STAYD_OK ||
        state_read(client, &state, &error) != STAYD_OK) {
        return command_fail(target, error.message);
    }
    if (invocation->json) {
        const char *own = state.stayd_version[0] != '\0' ? state.stayd_version : NULL;
        return online_print(json_pack("{s:s, s:s?, s:s}", "pool", target->name, "stayd", own,
                                      "memcached", version));
    }
    if (state.stayd_version[0] != '\0') {
        printf("%-16s stayd %s (to clients: memcached %s)\n", target->name, state.stayd_version,
               version);
    } else {
        printf("%-16s memcached %s\n", target->name, version);
    }
    return 0;
}
