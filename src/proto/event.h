/* What clients do with items, for those who want to know: `stats detail` and `watch`. Nobody does
 * as a rule, and then it costs one relaxed load a key. Any thread. */
#ifndef STAYD_PROTO_EVENT_H
#define STAYD_PROTO_EVENT_H

#include "proto/proto.h"
#include "store/scan.h"

/* Bits of proto_service.observed. */
enum event_kind {
    EVENT_PREFIXES = 1 << 0, /* stats detail on */
    EVENT_FETCHERS = 1 << 1, /* the others: somebody watches these */
    EVENT_MUTATIONS = 1 << 2,
    EVENT_EVICTIONS = 1 << 3,
    EVENT_CONNECTIONS = 1 << 4,
    EVENT_DELETIONS = 1 << 5,
};

static inline bool event_wanted(const struct proto_service *service, unsigned kinds) {
    /* relaxed: who begins to watch sees what happens soon afterwards */
    return (atomic_load_explicit(&service->observed, memory_order_relaxed) & kinds) != 0;
}

/* From now on somebody wants to know of these; or nobody does. */
static inline void event_want(struct proto_service *service, unsigned kinds, bool wanted) {
    if (wanted) {
        atomic_fetch_or(&service->observed, kinds);
    } else {
        atomic_fetch_and(&service->observed, ~kinds);
    }
}

enum event_command { EVENT_ADD, EVENT_SET, EVENT_REPLACE, EVENT_APPEND, EVENT_PREPEND, EVENT_CAS };

/* A get that somebody wants to know of. */
void event_note_get(struct proto_connection *connection, struct bytes key, const struct item *item);

/* A key was looked up; `item` NULL: it was not there. */
static inline void event_get(struct proto_connection *connection, struct bytes key,
                             const struct item *item) {
    if (event_wanted(connection->service, EVENT_PREFIXES | EVENT_FETCHERS)) {
        event_note_get(connection, key, item);
    }
}

/* An item was looked up to be changed: told as a get; if it was not there and the command has made
 * it (`created`), as an add too. */
void event_note_change(struct proto_connection *connection, struct store_thread *thread,
                       struct bytes key, enum status status, bool created);

static inline void event_change(struct proto_connection *connection, struct store_thread *thread,
                                struct bytes key, enum status status, bool created) {
    if (event_wanted(connection->service, EVENT_FETCHERS | EVENT_MUTATIONS)) {
        event_note_change(connection, thread, key, status, created);
    }
}

void event_note_store(struct proto_connection *connection, const struct store_thread *thread,
                      struct bytes key, const struct pool_store *store, enum event_command command,
                      enum status status, const struct item *stored);

static inline bool event_wants_stores(const struct proto_connection *connection) {
    return event_wanted(connection->service, EVENT_PREFIXES | EVENT_MUTATIONS);
}

/* Behind pool_store: the command `command` has ended with `status`. `stored`: the item, after
 * STATUS_OK; it may be NULL unless event_wants_stores. */
static inline void event_store(struct proto_connection *connection,
                               const struct store_thread *thread, struct bytes key,
                               const struct pool_store *store, enum event_command command,
                               enum status status, const struct item *stored) {
    if (event_wants_stores(connection)) {
        event_note_store(connection, thread, key, store, command, status, stored);
    }
}

/* A value of so many bytes is not even read, because no item may be so large: told as a store. */
void event_refuse_store(struct proto_connection *connection, struct bytes key,
                        enum event_command command, size_t size);

/* What is told of an item that is deleted: it can be looked up only before that. */
struct event_deletion {
    size_t value_bytes;
    unsigned class_number; /* memcached's; 0: there was no item */
};

static inline bool event_wants_deletes(const struct proto_connection *connection) {
    return event_wanted(connection->service, EVENT_PREFIXES | EVENT_DELETIONS);
}

/* Before pool_delete, if event_wants_deletes. */
void event_look_before_delete(struct proto_connection *connection, struct store_thread *thread,
                              struct bytes key, struct event_deletion *deletion);

/* Behind pool_delete: it has ended with `status`. `meta`: the command is md. */
void event_note_delete(struct proto_connection *connection, struct bytes key,
                       const struct pool_delete *delete, bool meta, enum status status,
                       const struct event_deletion *deletion);

/* What a service tells its pool to call (scan.h). */
pool_eviction_notify event_eviction;

/* A connection has come or, with a reason, has ended. `address` of the client, as in proto_peer. To
 * be called when event_wanted(service, EVENT_CONNECTIONS); any thread. */
void event_note_connection(struct proto_service *service, int fd, const char *address,
                           const char *reason);

#endif
