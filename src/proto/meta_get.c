/* mg: looks an item up, and may touch or create it, or win the right to recache it. */
#include "proto/event.h"
#include "proto/meta.h"
#include "proto/reply.h"

enum { META_GET_FLAGS_LIMIT = 17 }; /* memcached accepts 20 words, one of which is the end */

static const char *meta_get_read(struct request *request, struct meta *meta) {
    const char *fault = meta_read_key(request, meta);
    if (fault == NULL && meta_has_too_many(request, META_GET_FLAGS_LIMIT)) {
        fault = "CLIENT_ERROR options flags are too long\r\n";
    }
    if (fault == NULL) {
        fault = meta_read_flags(request, meta);
    }
    if (fault == NULL && meta->opaque_too_long) {
        fault = META_OPAQUE_TOO_LONG;
    }
    return fault;
}

static enum status meta_get_fetch(struct request *request, const struct meta *meta,
                                  struct pool_fetched *fetched) {
    uint32_t now_s = request->thread->now_s;
    bool touch_creates = meta_has(meta, 'T') && !meta->create_sets_last_expiry;
    struct pool_fetch fetch = {
        .touch = meta_has(meta, 'T'),
        .touch_expiry_s = meta->touch_expiry_s,
        .create = meta_has(meta, 'N'),
        .create_expiry_s = touch_creates ? meta->touch_expiry_s : meta->create_expiry_s,
        .recache = meta->recache_until_s > now_s,
        .recache_s = meta->recache_until_s - now_s,
        .recache_first = meta->recache_before_touch,
        .set_cas = meta_has(meta, 'E'),
        .new_cas = meta->new_cas,
        .win_stale = true,
        .unnoticed = meta_has(meta, 'u'),
        .fresh = meta_has(meta, 'n'),
    };
    return pool_fetch(request->pool, request->thread, meta->key, &fetch, fetched);
}

/* VA <size> <flags>\r\n<value>\r\n, or HD <flags>\r\n. False: no memory for the reply. */
static bool meta_get_reply_item(struct request *request, const struct meta *meta,
                                const struct pool_fetched *fetched,
                                const struct meta_shown *shown) {
    static const uint64_t answered = META_FLAG('s') | META_FLAG('t') | META_FLAG('c') |
                                     META_FLAG('f') | META_FLAG('l') | META_FLAG('h') |
                                     META_FLAG('O') | META_FLAG('k');
    struct buffer *replies = request->replies;
    /* flag C: the client has the value with this CAS, and needs a value only if the CAS has
     * changed */
    bool is_current = meta_has(meta, 'C') && meta->cas == shown->cas;
    bool with_value = meta_has(meta, 'v') && !is_current;
    if (with_value && !reply_reserve(replies, shown->value.size)) {
        return false;
    }
    char *at = replies->data + replies->size;
    if (with_value) {
        at = reply_put_text(at, "VA ");
        at = reply_put_number(at, shown->value.size);
    } else {
        at = reply_put_text(at, "HD");
    }
    at = meta_put_flags(at, meta, answered, shown);
    if (fetched->token_sent) {
        at = reply_put_text(at, " Z");
    }
    if (fetched->item.stale) {
        at = reply_put_text(at, " X");
    }
    if (fetched->won) {
        at = reply_put_text(at, " W");
    }
    at = reply_put_text(at, "\r\n");
    if (with_value) {
        at = reply_put(at, shown->value.data, shown->value.size);
        at = reply_put_text(at, "\r\n");
    }
    replies->size = (size_t)(at - replies->data);
    return true;
}

static enum request_end meta_get_answer(struct request *request) {
    struct meta meta;
    const char *fault = meta_get_read(request, &meta);
    if (fault != NULL) {
        reply_text(request, fault);
        return REQUEST_DONE;
    }
    struct pool_fetched fetched;
    enum status status = meta_get_fetch(request, &meta, &fetched);
    if (status == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    event_get(request->connection, meta.key,
              status == STATUS_OK && !fetched.created ? &fetched.item : NULL);
    if (status == STATUS_NOT_FOUND) {
        if (!meta_has(&meta, 'q')) {
            meta_reply_code(request, &meta, "EN");
        }
        return REQUEST_DONE;
    }
    if (status != STATUS_OK) {
        reply_text(request, reply_of_failure(status));
        return REQUEST_DONE;
    }
    struct meta_shown shown = meta_show_item(&fetched.item, request->thread->now_s);
    shown.created = fetched.created;
    shown.expiry_s = fetched.created ? 0 : fetched.expiry_before_s;
    return meta_get_reply_item(request, &meta, &fetched, &shown) ? REQUEST_DONE : REQUEST_CLOSES;
}

enum request_end meta_get_run(struct request *request, unsigned variant) {
    (void)variant;
    return meta_count(request, meta_get_answer(request));
}
