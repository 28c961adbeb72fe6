/* stayd.h's functions for a server as a whole. */
#include "base/clock.h"
#include "call.h"

/* If there is no such server, fills in `error` and returns NULL. */
static struct server *admin_find(struct stayd *client, unsigned server, struct stayd_error *error) {
    client_enter(client);
    if (server < client->server_count) {
        return &client->servers[server];
    }
    client_refuse(error, STAYD_INVALID, "there is no server %u: the client has %u", server,
                  client->server_count);
    return NULL;
}

enum stayd_status stayd_connect(struct stayd *client, unsigned server, struct stayd_error *error) {
    struct server *found = admin_find(client, server, error);
    return found != NULL ? call_connect(client, found, error) : STAYD_INVALID;
}

enum stayd_status stayd_version(struct stayd *client, unsigned server, char *version, size_t size,
                                struct stayd_error *error) {
    struct server *found = admin_find(client, server, error);
    struct request request = {
        .verb = VERB_VERSION, .kind = REQUEST_HARMLESS, .text = version, .text_size = size};
    if (found != NULL && size == 0) {
        return client_refuse(error, STAYD_INVALID, "there is no room for a version");
    }
    return found != NULL ? call_run_on(client, found, &request, clock_exact_ms(), error)
                         : STAYD_INVALID;
}

/* The caller's function, for the lines of the statistics. */
struct admin_stat {
    struct stayd *client;
    stayd_stat *each;
    void *user;
};

static void admin_tell_stat(void *user, const char *name, const char *value) {
    const struct admin_stat *stat = user;
    stat->each(stat->user, name, value);
    client_enter(stat->client); /* if `each` has forked, the child must not read on */
}

enum stayd_status stayd_stats(struct stayd *client, unsigned server, const char *group,
                              stayd_stat *each, void *user, struct stayd_error *error) {
    struct server *found = admin_find(client, server, error);
    struct admin_stat stat = {.client = client, .each = each, .user = user};
    struct request request = {
        .verb = VERB_STATS, .kind = REQUEST_HARMLESS, .each = admin_tell_stat, .user = &stat};
    if (found == NULL) {
        return STAYD_INVALID;
    }
    if (group != NULL) {
        request.key = bytes_from_string(group);
        if (strcmp(group, "reset") == 0) {
            request.kind = REQUEST_ONCE;
        }
        if (client_check_key(group, request.key.size, NULL) != STAYD_OK) {
            return client_refuse(error, STAYD_INVALID, "a group of statistics is one word");
        }
    }
    return call_run_on(client, found, &request, clock_exact_ms(), error);
}

enum stayd_status stayd_hold(struct stayd *client, unsigned server, unsigned lease_s,
                             uint64_t *number, struct stayd_error *error) {
    struct server *found = admin_find(client, server, error);
    struct request request = {
        .verb = VERB_HOLD, .kind = REQUEST_ONCE, .lease_s = lease_s, .number = *number};
    enum stayd_status status = found != NULL
                                   ? call_run_on(client, found, &request, clock_exact_ms(), error)
                                   : STAYD_INVALID;
    if (status == STAYD_OK && request.result != 0) {
        *number = request.result;
    }
    return status;
}

enum stayd_status stayd_flush_all(struct stayd *client, uint32_t delay_s,
                                  struct stayd_error *error) {
    enum stayd_status result = STAYD_OK;
    uint64_t began_ms = clock_exact_ms();
    client_enter(client);
    for (unsigned i = 0; i < client->server_count && result != STAYD_INTERRUPTED; i++) {
        struct request request = {.verb = VERB_FLUSH, .kind = REQUEST_ONCE, .number = delay_s};
        enum stayd_status status = call_run_on(client, &client->servers[i], &request, began_ms,
                                               result == STAYD_OK ? error : NULL);
        result = result == STAYD_OK ? status : result;
    }
    return result;
}
