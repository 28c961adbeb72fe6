#include "request.h"

#include <string.h>
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

void request_answer(struct request *request, enum stayd_status status) {
    request_item(request, request->answered++)->status = status;
    if (stayd_failed(status) && request->failed == STAYD_OK) {
        request->failed = status;
    }
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
    int64_t date; /* after 2106, where 32 bits end: the last date that fits */
    bool fits = !__builtin_add_overflow((int64_t)time(NULL), ttl_s, &date) && date <= UINT32_MAX;
    return fits ? date : UINT32_MAX;
}
