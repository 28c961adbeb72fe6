#include "proto/retrieval.h"

#include "proto/event.h"
#include "proto/reply.h"

enum {
    /* "VALUE ", a space, flags, a space, length, a space, CAS, and two line ends */
    RETRIEVAL_HEAD_MAX = 6 + 1 + 10 + 1 + 10 + 1 + NUMBER_DIGITS_MAX + 4
};

/* Reads the words before the keys. False: it has replied with an error. */
static bool retrieval_begin(struct request *request, unsigned variant) {
    struct proto_retrieval *retrieval = &request->progress->retrieval;
    *retrieval = (struct proto_retrieval){
        .with_cas = (variant & RETRIEVAL_CAS) != 0,
        .touch = (variant & RETRIEVAL_TOUCH) != 0,
    };
    if (retrieval->touch) {
        struct bytes word;
        if (!line_next(&request->line, &word)) {
            reply_text(request, REPLY_BAD_LINE);
            return false;
        }
        if (!word_expiry(word, request->thread->now_s, &retrieval->expiry_s)) {
            reply_text(request, REPLY_BAD_EXPTIME);
            return false;
        }
    }
    return true;
}

/* False: no memory for the reply. */
static bool retrieval_reply_item(struct request *request, struct bytes key,
                                 const struct item *item) {
    struct buffer *replies = request->replies;
    if (!reply_reserve(replies, RETRIEVAL_HEAD_MAX + key.size + item->value.size)) {
        return false;
    }
    char *at = replies->data + replies->size;
    at = reply_put_text(at, "VALUE ");
    at = reply_put(at, key.data, key.size);
    *at++ = ' ';
    at = reply_put_number(at, item->client_flags);
    *at++ = ' ';
    at = reply_put_number(at, item->value.size);
    if (request->progress->retrieval.with_cas) {
        *at++ = ' ';
        at = reply_put_number(at, item->cas);
    }
    at = reply_put_text(at, "\r\n");
    at = reply_put(at, item->value.data, item->value.size);
    at = reply_put_text(at, "\r\n");
    replies->size = (size_t)(at - replies->data);
    return true;
}

/* Looks up one key and replies with its item, if there is one. STATUS_IO: no memory for the reply.
 */
