#include "proto/binary_reply.h"

static void binary_put_reply(struct binary_request *binary, enum binary_status status,
                             struct bytes value, uint64_t cas) {
    struct buffer *replies = binary->request->replies;
    const struct binary_response response = {
        .opcode = binary->header.opcode,
        .status = (uint16_t)status,
        .value_size = (uint32_t)value.size,
        .opaque = binary->header.opaque,
        .cas = cas,
    };
    assert(replies->capacity - replies->size >= BINARY_HEADER_BYTES + value.size);
    char *at = binary_put_header(replies->data + replies->size, &response);
    if (value.size > 0) {
        at = reply_put(at, value.data, value.size);
    }
    replies->size = (size_t)(at - replies->data);
}

void binary_reply(struct binary_request *binary, struct bytes value, uint64_t cas) {
    binary_put_reply(binary, BINARY_OK, value, cas);
}

void binary_reply_ok(struct binary_request *binary, uint64_t cas) {
    if (!binary->quiet) {
        binary_put_reply(binary, BINARY_OK, bytes_from(NULL, 0), cas);
    }
}

static const char *binary_text_of(enum binary_status status) {
    switch (status) {
    case BINARY_OK:
    case BINARY_AUTH_CONTINUE:
        break;
    case BINARY_NOT_FOUND:
        return "Not found";
    case BINARY_EXISTS:
        return "Data exists for key.";
    case BINARY_TOO_LARGE:
        return "Too large.";
    case BINARY_INVALID:
        return "Invalid arguments";
    case BINARY_NOT_STORED:
        return "Not stored.";
    case BINARY_NON_NUMERIC:
        return "Non-numeric server-side value for incr or decr";
    case BINARY_AUTH_ERROR:
        return "Auth failure.";
    case BINARY_UNKNOWN_COMMAND:
        return "Unknown command";
    case BINARY_NO_MEMORY:
        return "Out of memory";
    case BINARY_INTERNAL_ERROR:
        return "Pool is read-only"; /* stayd's own text; no other failure has this status */
    case BINARY_TEMPORARY_FAILURE:
        return "No room for the index in run_dir"; /* stayd's own text too */
    }
    return "";
}

void binary_reply_error(struct binary_request *binary, enum binary_status status) {
    binary_put_reply(binary, status, bytes_from_string(binary_text_of(status)), 0);
}

enum binary_status binary_status_of(enum status status) {
    switch (status) {
    case STATUS_OK:
        return BINARY_OK;
    case STATUS_NOT_FOUND:
        return BINARY_NOT_FOUND;
    case STATUS_EXISTS:
        return BINARY_EXISTS;
    case STATUS_NOT_STORED:
        return BINARY_NOT_STORED;
    case STATUS_TOO_LARGE:
        return BINARY_TOO_LARGE;
    case STATUS_NON_NUMERIC:
        return BINARY_NON_NUMERIC;
    case STATUS_READ_ONLY:
        return BINARY_INTERNAL_ERROR;
    case STATUS_INDEX_FULL:
    case STATUS_UNAVAILABLE:
        return BINARY_TEMPORARY_FAILURE;
    case STATUS_UNSUPPORTED:
        return BINARY_INVALID;
    default:
        return BINARY_NO_MEMORY;
    }
}

enum request_end binary_finish(struct binary_request *binary, enum status status, uint64_t cas) {
    if (status == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    if (status == STATUS_OK) {
        binary_reply_ok(binary, cas);
    } else {
        binary_reply_error(binary, binary_status_of(status));
    }
    return REQUEST_DONE;
}

void binary_reply_behind_value(struct binary_request *binary, enum binary_status status) {
    binary->request->progress->refusal = (struct proto_refusal){
        .is_due = true,
        .status = (uint16_t)status,
        .opcode = binary->header.opcode,
        .opaque = binary->header.opaque,
    };
}

void binary_reply_refusal(struct request *request) {
    const struct proto_refusal *refusal = &request->progress->refusal;
    struct binary_request binary = {
        .request = request,
        .header = {.opcode = refusal->opcode, .opaque = refusal->opaque},
    };
    binary_reply_error(&binary, (enum binary_status)refusal->status);
}
