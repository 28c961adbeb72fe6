/* One request to one server, and where its reply goes. The caller fills in the fields that the verb
 * needs; text.c and binary.c write the request to a channel and read the reply. */
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

/* Whether it does harm to carry out a request twice. Between the first time and the second, another
 * client may have written: then a set that is sent again overwrites a newer value, and a delete
 * removes a newer item. */
enum request_kind {
    REQUEST_HARMLESS, /* no harm: the request only reads */
    REQUEST_ONCE, /* harm; the request is one command, which the server runs only when its last byte
                     has arrived */
    REQUEST_BATCH /* harm; the request has several commands; if a part was sent, some of them may
                     have been carried out */
};

enum { REQUEST_SAID_MAX = 200 };

struct request {
    enum verb verb;
    enum request_kind kind;
    struct bytes key; /* for stats: the group, or empty */
    struct bytes data;
    const char *meta_flags;
    uint32_t flags;
    int64_t ttl_s;   /* as in stayd.h */
    uint64_t number; /* the cas, the delta, the delay, the hold */
    unsigned lease_s;

    /* verbs for many keys: the items of this server */
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
    size_t answered;             /* many keys: answered items; stats: lines */
    enum stayd_status failed;    /* many keys: the first failure of a single item; STAYD_OK: none */
    char said[REQUEST_SAID_MAX]; /* the server's words at its first refusal */
};

/* The item at this place, for the verbs for many keys. */
static inline struct stayd_item *request_item(const struct request *request, size_t place) {
    return &request->items[request->places[place]];
}

/* Sets the status of the next item, for the verbs for many keys. */
void request_answer(struct request *request, enum stayd_status status);

/* For VERB_GET_MANY: finds the item of a value with this key, and makes it the next to be answered.
 * Replies come in the order of the keys, so the items before it are answered as not found. NULL: no
 * item has this key. */
struct stayd_item *request_find_item(struct request *request, struct bytes key);

/* Whether the request stores one item: set, add, replace, append, prepend, cas. */
bool request_stores(const struct request *request);

/* Whether data follow the command's line (in the text protocol). */
bool request_has_data(const struct request *request);

/* The command's word, for messages and the text protocol. */
const char *request_word(const struct request *request);

/* Stores the server's words in `said`, unless it has some already. */
void request_note(struct request *request, const char *data, size_t size);

/* The protocol's expiry for a time to live; above 30 days it is a date. `past` is the expiry that
 * means "at once". */
int64_t request_exptime(int64_t ttl_s, int64_t past);

#endif
