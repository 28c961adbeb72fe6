#include "proto/binary_storage.h"

#include "proto/binary_reply.h"
#include "proto/expiry.h"
#include "proto/value.h"

static enum request_end binary_refuse_value(struct binary_request *binary,
                                            enum event_command command) {
    if (binary->variant == POOL_SET &&
        value_drop_old(binary->request, binary->key) == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    value_note_too_large(binary->request, binary->key, binary->value_size, command);
    binary->request->progress->skip_bytes = binary->value_size;
    if (binary->value_size > VALUE_BYTES_MAX || binary->value_size == 0) {
        /* there is no value, or memcached does not wait for one of this size */
        binary_reply_error(binary, BINARY_TOO_LARGE);
    } else {
        binary_reply_behind_value(binary, BINARY_TOO_LARGE);
    }
    return REQUEST_DONE;
}

/* The status of a store that failed. Unlike the text protocol, it says whether the key existed. */
static enum binary_status binary_storage_status(enum status status, enum pool_store_mode mode) {
    bool joins = mode == POOL_APPEND || mode == POOL_PREPEND;
    if (joins && status == STATUS_TOO_LARGE) { /* the joined value is too large; as in text */
        return BINARY_NOT_STORED;
    }
    if (status == STATUS_NOT_STORED && !joins) {
        return mode == POOL_ADD ? BINARY_EXISTS : BINARY_NOT_FOUND;
    }
    return binary_status_of(status);
}

/* The command's name for watchers. */
static enum event_command binary_event_of(enum pool_store_mode mode, uint64_t cas) {
    static const enum event_command commands[] = {
        [POOL_SET] = EVENT_SET,         [POOL_ADD] = EVENT_ADD,
        [POOL_REPLACE] = EVENT_REPLACE, [POOL_APPEND] = EVENT_APPEND,
        [POOL_PREPEND] = EVENT_PREPEND,
    };
    bool joins = mode == POOL_APPEND || mode == POOL_PREPEND;
    return cas != 0 && !joins ? EVENT_CAS : commands[mode];
}

enum request_end binary_storage_run(struct binary_request *binary) {
    struct request *request = binary->request;
    enum pool_store_mode mode = binary->variant;
    enum event_command command = binary_event_of(mode, binary->header.cas);
    if (!value_fits(request, binary->key, binary->value_size)) {
        return binary_refuse_value(binary, command);
    }
    if ((size_t)(request->end - request->next) < binary->value_size) {
        request->wanted = (size_t)(request->next - request->start) + binary->value_size;
        return REQUEST_WAITS;
    }
    struct pool_store store = {
        .mode = mode,
        .value = bytes_from(request->next, binary->value_size),
        .compare_cas = binary->header.cas != 0,
        .cas = binary->header.cas,
    };
    request->next += binary->value_size;
    if (mode != POOL_APPEND && mode != POOL_PREPEND) {
        store.client_flags = binary_read_u32(binary->extras);
        store.expiry_s =
            expiry_of_exptime(binary_read_u32(binary->extras + 4), request->thread->now_s);
        if (store.compare_cas) {
            store.mode = POOL_SET; /* memcached: a CAS turns add and replace into cas */
        }
    }
    struct item item;
    enum status status = pool_store(request->pool, request->thread, binary->key, &store, &item);
    if (status == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    event_store(request->connection, request->thread, binary->key, &store, command, status, &item);
    if (status == STATUS_OK) {
        binary_reply_ok(binary, item.cas);
        return REQUEST_DONE;
    }
    if (mode == POOL_SET && (status == STATUS_TOO_LARGE || status == STATUS_NO_MEMORY)) {
        value_drop_old(request, binary->key);
    }
    binary_reply_error(binary, binary_storage_status(status, mode));
    return REQUEST_DONE;
}
