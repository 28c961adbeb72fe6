#include "proto/hold.h"

#include "proto/reply.h"

static void hold_reply(struct request *request, enum status status, uint64_t number) {
    if (status != STATUS_OK) {
        reply_text(request, status == STATUS_INVALID
                                ? "CLIENT_ERROR the pool has no file to copy\r\n"
                                : REPLY_NOT_FOUND);
        return;
    }
    struct buffer *replies = request->replies;
    char *at = reply_put_text(replies->data + replies->size, "HOLD ");
    at = reply_put_text(reply_put_number(at, number), "\r\n");
    replies->size = (size_t)(at - replies->data);
}

/* The number by which the store knows the connection: its descriptor plus 1, because 0 is none. No
 * other connection has the same number before hold_abandon, because the socket is open. */
static uint64_t hold_asker(const struct proto_connection *connection) {
    return (uint64_t)connection->fd + 1;
}

void hold_abandon(const struct proto_connection *connection) {
    if (connection->asked_hold) {
        pool_end_hold_asker(connection->pool, hold_asker(connection));
    }
}

static void hold_begin(struct request *request, uint32_t lease_ms) {
    uint64_t number = 0;
    uint64_t asker = hold_asker(request->connection);
    request->connection->asked_hold = true;
    enum status status = pool_hold(request->pool, asker, lease_ms, &number);
    if (status == STATUS_BUSY) {
        reply_text(request, "BUSY\r\n");
    } else {
        hold_reply(request, status, number);
    }
}

enum request_end hold_run(struct request *request, unsigned variant) {
    (void)variant;
    struct bytes words[3];
    size_t count = 0;
    while (count < 3 && line_next(&request->line, &words[count])) {
        count++;
    }
    uint64_t lease_s;
    uint64_t number = 0;
    bool valid = count >= 1 && count <= 2 && word_u64(words[0], &lease_s) &&
                 lease_s <= HOLD_LEASE_MAX_S && (count == 1 || word_u64(words[1], &number)) &&
                 (lease_s > 0 || count == 2);
    if (!valid) {
        reply_text(request, REPLY_BAD_LINE);
        return REQUEST_DONE;
    }
    uint32_t lease_ms = (uint32_t)lease_s * 1000;
    if (count == 1) {
        hold_begin(request, lease_ms);
        return REQUEST_DONE;
    }
    enum status status = pool_extend_hold(request->pool, number, lease_ms);
    if (status == STATUS_OK && lease_ms == 0) {
        reply_text(request, "OK\r\n");
    } else {
        hold_reply(request, status, number);
    }
    return REQUEST_DONE;
}
