/* The words of one request line, read in place and in order: nothing is copied, nothing is kept.
 *
 *     set key 0 300 5 noreply\r\n
 *         ^at                ^end      words are separated by spaces, and by nothing else
 *
 * How numbers are read is memcached's way, as clients know it: "+5", "007" and "5<TAB>x" are
 * numbers, "5x" and "0x5" are none. Where memcached would silently cut off the high bits of a
 * length or an expiry, this refuses or keeps them.
 */
#ifndef STAYD_PROTO_LINE_H
#define STAYD_PROTO_LINE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    /* Bytes without the line end. A retrieval with more is answered key by key as it comes
     * (retrieval.h); any other line with more ends the connection. memcached's limit too. */
    REQUEST_LINE_MAX = 2048,
    VALUE_BYTES_MAX = INT32_MAX - 2 /* memcached's: value and line end count in an int */
};

struct line {
    const char *at;
    const char *end;
};

/* False when there is no further word. */
static inline bool line_next(struct line *line, struct bytes *word) {
    const char *at = line->at;
    while (at < line->end && *at == ' ') {
        at++;
    }
    const char *start = at;
    while (at < line->end && *at != ' ') {
        at++;
    }
    line->at = at;
    *word = bytes_from(start, (size_t)(at - start));
    return at > start;
}

enum line_key {
    LINE_KEY_NONE, /* no further word */
    LINE_KEY_GOOD,
    LINE_KEY_BAD, /* too long, or with a control character: read, and to be refused */
};

/* A word that is to be a key: 1 to POOL_KEY_MAX bytes, none of them a control character
 * (protocol.txt; memcached itself does not look for those). */
enum line_key line_next_key(struct line *line, struct bytes *key);

static inline bool word_is(struct bytes word, const char *text) {
    size_t size = strlen(text);
    return word.size == size && memcmp(word.data, text, size) == 0;
}

/* Each of these is false for what is no number, or none in its range. */
bool word_u64(struct bytes word, uint64_t *number);

/* Client flags: of a number above 2^32-1 the low 32 bits, as memcached has it. */
bool word_flags(struct bytes word, uint32_t *flags);

/* The length of a value: 0 to VALUE_BYTES_MAX. */
bool word_length(struct bytes word, uint32_t *length);

/* An exptime as unix seconds, 0 for never. Up to 30 days it counts from `now_s`; a negative one has
 * passed. A date beyond 2106, where 32 bits end, becomes the last one that fits. */
bool word_expiry(struct bytes word, uint32_t now_s, uint32_t *expiry_s);

#endif
