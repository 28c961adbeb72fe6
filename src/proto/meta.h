/* The meta commands: mn, mg, ms, md, ma.
 *
 *     mg key t v Oabc\r\n      ->      VA 5 t300 Oabc\r\nhello\r\n
 *            ^flags: a letter each, some with a token
 *
 * meta_read_flags reads the flags of all commands, as in memcached: a command accepts every known
 * flag and uses those that it needs. The reply repeats or answers the flags in the order of the
 * request, so they are read a second time when the reply is written. */
#ifndef STAYD_PROTO_META_H
#define STAYD_PROTO_META_H

#include "proto/request.h"

request_handler meta_get_run;
request_handler meta_set_run;
request_handler meta_delete_run;
request_handler meta_arithmetic_run;
request_handler meta_noop_run;
request_handler meta_debug_run;

/* ms before the login: refuses the command and discards its value. */
request_handler meta_set_run_unadmitted;

/* The rest of this header is for the files of the meta commands. */

#define META_FLAG(letter) (UINT64_C(1) << ((letter) - 'A'))

#define META_INVALID_OR_DUPLICATE "CLIENT_ERROR invalid or duplicate flag\r\n"
#define META_OPAQUE_TOO_LONG "CLIENT_ERROR opaque token too long\r\n"

struct meta {
    struct bytes key;         /* as in the store: decoded if flag b was given */
    struct line flags;        /* from the first flag on, to be read again */
    uint64_t seen;            /* META_FLAG of each letter that was given */
    uint64_t cas;             /* C */
    uint64_t new_cas;         /* E */
    uint64_t delta;           /* D, else 1 */
    uint64_t initial;         /* J */
    uint32_t client_flags;    /* F */
    uint32_t touch_expiry_s;  /* T */
    uint32_t create_expiry_s; /* N */
    uint32_t recache_until_s; /* R: a client may win an item that expires earlier */
    char mode;                /* M, else 0 */
    bool opaque_too_long;
    bool create_sets_last_expiry; /* T comes before N */
    bool recache_before_touch;    /* R comes before T */
    char decoded[POOL_KEY_MAX];
};

static inline bool meta_has(const struct meta *meta, char letter) {
    return (meta->seen & META_FLAG(letter)) != 0;
}

/* These functions return NULL, or the reply that says what is wrong. */
const char *meta_read_key(struct request *request, struct meta *meta);
const char *meta_read_flags(struct request *request, struct meta *meta);

/* Whether the line has more flags than memcached accepts. */
bool meta_has_too_many(const struct request *request, size_t limit);

/* The item's data that the reply's flags show. */
struct meta_shown {
    struct bytes value;
    uint64_t cas;
    uint32_t client_flags;
    uint32_t now_s;
    uint32_t expiry_s; /* before the command; T and N change it at their place among the flags */
    uint32_t idle_s;
    bool fetched;
    bool created;
};

struct meta_shown meta_show_item(const struct item *item, uint32_t now_s);

/* Writes those flags of the request that are in `which`, with their answers, at `at`. Returns where
 * they end. Writes at most META_FLAGS_MAX bytes, because each letter comes at most once. */
enum { META_FLAGS_MAX = 512 };
char *meta_put_flags(char *at, const struct meta *meta, uint64_t which,
                     const struct meta_shown *shown);

/* Writes a reply of a code, the flags k and O, and a line end. */
void meta_reply_code(struct request *request, const struct meta *meta, const char *code);

/* Counts a meta command. A command that waits for room is counted when it has run again. */
static inline enum request_end meta_count(struct request *request, enum request_end end) {
    if (end != REQUEST_NEEDS_ROOM) {
        pool_count(request->pool, request->thread, POOL_CMD_META);
    }
    return end;
}

#endif
