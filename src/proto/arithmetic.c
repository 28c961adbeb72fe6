#include "proto/arithmetic.h"

#include "proto/event.h"
#include "proto/reply.h"

static void arithmetic_reply(struct request *request, enum status status, uint64_t number) {
    switch (status) {
    case STATUS_OK:
        if (!request->noreply) {
            struct buffer *replies = request->replies;
            char *at = reply_put_number(replies->data + replies->size, number);
            at = reply_put_text(at, "\r\n");
            replies->size = (size_t)(at - replies->data);
        }
        break;
    case STATUS_NOT_FOUND:
        reply_text(request, REPLY_NOT_FOUND);
        break;
    default:
        reply_text(request, reply_of_failed_arithmetic(status));
        break;
    }
}

enum request_end arithmetic_run(struct request *request, unsigned variant) {
    struct bytes key;
    struct bytes delta;
    enum line_key kind = line_next_key(&request->line, &key);
    if (!line_next(&request->line, &delta)) {
        reply_text(request, REPLY_BAD_LINE);
        return REQUEST_DONE;
    }
    request_read_noreply(request, delta);
    if (kind == LINE_KEY_BAD) {
        reply_text(request, REPLY_BAD_LINE);
        return REQUEST_DONE;
    }
    struct pool_arithmetic arithmetic = {.decrement = variant == ARITHMETIC_DECREMENT};
    if (!word_u64(delta, &arithmetic.delta)) {
        reply_text(request, "CLIENT_ERROR invalid numeric delta argument\r\n");
        return REQUEST_DONE;
    }
    uint64_t number = 0;
    enum status status =
        pool_arithmetic(request->pool, request->thread, key, &arithmetic, &number, NULL);
    if (status == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    event_change(request->connection, request->thread, key, status, false);
    arithmetic_reply(request, status, number);
    return REQUEST_DONE;
}