static enum status retrieval_answer_key(struct request *request, struct bytes key) {
    const struct proto_retrieval *retrieval = &request->progress->retrieval;
    enum status status;
    if (retrieval->touch) {
        struct pool_fetched fetched;
        status = pool_fetch(
            request->pool, request->thread, key,
            &(struct pool_fetch){.touch = true, .touch_expiry_s = retrieval->expiry_s}, &fetched);
        if (status == STATUS_NEEDS_ROOM) {
            return status;
        }
        event_get(request->connection, key, status == STATUS_OK ? &fetched.item : NULL);
        if (status == STATUS_OK && !retrieval_reply_item(request, key, &fetched.item)) {
            status = STATUS_IO;
        }
    } else {
        struct item item;
        status = pool_get(request->pool, request->thread, key, &item);
        event_get(request->connection, key, status == STATUS_OK ? &item : NULL);
        if (status == STATUS_OK && !retrieval_reply_item(request, key, &item)) {
            status = STATUS_IO;
        }
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum retrieval_end {
    RETRIEVAL_ANSWERED,   /* every key that has arrived is answered */
    RETRIEVAL_PAUSED,     /* there is much to send; line.at is behind the last key answered */
    RETRIEVAL_NEEDS_ROOM, /* the key at line.at needs room; the keys before it are answered */
    RETRIEVAL_BAD_KEY,
    RETRIEVAL_FAILED, /* `status` says why */
};

static enum retrieval_end retrieval_answer_keys(struct request *request, enum status *status) {
    struct bytes key;
    enum line_key kind;
    const char *before = request->line.at;
    while ((kind = line_next_key(&request->line, &key)) == LINE_KEY_GOOD) {
        request->progress->retrieval.any = true;
        *status = retrieval_answer_key(request, key);
        if (*status == STATUS_NEEDS_ROOM) {
            request->line.at = before;
            return RETRIEVAL_NEEDS_ROOM;
        }
        before = request->line.at;
        if (*status != STATUS_OK) {
            return RETRIEVAL_FAILED;
        }
        if (request_should_pause(request) && request->line.at < request->line.end) {
            return RETRIEVAL_PAUSED;
        }
    }
    return kind == LINE_KEY_BAD ? RETRIEVAL_BAD_KEY : RETRIEVAL_ANSWERED;
}

/* The end of the line has been read. */
static enum request_end retrieval_finish(struct request *request) {
    const struct proto_retrieval *retrieval = &request->progress->retrieval;
    request->progress->phase = PROTO_PHASE_LINE;
    reply_text(request, retrieval->any ? "END\r\n" : REPLY_BAD_LINE);
    return REQUEST_DONE;
}

static enum request_end retrieval_fail(struct request *request, enum retrieval_end end,
                                       enum status status) {
    if (end == RETRIEVAL_FAILED && status == STATUS_IO) {
        return REQUEST_CLOSES;
    }
    reply_text(request, end == RETRIEVAL_BAD_KEY ? REPLY_BAD_LINE : reply_of_failure(status));
    return REQUEST_DONE;
}

static bool retrieval_keys_are_good(struct line line) {
    struct bytes key;
    enum line_key kind;
    do {
        kind = line_next_key(&line, &key);
    } while (kind == LINE_KEY_GOOD);
    return kind == LINE_KEY_NONE;
}

enum request_end retrieval_run(struct request *request, unsigned variant) {
    size_t mark = request->replies->size;
    if (!retrieval_begin(request, variant)) {
        struct bytes key;
        if (!line_next(&request->line, &key)) { /* memcached looks for a key first */
            request->replies->size = mark;
            reply_text(request, REPLY_BAD_LINE);
        }
        return REQUEST_DONE;
    }
    enum status status = STATUS_OK;
    enum retrieval_end end = retrieval_answer_keys(request, &status);
    if ((end == RETRIEVAL_PAUSED || end == RETRIEVAL_NEEDS_ROOM) &&
        !retrieval_keys_are_good(request->line)) {
        end = RETRIEVAL_BAD_KEY; /* checked before the pause, because items that have been sent
                                    cannot be taken back */
    }
    switch (end) {
    case RETRIEVAL_ANSWERED:
        return retrieval_finish(request);
    case RETRIEVAL_PAUSED:
        request->progress->phase = PROTO_PHASE_KEYS;
        request->next = request->line.at;
        return REQUEST_PAUSED;
    case RETRIEVAL_NEEDS_ROOM:
        request->progress->phase = PROTO_PHASE_KEYS;
        request->start = request->line.at;
        return REQUEST_NEEDS_ROOM;
    case RETRIEVAL_BAD_KEY:
    case RETRIEVAL_FAILED:
        break;
    }
    request->replies->size = mark;
    return retrieval_fail(request, end, status);
}

enum request_end retrieval_run_long(struct request *request, unsigned variant) {
    size_t mark = request->replies->size;
    bool begun = retrieval_begin(request, variant);
    if (request->line.at == request->line.end) { /* the last word may continue behind the limit */
        request->replies->size = mark;
        reply_text(request, REPLY_LINE_TOO_LONG);
        return REQUEST_CLOSES;
    }
    request->progress->phase = begun ? PROTO_PHASE_KEYS : PROTO_PHASE_SKIP_LINE;
    request->next = request->line.at;
    return REQUEST_DONE;
}

enum request_end retrieval_resume(struct request *request) {
    size_t available = (size_t)(request->end - request->start);
    const char *newline = memchr(request->start, '\n', available);
    const char *stop = newline != NULL ? newline : memrchr(request->start, ' ', available);
    if (stop == NULL && available <= POOL_KEY_MAX + 1) { /* a key that is incomplete */
        request->wanted = available + 1;
        return REQUEST_WAITS;
    }
    enum status status = STATUS_OK;
    enum retrieval_end end = RETRIEVAL_BAD_KEY;
    if (stop != NULL) {
        request->next = stop + 1;
        bool carriage_return = newline != NULL && stop > request->start && stop[-1] == '\r';
        request->line = (struct line){request->start, stop - carriage_return};
        end = retrieval_answer_keys(request, &status);
    }
    switch (end) {
    case RETRIEVAL_ANSWERED:
        return newline != NULL ? retrieval_finish(request) : REQUEST_DONE;
    case RETRIEVAL_PAUSED:
        request->next = request->line.at;
        return REQUEST_PAUSED;
    case RETRIEVAL_NEEDS_ROOM:
        request->start = request->line.at;
        return REQUEST_NEEDS_ROOM;
    case RETRIEVAL_BAD_KEY:
    case RETRIEVAL_FAILED:
        break;
    }
    request->progress->phase = newline != NULL ? PROTO_PHASE_LINE : PROTO_PHASE_SKIP_LINE;
    return retrieval_fail(request, end, status);
}
