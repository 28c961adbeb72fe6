/* me: shows an item's metadata. Does not change the item. */
#include "proto/base64.h"
#include "proto/meta.h"
#include "proto/reply.h"
#include "store/scan.h"

static char *meta_debug_put(char *at, const struct pool_scanned *scanned, uint32_t now_s) {
    const struct item *item = &scanned->item;
    at = reply_put_text(at, " exp=");
    if (item->expiry_s == 0) {
        at = reply_put_text(at, "-1");
    } else {
        at = reply_put_number(at, item->expiry_s -
                                      now_s); /* above 0, because the item has not expired */
    }
    at = reply_put_number(reply_put_text(at, " la="),
                          now_s > item->accessed_s ? now_s - item->accessed_s : 0);
    at = reply_put_number(reply_put_text(at, " cas="), item->cas);
    at = reply_put_text(at, item->fetched ? " fetch=yes" : " fetch=no");
    at = reply_put_number(reply_put_text(at, " cls="), scanned->ttl_class + 1);
    return reply_put_number(reply_put_text(at, " size="), scanned->record_bytes);
}

enum request_end meta_debug_run(struct request *request, unsigned variant) {
    (void)variant;
    struct bytes named;
    struct bytes flag;
    char decoded[POOL_KEY_MAX];
    pool_count(request->pool, request->thread, POOL_CMD_META);
    if (line_next_key(&request->line, &named) != LINE_KEY_GOOD) {
        reply_text(request, REPLY_BAD_LINE);
        return REQUEST_DONE;
    }
    struct bytes key = named;
    if (line_next(&request->line, &flag) && word_is(flag, "b")) {
        key = bytes_from(decoded, base64_decode(named, decoded));
        if (key.size == 0) {
            reply_text(request, REPLY_BAD_LINE);
            return REQUEST_DONE;
        }
    }
    struct pool_scanned scanned;
    if (pool_peek(request->pool, request->thread, key, &scanned) != STATUS_OK) {
        reply_text(request, "EN\r\n");
        return REQUEST_DONE;
    }
    struct buffer *replies = request->replies;
    char *at = reply_put_text(replies->data + replies->size, "ME ");
    at = reply_put(at, named.data, named.size);
    at = meta_debug_put(at, &scanned, request->thread->now_s);
    at = reply_put_text(at, "\r\n");
    replies->size = (size_t)(at - replies->data);
    return REQUEST_DONE;
}
