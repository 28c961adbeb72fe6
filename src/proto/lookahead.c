#include "proto/lookahead.h"

enum { LOOKAHEAD_LINES = POOL_PREFETCH_MAX };

struct lookahead_keys {
    struct bytes keys[POOL_PREFETCH_MAX];
    unsigned count;
};

/* Takes the words of a line from `at` on as keys: all of them, or the first. */
static void lookahead_take(struct lookahead_keys *found, const char *at, const char *end,
                           bool all) {
    while (at < end && found->count < POOL_PREFETCH_MAX) {
        const char *word = at;
        while (at<end && * at> ' ') {
            at++;
        }
        if (at > word && at - word <= POOL_KEY_MAX) {
            found->keys[found->count++] = bytes_from(word, (size_t)(at - word));
        }
        if (!all) {
            return;
        }
        at++;
    }
}

unsigned lookahead(const struct request *request) {
    struct lookahead_keys found = {.count = 0};
    unsigned lines = 0;
    const char *at = request->next;
    while (lines < LOOKAHEAD_LINES && found.count < POOL_PREFETCH_MAX && at < request->end) {
        const char *newline = memchr(at, '\n', (size_t)(request->end - at));
        if (newline == NULL) {
            break;
        }
        lines++;
        if (newline - at > 4 && at[3] == ' ') { /* get, set, add */
            lookahead_take(&found, at + 4, newline, at[0] == 'g');
        } else if (newline - at > 3 && at[2] == ' ') { /* mg, ms, md, ma */
            lookahead_take(&found, at + 3, newline, false);
        }
        at = newline + 1;
    }
    if (found.count > 1) {
        pool_prefetch(request->pool, found.keys, found.count);
    }
    return lines > 0 ? lines : 1;
}
