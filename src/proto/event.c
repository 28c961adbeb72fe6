#include "proto/event.h"

#include "proto/prefixes.h"
#include "proto/uri.h"
#include "proto/watch.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* memcached's number of the item's class; 0: no item or no class. */
static unsigned event_class(const struct proto_connection *connection, const struct item *item) {
    if (item == NULL) {
        return 0;
    }
    unsigned class = pool_get_item_class(connection->pool, item);
    return class < POOL_TTL_CLASSES ? class + 1 : 0;
}

struct event_key {
    char text[URI_KEY_MAX + 1];
};

static const char *event_encode(struct event_key *encoded, struct bytes key) {
    *uri_put(encoded->text, key) = 0;
    return encoded->text;
}

__attribute__((format(printf, 3, 4))) static void
event_tell(struct proto_service *service, unsigned kind, const char *format, ...) {
    char line[WATCH_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (size > 0 && (size_t)size < sizeof line) {
        watch_tell(service, kind, bytes_from(line, (size_t)size));
    }
}

static void event_tell_get(struct proto_connection *connection, struct bytes key,
                           const struct item *item) {
    struct event_key encoded;
    event_tell(connection->service, EVENT_FETCHERS,
               "type=item_get key=%s status=%s clsid=%u cfd=%d size=%zu",
               event_encode(&encoded, key), item != NULL ? "found" : "not_found",
               event_class(connection, item), connection->fd, item != NULL ? item->value.size : 0);
}

void event_note_get(struct proto_connection *connection, struct bytes key,
                    const struct item *item) {
    struct proto_service *service = connection->service;
    if (event_wanted(service, EVENT_PREFIXES)) {
        prefixes_count_get(service->prefixes, key, item != NULL);
    }
    if (event_wanted(service, EVENT_FETCHERS)) {
        event_tell_get(connection, key, item);
    }
}

static const char *event_status(enum status status, enum event_command command) {
    bool joins = command == EVENT_APPEND || command == EVENT_PREPEND;
    switch (status) {
    case STATUS_OK:
        return "stored";
    case STATUS_EXISTS:
        return "exists";
    case STATUS_NOT_FOUND:
        return "not_found";
    case STATUS_TOO_LARGE:
        return joins ? "not_stored" : "too_large"; /* the reply says the same */
    case STATUS_NO_MEMORY:
    case STATUS_INDEX_FULL:
        return "no_memory";
    default:
        return "not_stored";
    }
}

static void event_tell_store(struct proto_connection *connection, struct bytes key,
                             enum event_command command, const char *status,
                             const struct pool_store *store, const struct item *stored,
                             uint32_t now_s) {
    static const char *const commands[] = {
        [EVENT_ADD] = "add",       [EVENT_SET] = "set",         [EVENT_REPLACE] = "replace",
        [EVENT_APPEND] = "append", [EVENT_PREPEND] = "prepend", [EVENT_CAS] = "cas",
    };
    struct event_key encoded;
    uint32_t expiry_s = stored != NULL ? stored->expiry_s : store->expiry_s;
    event_tell(connection->service, EVENT_MUTATIONS,
               "type=item_store key=%s status=%s cmd=%s ttl=%u clsid=%u cfd=%d size=%zu",
               event_encode(&encoded, key), status, commands[command],
               expiry_s > now_s ? expiry_s - now_s : 0, event_class(connection, stored),
               connection->fd, stored != NULL ? stored->value.size : store->value.size);
}

void event_note_change(struct proto_connection *connection, struct store_thread *thread,
                       struct bytes key, enum status status, bool created) {
    const struct proto_service *service = connection->service;
    struct pool_scanned scanned;
    bool found = status != STATUS_NOT_FOUND &&
                 pool_peek(connection->pool, thread, key, &scanned) == STATUS_OK;
    if (event_wanted(service, EVENT_FETCHERS)) {
        event_tell_get(connection, key, found && !created ? &scanned.item : NULL);
    }
    if (found && created && event_wanted(service, EVENT_MUTATIONS)) {
        const struct pool_store store = {.value = scanned.item.value};
        event_tell_store(connection, key, EVENT_ADD, "stored", &store, &scanned.item,
                         thread->now_s);
    }
}

void event_note_store(struct proto_connection *connection, const struct store_thread *thread,
                      struct bytes key, const struct pool_store *store, enum event_command command,
                      enum status status, const struct item *stored) {
    struct proto_service *service = connection->service;
    if (event_wanted(service, EVENT_PREFIXES)) {
        prefixes_count(service->prefixes, key, PREFIX_SETS);
    }
    if (event_wanted(service, EVENT_MUTATIONS)) {
        event_tell_store(connection, key, command, event_status(status, command), store,
                         status == STATUS_OK ? stored : NULL, thread->now_s);
    }
}

void event_refuse_store(struct proto_connection *connection, struct bytes key,
                        enum event_command command, size_t size) {
    struct proto_service *service = connection->service;
    if (event_wanted(service, EVENT_PREFIXES)) {
        prefixes_count(service->prefixes, key, PREFIX_SETS);
    }
    if (event_wanted(service, EVENT_MUTATIONS)) {
        const struct pool_store store = {.value = bytes_from(NULL, size)};
        event_tell_store(connection, key, command, "too_large", &store, NULL, 0);
    }
}

void event_look_before_delete(struct proto_connection *connection, struct store_thread *thread,
                              struct bytes key, struct event_deletion *deletion) {
    struct pool_scanned before = {.ttl_class = POOL_TTL_CLASSES};
    pool_peek(connection->pool, thread, key, &before);
    *deletion = (struct event_deletion){
        .value_bytes = before.item.value.size,
        .class_number = before.ttl_class < POOL_TTL_CLASSES ? before.ttl_class + 1 : 0,
    };
}

void event_note_delete(struct proto_connection *connection, struct bytes key,
                       const struct pool_delete *delete, bool meta, enum status status,
                       const struct event_deletion *deletion) {
    struct proto_service *service = connection->service;
    if (event_wanted(service, EVENT_PREFIXES)) {
        prefixes_count(service->prefixes, key, PREFIX_DELETES);
    }
    bool deleted = status == STATUS_OK && (delete == NULL || !delete->invalidate);
    if (deleted && event_wanted(service, EVENT_DELETIONS)) {
        struct event_key encoded;
        event_tell(service, EVENT_DELETIONS, "type=deleted key=%s cmd=%s clsid=%u size=%zu",
                   event_encode(&encoded, key), meta ? "md" : "delete", deletion->class_number,
                   deletion->value_bytes);
    }
}

void event_eviction(void *context, const struct pool_scanned *evicted, uint32_t now_s) {
    struct proto_service *service = context;
    if (!event_wanted(service, EVENT_EVICTIONS)) {
        return;
    }
    struct event_key encoded;
    const struct item *item = &evicted->item;
    event_tell(service, EVENT_EVICTIONS,
               "type=eviction key=%s fetch=%s ttl=%lld la=%u clsid=%u size=%zu",
               event_encode(&encoded, item->key), item->fetched ? "yes" : "no",
               item->expiry_s == 0 ? -1LL : (long long)item->expiry_s - now_s,
               now_s > item->accessed_s ? now_s - item->accessed_s : 0, evicted->ttl_class + 1,
               item->value.size);
}

/* `address` is tcp:127.0.0.1:4711, tcp6:[::1]:4711 or unix:...; memcached writes no brackets. */
void event_note_connection(struct proto_service *service, int fd, const char *address,
                           const char *reason) {
    bool local = strncmp(address, "tcp", 3) != 0;
    const char *host = local ? "unix" : address + strcspn(address, ":") + 1;
    const char *port = "0";
    size_t size = strlen(host);
    const char *last = local ? NULL : strrchr(host, ':');
    if (last != NULL) {
        port = last + 1;
        size = (size_t)(last - host);
        if (host[0] == '[') {
            host++;
            size -= 2;
        }
    }
    event_tell(service, EVENT_CONNECTIONS, "type=%s rip=%.*s rport=%s transport=%s%s%s cfd=%d",
               reason != NULL ? "conn_close" : "conn_new", (int)size, host, port,
               local ? "local" : "tcp", reason != NULL ? " reason=" : "",
               reason != NULL ? reason : "", fd);
}
