#include "proto/binary_stats.h"

#include "proto/binary_reply.h"
#include "proto/event.h"
#include "proto/operator.h"
#include "proto/prefixes.h"
#include "proto/stats.h"
#include "proto/totals.h"

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

/* For reset, settings and detail memcached compares only the beginning of the key; for other groups
 * it compares the whole key. */
static bool binary_key_begins_with(const struct binary_request *binary, const char *front) {
    size_t size = strlen(front);
    return binary->key.size >= size && memcmp(binary->key.data, front, size) == 0;
}

static struct bytes binary_buffer_bytes(const struct buffer *buffer) {
    return bytes_from(buffer->data, buffer->size);
}

/* detail on|off|dump. The dump is one pair whose value contains the lines of the text protocol. */
static bool binary_stats_detail(struct binary_request *binary, struct stats_sink *sink) {
    struct proto_service *service = binary->request->connection->service;
    if (binary_key_begins_with(binary, "detail on") ||
        binary_key_begins_with(binary, "detail off")) {
        event_want(service, EVENT_PREFIXES, binary_key_begins_with(binary, "detail on"));
        return true;
    }
    if (!binary_key_begins_with(binary, "detail dump")) {
        return false;
    }
    struct buffer dump = {0};
    if (prefixes_dump(service->prefixes, &dump) && buffer_append_string(&dump, "END\r\n")) {
        stats_put_bytes(sink, bytes_from_string("detailed"), binary_buffer_bytes(&dump));
    } else {
        sink->failed = true;
    }
    buffer_finish(&dump);
    return true;
}

/* Lists the group that the key names. False: there is no such group. */
static bool binary_stats_put(struct binary_request *binary, struct stats_sink *sink) {
    const struct request *request = binary->request;
    struct proto_service *service = request->connection->service;
    struct stats_listing listing = {request->connection, request->thread, sink};
    if (binary_key_begins_with(binary, "reset")) {
        totals_reset(service);
        return true;
    }
    if (binary_key_begins_with(binary, "settings")) {
        return stats_list(&listing, bytes_from_string("settings"));
    }
    if (binary_key_begins_with(binary, "detail")) {
        return binary_stats_detail(binary, sink);
    }
    bool enable = bytes_equal(binary->key, bytes_from_string("sizes_enable"));
    if (enable || bytes_equal(binary->key, bytes_from_string("sizes_disable"))) {
        atomic_store(&service->sizes_tracked, enable);
        stats_put(sink, "sizes_status", enable ? "enabled" : "disabled");
        return true;
    }
    return stats_list(&listing, binary->key);
}

enum request_end binary_stats_run(struct binary_request *binary) {
    struct stats_sink sink = {
        .write = binary_write_stat,
        .replies = binary->request->replies,
        .opaque = binary->header.opaque,
    };
    bool is_operators = binary_key_begins_with(binary, "detail") ||
                        bytes_equal(binary->key, bytes_from_string("conns"));
    bool is_detail = binary_key_begins_with(binary, "detail");
    if (is_detail && binary->request->connection->service->server->rights.dump_disabled) {
        binary_reply_error(binary, BINARY_AUTH_ERROR); /* prefixes are parts of keys */
        return REQUEST_DONE;
    }
    if (is_operators && !operator_allows(binary->request->connection, OPERATOR_POOL)) {
        binary_reply_error(binary, BINARY_AUTH_ERROR);
        return REQUEST_DONE;
    }
    store_thread_charge(binary->request->thread, STORE_OVERVIEW_BYTES);
    if (!binary_stats_put(binary, &sink)) {
        binary_reply_error(binary, BINARY_NOT_FOUND);
        return REQUEST_DONE;
    }
    if (sink.failed) {
        return REQUEST_CLOSES;
    }
    binary_reply_ok(binary, 0);
    return REQUEST_DONE;
}
