#include "proto/event.h"

#include "proto/prefixes.h"
#include "store/scan.h"

void event_note_get(struct proto_connection *connection, struct bytes key,
                    const struct item *item) {
    struct proto_service *service = connection->service;
    if (event_wanted(service, EVENT_PREFIXES)) {
        prefixes_count_get(service->prefixes, key, item != NULL);
    }
}

enum status event_store(struct proto_connection *connection, struct store_thread *thread,
                        struct bytes key, const struct pool_store *store,
                        enum event_command command, struct item *result) {
    (void)command;
    struct proto_service *service = connection->service;
    enum status status = pool_store(connection->pool, thread, key, store, result);
    if (event_wanted(service, EVENT_PREFIXES)) {
        prefixes_count(service->prefixes, key, PREFIX_SETS);
    }
    return status;
}

enum status event_delete(struct proto_connection *connection, struct store_thread *thread,
                         struct bytes key, const struct pool_delete *delete, bool meta) {
    (void)meta;
    struct proto_service *service = connection->service;
    enum status status = pool_delete(connection->pool, thread, key, delete);
    if (event_wanted(service, EVENT_PREFIXES)) {
        prefixes_count(service->prefixes, key, PREFIX_DELETES);
    }
    return status;
}

void event_note_change(struct proto_connection *connection, struct store_thread *thread,
                       struct bytes key, enum status status) {
    struct pool_scanned scanned;
    bool found = status != STATUS_NOT_FOUND &&
                 pool_peek(connection->pool, thread, key, &scanned) == STATUS_OK;
    event_note_get(connection, key, found ? &scanned.item : NULL);
}
