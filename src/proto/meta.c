#include "proto/meta.h"

#include "proto/base64.h"
#include "proto/reply.h"
#include "store/replication.h"

enum { META_OPAQUE_MAX = 32 }; /* including its letter */

#define META_BAD_TOKEN "CLIENT_ERROR bad token in command line format\r\n"

_Static_assert(META_FLAGS_MAX + NUMBER_DIGITS_MAX * 2 < REPLY_ROOM, "replies without a value fit");

enum request_end meta_noop_run(struct request *request, unsigned variant) {
    (void)variant;
    pool_count(request->pool, request->thread, POOL_CMD_META);
    reply_text(request, "MN\r\n");
    return REQUEST_DONE;
}

const char *meta_read_key(struct request *request, struct meta *meta) {
    memset(meta, 0, offsetof(struct meta, decoded));
    meta->delta = 1;
    switch (line_next_key(&request->line, &meta->key)) {
    case LINE_KEY_NONE:
    case LINE_KEY_BAD:
        return REPLY_BAD_LINE;
    case LINE_KEY_GOOD:
        break;
    }
    meta->flags = request->line;
    return NULL;
}

bool meta_has_too_many(const struct request *request, size_t limit) {
    struct line line = request->line;
    if ((size_t)(line.end - line.at) <= limit * 2) { /* each flag takes a space and a letter */
        return false;
    }
    struct bytes word;
    size_t count = 0;
    while (count <= limit && line_next(&line, &word)) {
        count++;
    }
    return count > limit;
}

/* Flag b: the key is base64. */
static const char *meta_decode_key(struct meta *meta) {
    size_t size = base64_decode(meta->key, meta->decoded);
    meta->key = bytes_from(meta->decoded, size);
    return size > 0 ? NULL : "CLIENT_ERROR error decoding key\r\n";
}

/* Flag M: the mode is the first letter of the token; as in memcached, the others are ignored. */
static void meta_read_mode(struct meta *meta, struct bytes token) {
    meta->mode = token.size > 0 ? token.data[0] : ' '; /* no command has this mode */
}

static const char *meta_read_expiry(struct request *request, struct bytes token,
                                    uint32_t *expiry_s) {
    return word_expiry(token, request->thread->now_s, expiry_s) ? NULL : META_BAD_TOKEN;
}

static const char *meta_read_client_flags(struct bytes token, uint32_t *client_flags) {
    uint64_t number;
    if (!word_u64(token, &number) || number > UINT32_MAX) {
        return REPLY_BAD_LINE;
    }
    *client_flags = (uint32_t)number;
    return NULL;
}

static const char *meta_read_number(struct bytes token, uint64_t *number, const char *fault) {
    return word_u64(token, number) ? NULL : fault;
}

/* Reads one flag and its token. */
static const char *meta_read_flag(struct request *request, struct meta *meta, char letter,
                                  struct bytes token) {
    switch (letter) {
    case 'b':
        return meta_decode_key(meta);
    case 'N':
        meta->create_sets_last_expiry = true;
        return meta_read_expiry(request, token, &meta->create_expiry_s);
    case 'T':
        meta->create_sets_last_expiry = false;
        return meta_read_expiry(request, token, &meta->touch_expiry_s);
    case 'R':
        meta->recache_before_touch = !meta_has(meta, 'T');
        return meta_read_expiry(request, token, &meta->recache_until_s);
    case 'F': /* memcached has no specific message for this flag */
        return meta_read_client_flags(token, &meta->client_flags);
    case 'C':
        return meta_read_number(token, &meta->cas, META_BAD_TOKEN);
    case 'E':
        return meta_read_number(token, &meta->new_cas, META_BAD_TOKEN);
    case 'D':
        return meta_read_number(token, &meta->delta,
                                "CLIENT_ERROR invalid numeric delta value\r\n");
    case 'J':
        return meta_read_number(token, &meta->initial,
                                "CLIENT_ERROR invalid numeric initial value\r\n");
    case 'M':
        meta_read_mode(meta, token);
        return NULL;
    case 'O':
        meta->opaque_too_long = token.size + 1 > META_OPAQUE_MAX;
        return NULL;
    default:
        return NULL;
    }
}

/* Not memcached's: a read that must be fresh. Only of replicated pools; in others every read is. */
static bool meta_is_fresh_flag(const struct request *request, char letter) {
    return letter == 'n' && pool_get_replication(request->pool) != NULL;
}

