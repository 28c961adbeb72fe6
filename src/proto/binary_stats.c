#include "proto/binary_stats.h"

#include "proto/binary_reply.h"
#include "proto/stats.h"

static void binary_write_stat(struct stats_sink *sink, struct bytes name, struct bytes value) {
    struct buffer *replies = sink->replies;
    const struct binary_response response = {
        .opcode = BINARY_STAT,
        .key_size = (uint16_t)name.size,
        .value_size = (uint32_t)value.size,
        .opaque = sink->opaque,
    };
    assert(name.size <= UINT16_MAX);
    if (!reply_reserve(replies, BINARY_HEADER_BYTES + name.size + value.size)) {
        sink->failed = true;
        return;
    }
    char *at = binary_put_header(replies->data + replies->size, &response);
    at = reply_put(at, name.data, name.size);
    if (value.size > 0) {
        at = reply_put(at, value.data, value.size);
    }
    replies->size = (size_t)(at - replies->data);
}

/* memcached looks at the front alone for these, and at the whole key for other groups. */
static bool binary_key_begins_with(const struct binary_request *binary, const char *front) {
    size_t size = strlen(front);
    return binary->key.size >= size && memcmp(binary->key.data, front, size) == 0;
}

enum request_end binary_stats_run(struct binary_request *binary) {
    const struct request *request = binary->request;
    struct stats_sink sink = {
        .write = binary_write_stat,
        .replies = request->replies,
        .opaque = binary->header.opaque,
    };
    struct stats_listing listing = {request->connection, request->thread, &sink};
    struct bytes group = binary->key;
    if (binary_key_begins_with(binary, "reset")) {
        pool_reset_counters(request->pool);
        binary_reply_ok(binary, 0);
        return REQUEST_DONE;
    }
    if (binary_key_begins_with(binary, "settings")) {
        group = bytes_from_string("settings");
    }
    if (!stats_list(&listing, group)) {
        binary_reply_error(binary, BINARY_NOT_FOUND);
        return REQUEST_DONE;
    }
    if (sink.failed) {
        return REQUEST_CLOSES;
    }
    binary_reply_ok(binary, 0);
    return REQUEST_DONE;
}
