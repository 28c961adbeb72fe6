/* One request to one server, and where its reply goes. Whoever makes it fills in what its verb
 * needs; text.c and binary.c write it to a channel and read the reply. */
#ifndef STAYD_LIB_REQUEST_H
#define STAYD_LIB_REQUEST_H

#include "base/bytes.h"
#include "stayd.h"

#include <stdbool.h>
#include <stdint.h>

enum verb {
    VERB_GET,
    VERB_GETS,
    VERB_GAT,
    VERB_SET,
    VERB_ADD,
    VERB_REPLACE,
    VERB_APPEND,
    VERB_PREPEND,
    VERB_CAS,
    VERB_INCR,
    VERB_DECR,
    VERB_TOUCH,
    VERB_DELETE,
    VERB_FLUSH,
    VERB_VERSION,
    VERB_STATS,
    VERB_HOLD,
    VERB_META_GET,
    VERB_META_SET,
    VERB_META_DELETE,
    VERB_META_ARITHMETIC,
    VERB_GET_MANY,
    VERB_SET_MANY,
    VERB_DELETE_MANY
};

/* What a request may do when it is carried out a second time. Between the first time and the
 * second, another client may have written: a set that is sent again then overwrites what is newer,
 * a delete removes what came since. */
enum request_kind {
    REQUEST_HARMLESS, /* nothing: it only reads */
    REQUEST_ONCE,     /* harm, and it is one command, which counts once its last byte has arrived */
    REQUEST_BATCH     /* harm, and of a part that was sent some may have been carried out */
};

enum { REQUEST_SAID_MAX = 200 };

struct request {
    enum verb verb;
    enum request_kind kind;
    struct bytes key; /* of stats: the group, or empty */
    struct bytes data;
    const char *meta_flags;
    uint32_t flags;
    int64_t ttl_s;   /* as in stayd.h */
    uint64_t number; /* the cas, the delta, the delay, the hold */
    unsigned lease_s;

    /* of the verbs for many: which of the items are this server's */
    struct stayd_item *items;
    const size_t *places;
    size_t count;

    /* results */
    struct stayd_value *value;
    struct stayd_meta *meta; /* NULL: not wanted */
    uint64_t result;
    char *text; /* the version */
    size_t text_size;
    stayd_stat *each;
    void *user;
    size_t answered;             /* of the many; of the statistics */
    enum stayd_status failed;    /* of the many: the first failure of one alone; STAYD_OK: none */
    char said[REQUEST_SAID_MAX]; /* the server's words when it refused for the first time */
};

/* The item at this place of the many. */
static inline struct stayd_item *request_item(const struct request *request, size_t place) {
    return &request->items[request->places[place]];
}

/* The next of the many has this status. */
void request_answer(struct request *request, enum stayd_status status);

/* The command's word, for messages and the text protocol. */
const char *request_word(const struct request *request);

/* The server's words, unless there are some already. */
void request_note(struct request *request, const char *data, size_t size);

/* The protocol's expiry: from 30 days on a date. `past`: what says "at once". */
int64_t request_exptime(int64_t ttl_s, int64_t past);

#endif
