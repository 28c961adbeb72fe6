/* stayd.h's functions for many keys: each server gets one request with all of its keys, and all are
 * sent before the first reply is waited for.
 *
 *     items   k0 k1 k2 k3 k4        parts   server 0: places 0 3     server 1: places 1 2 4 */
#include "base/clock.h"
#include "call.h"
#include "explain.h"

#include <stdlib.h>

struct many_part {
    struct call call;
    struct request request;
    struct stayd_error error;
    size_t *places; /* its first entry in many.places */
    bool is_sent;
};

struct many {
    struct many_part *parts; /* one for each server that has some of the keys */
    unsigned part_count;
    size_t *places;
    struct many_part own_part; /* used for a single server, the usual case */
};

static void many_finish(struct many *many) {
    if (many->parts != &many->own_part) {
        free(many->parts);
    }
    free(many->places);
}

/* An item that was read from mapped memory needs no request. */
static bool many_is_done(const struct request *request, const struct stayd_item *item) {
    return request->verb == VERB_GET_MANY && item->status == STAYD_OK;
}

/* Counts the keys of each server, and notes each item's server. */
static void many_count(struct stayd *client, const struct request *request,
                       const struct stayd_item *items, size_t count, unsigned *owners,
                       size_t *counts) {
    for (size_t i = 0; i < count; i++) {
        if (!many_is_done(request, &items[i])) {
            struct bytes key = bytes_from(items[i].key, items[i].key_size);
            owners[i] = client_server_number(client, client_find_server(client, key));
            counts[owners[i]]++;
        }
    }
}

/* Groups the items by server. False if memory is short. */
static bool many_init(struct many *many, struct stayd *client, const struct request *request,
                      struct stayd_item *items, size_t count) {
    unsigned servers = client->server_count;
    *many = (struct many){.parts = &many->own_part};
    if (servers > 1) {
        many->parts = calloc(servers, sizeof *many->parts);
    }
    many->places = calloc(count, sizeof *many->places);
    unsigned *owners = calloc(count, sizeof *owners);
    size_t *counts = calloc(servers, sizeof *counts);
    bool made = many->parts != NULL && many->places != NULL && owners != NULL && counts != NULL;
    size_t used = 0;
    if (made) {
        many_count(client, request, items, count, owners, counts);
    }
    for (unsigned i = 0; made && i < servers; i++) {
        if (counts[i] == 0) {
            continue;
        }
        struct many_part *part = &many->parts[many->part_count];
        part->request = *request;
        part->request.items = items;
        part->request.places = part->places = many->places + used;
        part->call.server = &client->servers[i];
        used += counts[i];
        counts[i] = many->part_count++; /* from now on, the number of the server's part */
    }
    for (size_t i = 0; made && i < count; i++) {
        if (!many_is_done(request, &items[i])) {
            struct many_part *part = &many->parts[counts[owners[i]]];
            part->places[part->request.count++] = i;
        }
    }
    free(owners);
    free(counts);
    return made;
}

/* Gives the call's status to the items that have no answer. Returns the status of the part. */
static enum stayd_status many_end_part(struct many_part *part) {
    enum stayd_status status = part->call.status;
    if (!stayd_failed(status)) {
        return part->request.failed;
    }
    for (size_t i = part->request.answered; i < part->request.count; i++) {
        /* after the refused item, it is unknown to which item an answer belongs */
        bool is_unknown = status == STAYD_REFUSED && request_has_data(&part->request);
        request_item(&part->request, i)->status = is_unknown ? STAYD_OUTCOME_UNKNOWN : status;
    }
    return status;
}

/* Fills in `error` for the failure of an item, with the server's reason for this item. */
static void many_explain(const struct many_part *part, unsigned number, enum stayd_status status,
                         struct stayd_error *error) {
    if (error == NULL) {
        return;
    }
    if (stayd_failed(part->call.status)) {
        *error = part->error;
        return;
    }
    const struct explain explain = {.what = EXPLAIN_STATUS,
                                    .status = status,
                                    .server = part->call.server,
                                    .number = number,
                                    .request = &part->request,
                                    .reason = part->request.said};
    explain_write(&explain, error);
}

/* Sets the status of all items, because nothing was sent. */
static enum stayd_status many_refuse(const struct request *request, struct stayd_item *items,
                                     size_t count, enum stayd_status status) {
    for (size_t i = 0; i < count; i++) {
        if (!many_is_done(request, &items[i])) {
            items[i].status = status;
        }
    }
    return status;
}