const char *meta_read_flags(struct request *request, struct meta *meta) {
    static const uint64_t known =
        META_FLAG('b') | META_FLAG('c') | META_FLAG('f') | META_FLAG('h') | META_FLAG('k') |
        META_FLAG('l') | META_FLAG('q') | META_FLAG('s') | META_FLAG('t') | META_FLAG('u') |
        META_FLAG('v') | META_FLAG('x') | META_FLAG('C') | META_FLAG('D') | META_FLAG('E') |
        META_FLAG('F') | META_FLAG('I') | META_FLAG('J') | META_FLAG('L') | META_FLAG('M') |
        META_FLAG('N') | META_FLAG('O') | META_FLAG('P') | META_FLAG('R') | META_FLAG('T');
    meta->flags = request->line;
    const char *fault = NULL;
    struct bytes word;
    while (line_next(&request->line, &word)) {
        char letter = word.data[0];
        if ((unsigned char)letter >= 127) {
            return "CLIENT_ERROR duplicate flag\r\n"; /* memcached gives these letters the same
                                                         reply */
        }
        if (letter < 'A' || letter > 'z' ||
            ((known & META_FLAG(letter)) == 0 && !meta_is_fresh_flag(request, letter))) {
            return "CLIENT_ERROR invalid flag\r\n";
        }
        if (meta_has(meta, letter)) {
            return "CLIENT_ERROR duplicate flag\r\n";
        }
        const char *found =
            meta_read_flag(request, meta, letter, bytes_from(word.data + 1, word.size - 1));
        meta->seen |= META_FLAG(letter);
        /* if there are several faults, memcached reports the last */
        fault = found != NULL && !(letter == 'F' && fault != NULL) ? found : fault;
    }
    return fault;
}

struct meta_shown meta_show_item(const struct item *item, uint32_t now_s) {
    return (struct meta_shown){
        .value = item->value,
        .cas = item->cas,
        .client_flags = item->client_flags,
        .now_s = now_s,
        .expiry_s = item->expiry_s,
        .idle_s = now_s > item->accessed_s ? now_s - item->accessed_s : 0,
        .fetched = item->fetched,
    };
}

static char *meta_put_key(char *at, const struct meta *meta) {
    if (!meta_has(meta, 'b')) {
        return reply_put(at, meta->key.data, meta->key.size);
    }
    base64_encode(meta->key, at);
    return reply_put_text(at + base64_encoded_size(meta->key.size), " b");
}

/* Writes the remaining time; -1: no expiry. */
static char *meta_put_ttl(char *at, uint32_t expiry_s, uint32_t now_s) {
    if (expiry_s == 0) {
        return reply_put_text(at, "-1");
    }
    return reply_put_number(at, expiry_s > now_s ? expiry_s - now_s : 0);
}

static char *meta_put_answer(char *at, const struct meta *meta, struct bytes word,
                             const struct meta_shown *shown) {
    *at++ = ' ';
    *at++ = word.data[0];
    switch (word.data[0]) {
    case 'O':
        return reply_put(at, word.data + 1, word.size - 1);
    case 'k':
        return meta_put_key(at, meta);
    case 'c':
        return reply_put_number(at, shown->cas);
    case 'f':
        return reply_put_number(at, shown->client_flags);
    case 'h':
        return reply_put_number(at, shown->fetched);
    case 'l':
        return reply_put_number(at, shown->idle_s);
    case 's':
        return reply_put_number(at, shown->value.size);
    default:
        assert(word.data[0] == 't');
        return meta_put_ttl(at, shown->expiry_s, shown->now_s);
    }
}

char *meta_put_flags(char *at, const struct meta *meta, uint64_t which,
                     const struct meta_shown *shown) {
    if ((meta->seen & which) == 0) {
        return at;
    }
    struct meta_shown now = *shown;
    struct line line = meta->flags;
    struct bytes word;
    while (line_next(&line, &word)) {
        if (word.data[0] == 'T') {
            now.expiry_s = meta->touch_expiry_s;
        } else if (word.data[0] == 'N' && now.created) {
            now.expiry_s = meta->create_expiry_s;
        } else if ((which & META_FLAG(word.data[0])) != 0) {
            at = meta_put_answer(at, meta, word, &now);
        }
    }
    return at;
}

void meta_reply_code(struct request *request, const struct meta *meta, const char *code) {
    struct buffer *replies = request->replies;
    char *at = reply_put_text(replies->data + replies->size, code);
    at = meta_put_flags(at, meta, META_FLAG('O') | META_FLAG('k'), &(struct meta_shown){0});
    at = reply_put_text(at, "\r\n");
    replies->size = (size_t)(at - replies->data);
}
