#include "proto/lifetime.h"

#include "proto/event.h"
#include "proto/reply.h"

#define LIFETIME_FLUSH_DISABLED "CLIENT_ERROR flush_all not allowed\r\n"

enum request_end touch_run(struct request *request, unsigned variant) {
    (void)variant;
    struct bytes key;
    struct bytes expiry;
    enum line_key kind = line_next_key(&request->line, &key);
    struct pool_fetch fetch = {.touch = true};
    bool has_expiry = line_next(&request->line, &expiry);
    if (has_expiry) {
        request_read_noreply(request, expiry);
    }
    if (!has_expiry || kind == LINE_KEY_BAD) {
        reply_text(request, REPLY_BAD_LINE);
    } else if (!word_expiry(expiry, request->thread->now_s, &fetch.touch_expiry_s)) {
        reply_text(request, REPLY_BAD_EXPTIME);
    } else {
        struct pool_fetched fetched;
        enum status status = pool_fetch(request->pool, request->thread, key, &fetch, &fetched);
        if (status == STATUS_NEEDS_ROOM) {
            return REQUEST_NEEDS_ROOM;
        }
        event_change(request->connection, request->thread, key, status, false);
        const char *failure =
            status == STATUS_NOT_FOUND ? REPLY_NOT_FOUND : reply_of_failure(status);
        reply_text(request, status == STATUS_OK ? "TOUCHED\r\n" : failure);
    }
    return REQUEST_DONE;
}

/* The delete commands of all protocols. */
enum status lifetime_delete(const struct request *request, struct bytes key,
                            const struct pool_delete *delete, bool meta) {
    bool watched = event_wants_deletes(request->connection);
    struct event_deletion deletion;
    if (watched) {
        event_look_before_delete(request->connection, request->thread, key, &deletion);
    }
    enum status status = pool_delete(request->pool, request->thread, key, delete);
    if (watched && status != STATUS_NEEDS_ROOM) {
        event_note_delete(request->connection, key, delete, meta, status, &deletion);
    }
    return status;
}

enum request_end delete_run(struct request *request, unsigned variant) {
    (void)variant;
    struct bytes key;
    enum line_key kind = line_next_key(&request->line, &key);
    request_read_noreply(request, key); /* ignores the delay that old clients send */
    if (kind != LINE_KEY_GOOD) {
        reply_text(request, REPLY_BAD_LINE);
        return REQUEST_DONE;
    }
    enum status status = lifetime_delete(request, key, NULL, false);
    if (status == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    const char *failure = status == STATUS_NOT_FOUND ? REPLY_NOT_FOUND : reply_of_failure(status);
    reply_text(request, status == STATUS_OK ? "DELETED\r\n" : failure);
    return REQUEST_DONE;
}

/* flush_all [delay] [noreply] */
enum request_end flush_run(struct request *request, unsigned variant) {
    (void)variant;
    uint32_t now_s = request->thread->now_s;
    uint32_t when_s = now_s;
    struct bytes delay = {0};
    store_thread_charge(request->thread, STORE_OVERVIEW_BYTES);
    bool has_delay = line_next(&request->line, &delay);
    struct bytes last = line_last(&request->line, delay);
    request->noreply = word_is(last, "noreply");
    if (request->noreply && last.data == delay.data) {
        has_delay = false;
    }
    if (request->connection->service->server->rights.flush_disabled) {
        reply_text(request, LIFETIME_FLUSH_DISABLED);
        return REQUEST_DONE;
    }
    if (has_delay && !word_expiry(delay, now_s, &when_s)) {
        reply_text(request, REPLY_BAD_EXPTIME);
        return REQUEST_DONE;
    }
    enum status status =
        pool_flush(request->pool, request->thread, when_s > now_s ? when_s : now_s);
    if (status == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    reply_text(request, status == STATUS_OK ? "OK\r\n" : reply_of_failure(status));
    return REQUEST_DONE;
}
