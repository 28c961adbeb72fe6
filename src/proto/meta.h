/* The meta commands: mn, mg, ms, md, ma.
 *
 *     mg key t v Oabc\r\n      ->      VA 5 t300 Oabc\r\nhello\r\n
 *            ^flags: a letter each, some with a token
 *
 * All flags of all commands are read in one place, meta_read_flags, as memcached does: a command
 * takes every known flag and uses those that mean something to it. The reply repeats or answers the
 * flags in the order in which they came, so they are read a second time when it is written.
 */
#ifndef STAYD_PROTO_META_H
#define STAYD_PROTO_META_H

#include "proto/request.h"

request_handler meta_get_run;
request_handler meta_set_run;
request_handler meta_delete_run;
request_handler meta_arithmetic_run;
request_handler meta_noop_run;
request_handler meta_debug_run;

/* ms before the login: refused, whatever it says, and its value passed over. */
request_handler meta_set_run_unadmitted;

/* Below: for the files of the meta commands. */

#define META_FLAG(letter) (UINT64_C(1) << ((letter) - 'A'))

#define META_INVALID_OR_DUPLICATE "CLIENT_ERROR invalid or duplicate flag\r\n"
#define META_OPAQUE_TOO_LONG "CLIENT_ERROR opaque token too long\r\n"

struct meta {
    struct bytes key;         /* as the store has it: decoded if there was a flag b */
    struct line flags;        /* from the first one on, to be read again */
    uint64_t seen;            /* META_FLAG of each letter that was given */
    uint64_t cas;             /* C */
    uint64_t new_cas;         /* E */
    uint64_t delta;           /* D, else 1 */
    uint64_t initial;         /* J */
    uint32_t client_flags;    /* F */
    uint32_t touch_expiry_s;  /* T */
    uint32_t create_expiry_s; /* N */
    uint32_t recache_until_s; /* R: an item that expires before this may be won */
    char mode;                /* M, else 0 */
    bool opaque_too_long;
    bool create_sets_last_expiry; /* T stands before N */
    bool recache_before_touch;    /* R stands before T */
    char decoded[POOL_KEY_MAX];
};

static inline bool meta_has(const struct meta *meta, char letter) {
    return (meta->seen & META_FLAG(letter)) != 0;
}

/* Each returns the reply to what is wrong, or NULL. */
const char *meta_read_key(struct request *request, struct meta *meta);
const char *meta_read_flags(struct request *request, struct meta *meta);

/* Whether more flags follow in the line than memcached has room for. */
bool meta_has_too_many(const struct request *request, size_t limit);

/* What the reply's flags tell about an item. */
struct meta_shown {
    struct bytes value;
    uint64_t cas;
    uint32_t client_flags;
    uint32_t now_s;
    uint32_t expiry_s; /* before the command: T and N change it where they stand among the flags */
    uint32_t idle_s;
    bool fetched;
    bool created;
};

struct meta_shown meta_show_item(const struct item *item, uint32_t now_s);

/* Writes the flags of the request that are in `which`, answered, at `at`; returns where they end.
 * At most META_FLAGS_MAX bytes: each letter comes once. */
enum { META_FLAGS_MAX = 512 };
char *meta_put_flags(char *at, const struct meta *meta, uint64_t which,
                     const struct meta_shown *shown);

/* A reply that is a code, the flags k and O, and a line end. */
void meta_reply_code(struct request *request, const struct meta *meta, const char *code);

/* Counts a meta command that has ended like this; one that is parked, when it is run again. */
static inline enum request_end meta_count(struct request *request, enum request_end end) {
    if (end != REQUEST_NEEDS_ROOM) {
        pool_count(request->pool, request->thread, POOL_CMD_META);
    }
    return end;
}

#endif
