#include "request.h"

#include <time.h>

enum { TTL_RELATIVE_MAX_S = 30 * 86400 }; /* the protocol takes a larger number as a unix time */

const char *request_word(const struct request *request) {
    static const char *const words[] = {
        [VERB_GET] = "get",       [VERB_GETS] = "gets",       [VERB_GAT] = "gats",
        [VERB_SET] = "set",       [VERB_ADD] = "add",         [VERB_REPLACE] = "replace",
        [VERB_APPEND] = "append", [VERB_PREPEND] = "prepend", [VERB_CAS] = "cas",
        [VERB_INCR] = "incr",     [VERB_DECR] = "decr",       [VERB_TOUCH] = "touch",
        [VERB_DELETE] = "delete", [VERB_FLUSH] = "flush_all", [VERB_VERSION] = "version",
        [VERB_STATS] = "stats",   [VERB_HOLD] = "hold",       [VERB_META_GET] = "mg",
        [VERB_META_SET] = "ms",   [VERB_META_DELETE] = "md",  [VERB_META_ARITHMETIC] = "ma",
        [VERB_GET_MANY] = "gets", [VERB_SET_MANY] = "set",    [VERB_DELETE_MANY] = "delete",
    };
    return words[request->verb];
}

bool request_stores(const struct request *request) {
    switch (request->verb) {
    case VERB_SET:
    case VERB_ADD:
    case VERB_REPLACE:
    case VERB_APPEND:
    case VERB_PREPEND:
    case VERB_CAS:
        return true;
    default:
        return false;
    }
}

bool request_has_data(const struct request *request) {
    return request_stores(request) || request->verb == VERB_META_SET ||
           request->verb == VERB_SET_MANY;
}

void request_answer(struct request *request, enum stayd_status status) {
    request_item(request, request->answered++)->status = status;
    if (stayd_failed(status) && request->failed == STAYD_OK) {
        request->failed = status;
    }
}

struct stayd_item *request_find_item(struct request *request, struct bytes key) {
    while (request->answered < request->count) {
        struct stayd_item *item = request_item(request, request->answered);
        if (bytes_equal(bytes_from(item->key, item->key_size), key)) {
            return item;
        }
        request_answer(request, STAYD_NOT_FOUND);
    }
    return NULL;
}

void request_note(struct request *request, const char *data, size_t size) {
    size_t kept = 0;
    if (request->said[0] != '\0') {
        return;
    }
    for (size_t i = 0; i < size && kept + 1 < sizeof request->said; i++) {
        unsigned char byte = (unsigned char)data[i];
        request->said[kept++] = byte < ' ' || byte >= 0x7f ? '?' : (char)byte;
    }
    request->said[kept] = '\0';
}

int64_t request_exptime(int64_t ttl_s, int64_t past) {
    if (ttl_s < 0) {
        return past;
    }
    if (ttl_s <= TTL_RELATIVE_MAX_S) {
        return ttl_s;
    }
    /* memcached keeps a date in a signed 32-bit number: an item with a later date expires at
     * once. */
    int64_t now_s = (int64_t)time(NULL);
    int64_t last = now_s + TTL_RELATIVE_MAX_S < INT32_MAX ? INT32_MAX : UINT32_MAX;
    int64_t date;
    bool fits = !__builtin_add_overflow(now_s, ttl_s, &date) && date <= last;
    return fits ? date : last;
}
