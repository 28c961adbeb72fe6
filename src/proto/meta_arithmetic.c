/* ma: adds to or subtracts from a number, and may create it. */
#include "proto/event.h"
#include "proto/meta.h"
#include "proto/reply.h"

enum { META_ARITHMETIC_FLAGS_LIMIT = 17 };

static const char *meta_arithmetic_read(struct request *request, struct meta *meta,
                                        bool *decrement) {
    const char *fault = meta_read_key(request, meta);
    if (fault != NULL) {
        return fault;
    }
    if (meta_has_too_many(request, META_ARITHMETIC_FLAGS_LIMIT)) {
        return "CLIENT_ERROR options flags too long\r\n";
    }
    if (meta_read_flags(request, meta) != NULL) {
        return META_INVALID_OR_DUPLICATE;
    }
    switch (meta->mode) {
    case 0:
    case 'I':
    case '+':
        *decrement = false;
        break;
    case 'D':
    case '-':
        *decrement = true;
        break;
    default:
        return "CLIENT_ERROR invalid mode for ma M token\r\n";
    }
    return meta->opaque_too_long ? META_OPAQUE_TOO_LONG : NULL;
}

/* VA <size> <flags>\r\n<number>\r\n, or HD <flags>\r\n */
static void meta_arithmetic_reply_number(struct request *request, const struct meta *meta,
                                         uint64_t number, const struct meta_shown *shown) {
    static const uint64_t answered =
        META_FLAG('t') | META_FLAG('c') | META_FLAG('O') | META_FLAG('k');
    struct buffer *replies = request->replies;
    char digits[NUMBER_DIGITS_MAX];
    size_t size = (size_t)(reply_put_number(digits, number) - digits);
    bool with_value = meta_has(meta, 'v');
    char *at = replies->data + replies->size;
    if (with_value) {
        at = reply_put_text(at, "VA ");
        at = reply_put_number(at, size);
    } else {
        at = reply_put_text(at, "HD");
    }
    at = meta_put_flags(at, meta, answered, shown);
    if (with_value) {
        at = reply_put_text(at, "\r\n");
        at = reply_put(at, digits, size);
    }
    at = reply_put_text(at, "\r\n");
    replies->size = (size_t)(at - replies->data);
}

static void meta_arithmetic_reply(struct request *request, const struct meta *meta,
                                  enum status status, uint64_t number,
                                  const struct pool_fetched *result) {
    switch (status) {
    case STATUS_OK:
        if (!meta_has(meta, 'q')) {
            struct meta_shown shown = meta_show_item(&result->item, request->thread->now_s);
            shown.created = result->created;
            shown.expiry_s = result->created ? 0 : result->expiry_before_s;
            meta_arithmetic_reply_number(request, meta, number, &shown);
        }
        break;
    case STATUS_NOT_FOUND:
        meta_reply_code(request, meta, "NF");
        break;
    case STATUS_EXISTS:
        meta_reply_code(request, meta, "EX");
        break;
    default:
        reply_text(request, reply_of_failed_arithmetic(status));
        break;
    }
}

static enum request_end meta_arithmetic_answer(struct request *request) {
    struct meta meta;
    bool decrement = false;
    const char *fault = meta_arithmetic_read(request, &meta, &decrement);
    if (fault != NULL) {
        reply_text(request, fault);
        return REQUEST_DONE;
    }
    bool touch_creates = meta_has(&meta, 'T') && !meta.create_sets_last_expiry;
    struct pool_arithmetic arithmetic = {
        .decrement = decrement,
        .delta = meta.delta,
        .create = meta_has(&meta, 'N'),
        .initial = meta.initial,
        .create_expiry_s = touch_creates ? meta.touch_expiry_s : meta.create_expiry_s,
        .touch = meta_has(&meta, 'T'),
        .touch_expiry_s = meta.touch_expiry_s,
        .compare_cas = meta.cas != 0, /* as in memcached, 0 means no CAS */
        .cas = meta.cas,
        .set_cas = meta_has(&meta, 'E'),
        .new_cas = meta.new_cas,
    };
    uint64_t number = 0;
    struct pool_fetched result;
    enum status status =
        pool_arithmetic(request->pool, request->thread, meta.key, &arithmetic, &number, &result);
    if (status == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    event_change(request->connection, request->thread, meta.key, status,
                 status == STATUS_OK && result.created);
    meta_arithmetic_reply(request, &meta, status, number, &result);
    return REQUEST_DONE;
}

enum request_end meta_arithmetic_run(struct request *request, unsigned variant) {
    (void)variant;
    return meta_count(request, meta_arithmetic_answer(request));
}
