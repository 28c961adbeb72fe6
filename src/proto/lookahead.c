#include "proto/lookahead.h"

#include "proto/binary.h"

enum { LOOKAHEAD_REQUESTS = POOL_PREFETCH_MAX };

struct lookahead_keys {
    struct bytes keys[POOL_PREFETCH_MAX];
    unsigned count;
};

/* Collects the words of a line from `at` on as keys: all of them, or the first one. */
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

/* This function and the next return the number of requests that they have looked at. */
static unsigned lookahead_lines(const struct request *request, struct lookahead_keys *found) {
    unsigned lines = 0;
    const char *at = request->next;
    while (lines < LOOKAHEAD_REQUESTS && found->count < POOL_PREFETCH_MAX && at < request->end) {
        const char *newline = memchr(at, '\n', (size_t)(request->end - at));
        if (newline == NULL) {
            break;
        }
        lines++;
        if (newline - at > 4 && at[3] == ' ') { /* get, set, add */
            lookahead_take(found, at + 4, newline, at[0] == 'g');
        } else if (newline - at > 3 && at[2] == ' ') { /* mg, ms, md, ma */
            lookahead_take(found, at + 3, newline, false);
        }
        at = newline + 1;
    }
    return lines;
}

static unsigned lookahead_headers(const struct request *request, struct lookahead_keys *found) {
    unsigned headers = 0;
    const char *at = request->next;
    while (headers < LOOKAHEAD_REQUESTS && request->end - at >= BINARY_HEADER_BYTES) {
        struct binary_header header = binary_read_header(at);
        size_t head = BINARY_HEADER_BYTES + (size_t)header.extras_size + header.key_size;
        if ((size_t)(request->end - at) < head || !binary_header_adds_up(&header)) {
            break;
        }
        headers++;
        if (header.key_size > 0 && header.key_size <= POOL_KEY_MAX) {
            const char *key = at + BINARY_HEADER_BYTES + header.extras_size;
            found->keys[found->count++] = bytes_from(key, header.key_size);
        }
        at += BINARY_HEADER_BYTES;
        if ((size_t)(request->end - at) < header.body_size) {
            break;
        }
        at += header.body_size;
    }
    return headers;
}

unsigned lookahead(const struct request *request) {
    struct lookahead_keys found = {.count = 0};
    unsigned requests = request->progress->protocol == PROTO_BINARY
                            ? lookahead_headers(request, &found)
                            : lookahead_lines(request, &found);
    if (found.count > 1) {
        pool_prefetch(request->pool, found.keys, found.count);
    }
    return requests > 0 ? requests : 1;
}
