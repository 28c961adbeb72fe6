/* Reports what clients do with items, for `stats detail` and `watch`. While neither is in use, this
 * costs one relaxed load per key. Any thread may call. */
#ifndef STAYD_PROTO_EVENT_H
#define STAYD_PROTO_EVENT_H

#include "proto/proto.h"
#include "store/scan.h"

/* Bits of proto_service.observed. */
enum event_kind {
    EVENT_PREFIXES = 1 << 0, /* stats detail on */
    EVENT_FETCHERS = 1 << 1, /* this bit and those below: some client watches the kind */
    EVENT_MUTATIONS = 1 << 2,
    EVENT_EVICTIONS = 1 << 3,
    EVENT_CONNECTIONS = 1 << 4,
    EVENT_DELETIONS = 1 << 5,
};

static inline bool event_wanted(const struct proto_service *service, unsigned kinds) {
    /* relaxed: a new watcher may miss the events of its first moment */
    return (atomic_load_explicit(&service->observed, memory_order_relaxed) & kinds) != 0;
}

/* Enables or disables these kinds of events. */
static inline void event_want(struct proto_service *service, unsigned kinds, bool wanted) {
    if (wanted) {
        atomic_fetch_or(&service->observed, kinds);
    } else {
        atomic_fetch_and(&service->observed, ~kinds);
    }
}

enum event_command { EVENT_ADD, EVENT_SET, EVENT_REPLACE, EVENT_APPEND, EVENT_PREPEND, EVENT_CAS };

/* Reports a get. Called if EVENT_PREFIXES or EVENT_FETCHERS is wanted. */
void event_note_get(struct proto_connection *connection, struct bytes key, const struct item *item);

/* A key was looked up; `item` is NULL if it was not found. */
static inline void event_get(struct proto_connection *connection, struct bytes key,
                             const struct item *item) {
    if (event_wanted(connection->service, EVENT_PREFIXES | EVENT_FETCHERS)) {
        event_note_get(connection, key, item);
    }
}

/* Reports a look-up of an item that the command changes: as a get and, if the command created the
 * item (`created`), as an add. */
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

/* Call after pool_store: the command `command` has ended with `status`. `stored` is the item after
 * STATUS_OK; it may be NULL unless event_wants_stores. */
static inline void event_store(struct proto_connection *connection,
                               const struct store_thread *thread, struct bytes key,
                               const struct pool_store *store, enum event_command command,
                               enum status status, const struct item *stored) {
    if (event_wants_stores(connection)) {
        event_note_store(connection, thread, key, store, command, status, stored);
    }
}

/* Reports a store that was refused because no item may have `size` bytes. */
void event_refuse_store(struct proto_connection *connection, struct bytes key,
                        enum event_command command, size_t size);

/* The facts about a deleted item that are reported. They must be read before the deletion. */
struct event_deletion {
    size_t value_bytes;
    unsigned class_number; /* memcached's number; 0: there was no item */
};

static inline bool event_wants_deletes(const struct proto_connection *connection) {
    return event_wanted(connection->service, EVENT_PREFIXES | EVENT_DELETIONS);
}

/* Call before pool_delete, if event_wants_deletes. */
void event_look_before_delete(struct proto_connection *connection, struct store_thread *thread,
                              struct bytes key, struct event_deletion *deletion);

/* Call after pool_delete, which has ended with `status`. `meta`: the command is md. */
void event_note_delete(struct proto_connection *connection, struct bytes key,
                       const struct pool_delete *delete, bool meta, enum status status,
                       const struct event_deletion *deletion);

/* The function that the pool calls for each eviction (scan.h). */
pool_eviction_notify event_eviction;

/* Reports that a connection was opened (`reason` is NULL) or was closed for this reason. `address`
 * is the client's, as in proto_peer. Call if event_wanted(service, EVENT_CONNECTIONS); any thread
 * may call. */
void event_note_connection(struct proto_service *service, int fd, const char *address,
                           const char *reason);

#endif
