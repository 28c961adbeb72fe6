#include "proto/prefixes.h"

#include "base/hash.h"
#include "proto/reply.h"
#include "proto/uri.h"

#include <pthread.h>
#include <stdlib.h>

enum { PREFIXES_TABLE = 2048 /* slots, a power of two; half of them stay empty */ };

_Static_assert(REPLY_ROOM > URI_KEY_MAX + PREFIX_COUNTERS * (NUMBER_DIGITS_MAX + 8) + 16,
               "a line fits");

struct prefix {
    uint8_t size;
    char text[POOL_KEY_MAX];
    uint64_t counters[PREFIX_COUNTERS];
};

struct prefixes {
    char delimiter;
    pthread_mutex_t lock; /* protects the fields below */
    unsigned count;
    struct prefix *prefixes;         /* PREFIXES_MAX entries, in order of arrival; or NULL */
    uint16_t places[PREFIXES_TABLE]; /* 0: empty; else one more than the index of a prefix */
};

struct prefixes *prefixes_create(char delimiter) {
    struct prefixes *prefixes = calloc(1, sizeof *prefixes);
    if (prefixes != NULL) {
        prefixes->delimiter = delimiter;
        pthread_mutex_init(&prefixes->lock, NULL);
    }
    return prefixes;
}

void prefixes_destroy(struct prefixes *prefixes) {
    if (prefixes != NULL) {
        pthread_mutex_destroy(&prefixes->lock);
        free(prefixes->prefixes);
        free(prefixes);
    }
}

/* The caller has the lock. NULL: there is no room for another prefix. */
static struct prefix *prefixes_find(struct prefixes *prefixes, struct bytes text) {
    if (prefixes->prefixes == NULL) {
        prefixes->prefixes = calloc(PREFIXES_MAX, sizeof *prefixes->prefixes);
        if (prefixes->prefixes == NULL) {
            return NULL;
        }
    }
    uint64_t place = hash_key(0, text) & (PREFIXES_TABLE - 1);
    while (prefixes->places[place] != 0) {
        struct prefix *found = &prefixes->prefixes[prefixes->places[place] - 1];
        if (bytes_equal(bytes_from(found->text, found->size), text)) {
            return found;
        }
        place = (place + 1) & (PREFIXES_TABLE - 1);
    }
    if (prefixes->count == PREFIXES_MAX) {
        return NULL;
    }
    struct prefix *added = &prefixes->prefixes[prefixes->count++];
    prefixes->places[place] = (uint16_t)prefixes->count;
    added->size = (uint8_t)text.size;
    memcpy(added->text, text.data, text.size);
    return added;
}

static void prefixes_add(struct prefixes *prefixes, struct bytes key, bool hit,
                         enum prefix_counter counter) {
    const char *end = memchr(key.data, prefixes->delimiter, key.size);
    if (end == NULL) {
        return;
    }
    pthread_mutex_lock(&prefixes->lock);
    struct prefix *prefix = prefixes_find(prefixes, bytes_from(key.data, (size_t)(end - key.data)));
    if (prefix != NULL) {
        prefix->counters[counter]++;
        prefix->counters[PREFIX_HITS] += hit;
    }
    pthread_mutex_unlock(&prefixes->lock);
}

void prefixes_count(struct prefixes *prefixes, struct bytes key, enum prefix_counter counter) {
    prefixes_add(prefixes, key, false, counter);
}

void prefixes_count_get(struct prefixes *prefixes, struct bytes key, bool hit) {
    prefixes_add(prefixes, key, hit, PREFIX_GETS);
}

void prefixes_clear(struct prefixes *prefixes) {
    pthread_mutex_lock(&prefixes->lock);
    if (prefixes->prefixes != NULL) {
        memset(prefixes->prefixes, 0, PREFIXES_MAX * sizeof *prefixes->prefixes);
    }
    memset(prefixes->places, 0, sizeof prefixes->places);
    prefixes->count = 0;
    pthread_mutex_unlock(&prefixes->lock);
}

/* Writes the prefix as memcached does, but encodes characters that would end the word or the line:
 * clients choose the keys, and must not be able to forge statistics. */
static char *prefix_put_text(char *at, const struct prefix *prefix) {
    for (unsigned i = 0; i < prefix->size; i++) {
        struct bytes byte = bytes_from(&prefix->text[i], 1);
        bool is_plain = (unsigned char)*byte.data > ' ' && *byte.data != 127;
        at = is_plain ? reply_put(at, byte.data, 1) : uri_put(at, byte);
    }
    return at;
}

static void prefix_put(const struct prefix *prefix, struct buffer *replies) {
    static const char *const names[PREFIX_COUNTERS] = {" get ", " hit ", " set ", " del "};
    char *at = replies->data + replies->size;
    at = reply_put_text(at, "PREFIX ");
    at = prefix_put_text(at, prefix);
    for (unsigned i = 0; i < PREFIX_COUNTERS; i++) {
        at = reply_put_text(at, names[i]);
        at = reply_put_number(at, prefix->counters[i]);
    }
    at = reply_put_text(at, "\r\n");
    replies->size = (size_t)(at - replies->data);
}

bool prefixes_dump(struct prefixes *prefixes, struct buffer *replies) {
    pthread_mutex_lock(&prefixes->lock);
    bool whole = true;
    for (unsigned i = 0; i < prefixes->count && whole; i++) {
        whole = reply_reserve(replies, 0); /* reserves REPLY_ROOM, which is more than a line */
        if (whole) {
            prefix_put(&prefixes->prefixes[i], replies);
        }
    }
    pthread_mutex_unlock(&prefixes->lock);
    return whole;
}
