#include "proto/value.h"

#include "proto/binary_reply.h"
#include "proto/reply.h"

bool value_fits(const struct request *request, struct bytes key, uint32_t length) {
    return (uint64_t)key.size + length <= request->connection->item_max_bytes;
}

void value_note_too_large(struct request *request, struct bytes key, uint32_t length,
                          enum event_command command) {
    pool_count(request->pool, request->thread, POOL_STORE_TOO_LARGE);
    event_refuse_store(request->connection, key, command, length);
}

enum request_end value_refuse(struct request *request, const char *reply, uint32_t length) {
    reply_text(request, reply);
    if (length == VALUE_LENGTH_UNKNOWN) {
        return REQUEST_CLOSES;
    }
    request->progress->skip_bytes = (uint64_t)length + 2;
    return REQUEST_DONE;
}

enum value_state value_take(struct request *request, uint32_t length, struct bytes *value) {
    size_t needed = (size_t)length + 2;
    if ((size_t)(request->end - request->next) < needed) {
        request->wanted = (size_t)(request->next - request->start) + needed;
        return VALUE_WAITS;
    }
    *value = bytes_from(request->next, length);
    request->next += needed;
    bool ended = value->data[length] == '\r' && value->data[length + 1] == '\n';
    return ended ? VALUE_WHOLE : VALUE_BAD;
}

enum request_end value_refuse_behind(struct request *request, uint32_t length) {
    request->progress->refusal.is_due = !request->noreply;
    request->progress->skip_bytes = (uint64_t)length + 2;
    return REQUEST_DONE;
}

enum request_end value_skip(struct request *request) {
    struct proto_progress *progress = request->progress;
    size_t available = (size_t)(request->end - request->start);
    size_t skipped = available < progress->skip_bytes ? available : (size_t)progress->skip_bytes;
    progress->skip_bytes -= skipped;
    request->next = request->start + skipped;
    if (progress->skip_bytes == 0 && progress->refusal.is_due) {
        progress->refusal.is_due = false;
        if (progress->protocol == PROTO_BINARY) {
            binary_reply_refusal(request);
        } else {
            reply_text(request, REPLY_TOO_LARGE);
        }
    }
    return REQUEST_DONE;
}

enum status value_drop_old(struct request *request, struct bytes key) {
    static const struct pool_delete replaced = {.uncounted = true};
    return request->connection->evict ? pool_delete(request->pool, request->thread, key, &replaced)
                                      : STATUS_OK;
}
