#include "proto/binary_retrieval.h"

#include "proto/binary_reply.h"
#include "proto/event.h"
#include "proto/expiry.h"

/* A hit: quiet opcodes answer it too. False: no memory for the reply. */
static bool binary_reply_item(struct binary_request *binary, const struct item *item) {
    struct buffer *replies = binary->request->replies;
    bool with_key = (binary->variant & BINARY_RETRIEVAL_KEY) != 0;
    bool with_value = (binary->variant & BINARY_RETRIEVAL_NO_VALUE) == 0;
    const struct binary_response response = {
        .opcode = binary->header.opcode,
        .extras_size = sizeof item->client_flags,
        .key_size = (uint16_t)(with_key ? binary->key.size : 0),
        .value_size = with_value ? (uint32_t)item->value.size : 0,
        .opaque = binary->header.opaque,
        .cas = item->cas,
    };
    if (!reply_reserve(replies, BINARY_HEADER_BYTES + response.extras_size +
                                    (size_t)response.key_size + response.value_size)) {
        return false;
    }
    uint32_t client_flags = htobe32(item->client_flags);
    char *at = binary_put_header(replies->data + replies->size, &response);
    at = reply_put(at, &client_flags, sizeof client_flags);
    at = reply_put(at, binary->key.data, response.key_size);
    if (response.value_size > 0) {
        at = reply_put(at, item->value.data, response.value_size);
    }
    replies->size = (size_t)(at - replies->data);
    return true;
}

/* The opcodes with the key (BINARY_RETRIEVAL_KEY) write the key in place of an error text. */
static void binary_reply_miss(struct binary_request *binary) {
    if (binary->quiet) {
        return;
    }
    if ((binary->variant & BINARY_RETRIEVAL_KEY) == 0) {
        binary_reply_error(binary, BINARY_NOT_FOUND);
        return;
    }
    struct buffer *replies = binary->request->replies;
    const struct binary_response response = {
        .opcode = binary->header.opcode,
        .key_size = (uint16_t)binary->key.size,
        .status = BINARY_NOT_FOUND,
        .opaque = binary->header.opaque,
    };
    char *at = binary_put_header(replies->data + replies->size, &response);
    at = reply_put(at, binary->key.data, binary->key.size);
    replies->size = (size_t)(at - replies->data);
}

enum request_end binary_retrieval_run(struct binary_request *binary) {
    const struct request *request = binary->request;
    struct pool_fetched fetched;
    enum status status;
    if ((binary->variant & BINARY_RETRIEVAL_TOUCH) != 0) {
        struct pool_fetch fetch = {
            .touch = true,
            .touch_expiry_s =
                expiry_of_exptime(binary_read_u32(binary->extras), request->thread->now_s),
        };
        status = pool_fetch(request->pool, request->thread, binary->key, &fetch, &fetched);
    } else {
        status = pool_get(request->pool, request->thread, binary->key, &fetched.item);
    }
    if (status == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    event_get(request->connection, binary->key, status == STATUS_OK ? &fetched.item : NULL);
    switch (status) {
    case STATUS_OK:
        return binary_reply_item(binary, &fetched.item) ? REQUEST_DONE : REQUEST_CLOSES;
    case STATUS_NOT_FOUND:
        binary_reply_miss(binary);
        return REQUEST_DONE;
    default:
        binary_reply_error(binary, binary_status_of(status));
        return REQUEST_DONE;
    }
}