static enum stayd_status many_check(const struct request *request, const struct stayd_item *items,
                                    size_t count, struct stayd_error *error) {
    enum stayd_status status = STAYD_OK;
    for (size_t i = 0; i < count && status == STAYD_OK; i++) {
        status = client_check_key(items[i].key, items[i].key_size, error);
        if (status == STAYD_OK && request->verb == VERB_SET_MANY) {
            status = client_check_value(items[i].value.size, error);
        }
    }
    return status;
}

/* Sends every part's request. False if `interrupted` has ended a wait: the later parts are not
 * sent. */
static bool many_send(struct many *many, struct stayd *client) {
    uint64_t began_ms = clock_exact_ms();
    bool is_interrupted = false;
    for (unsigned i = 0; i < many->part_count; i++) {
        struct many_part *part = &many->parts[i];
        if (part->request.count == 1 && part->request.kind == REQUEST_BATCH) {
            part->request.kind = REQUEST_ONCE;
        }
        call_begin(&part->call, client, part->call.server, &part->request, began_ms, &part->error);
        if (is_interrupted) {
            call_interrupt(&part->call);
        } else {
            part->is_sent = call_send(&part->call);
            is_interrupted = !part->is_sent && part->call.status == STAYD_INTERRUPTED;
        }
    }
    return !is_interrupted;
}

/* Receives the replies to what was sent, or, if `goes_on` is false, ends those calls. Returns the
 * first failure. */
static enum stayd_status many_receive(struct many *many, const struct stayd *client, bool goes_on,
                                      struct stayd_error *error) {
    enum stayd_status result = STAYD_OK;
    for (unsigned i = 0; i < many->part_count; i++) {
        struct many_part *part = &many->parts[i];
        if (part->is_sent && goes_on) {
            goes_on = call_receive(&part->call) != STAYD_INTERRUPTED;
        } else if (part->is_sent) {
            call_interrupt(&part->call);
        }
        enum stayd_status status = many_end_part(part);
        if (stayd_failed(status) && result == STAYD_OK) {
            result = status;
            many_explain(part, client_server_number(client, part->call.server), status, error);
        }
    }
    return result;
}

static enum stayd_status many_run(struct stayd *client, const struct request *request,
                                  struct stayd_item *items, size_t count,
                                  struct stayd_error *error) {
    struct many many;
    client_enter(client);
    enum stayd_status status = many_check(request, items, count, error);
    if (status != STAYD_OK) {
        return many_refuse(request, items, count, status);
    }
    if (count == 0) {
        return STAYD_OK;
    }
    if (many_init(&many, client, request, items, count)) {
        bool goes_on = many_send(&many, client);
        status = many_receive(&many, client, goes_on, error);
    } else {
        client_refuse(error, STAYD_NO_MEMORY, "this process has no memory for %zu keys", count);
        status = many_refuse(request, items, count, STAYD_NO_MEMORY);
    }
    many_finish(&many);
    return status;
}

enum stayd_status stayd_get_many(struct stayd *client, struct stayd_item *items, size_t count,
                                 struct stayd_error *error) {
    const struct request request = {.verb = VERB_GET_MANY, .kind = REQUEST_HARMLESS};
    for (size_t i = 0; i < count; i++) {
        items[i].status =
            stayd_get_mapped(client, items[i].key, items[i].key_size, &items[i].value);
    }
    enum stayd_status status = many_run(client, &request, items, count, error);
    for (size_t i = 0; i < count; i++) {
        if (items[i].status != STAYD_OK) {
            items[i].value.size = 0; /* a value may have arrived in part */
        }
    }
    return status;
}

enum stayd_status stayd_set_many(struct stayd *client, struct stayd_item *items, size_t count,
                                 int64_t ttl_s, struct stayd_error *error) {
    const struct request request = {.verb = VERB_SET_MANY, .kind = REQUEST_BATCH, .ttl_s = ttl_s};
    return many_run(client, &request, items, count, error);
}

enum stayd_status stayd_delete_many(struct stayd *client, struct stayd_item *items, size_t count,
                                    struct stayd_error *error) {
    const struct request request = {.verb = VERB_DELETE_MANY, .kind = REQUEST_BATCH};
    return many_run(client, &request, items, count, error);
}
