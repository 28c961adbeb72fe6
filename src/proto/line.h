/* The words of one request line, read in place and in order. Nothing is copied or stored.
 *
 *     set key 0 300 5 noreply\r\n
 *         ^at                ^end      words are separated by spaces, and by nothing else
 *
 * Numbers are read as memcached reads them: "+5", "007" and "5<TAB>x" are numbers, "5x" and "0x5"
 * are not. Where memcached would cut off the high bits of a length or an expiry, stayd refuses the
 * number or keeps all of it. */
#ifndef STAYD_PROTO_LINE_H
#define STAYD_PROTO_LINE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    /* In bytes, without the line end; memcached's limit too. A longer retrieval is answered key by
     * key as it arrives (retrieval.h). Any other longer line closes the connection. */
    REQUEST_LINE_MAX = 2048,
    VALUE_BYTES_MAX = INT32_MAX - 2 /* memcached's limit: value and line end must fit an int */
};

struct line {
    const char *at;
    const char *end;
};

/* Reads the next word. False if there is none. */
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

/* Reads all further words. Returns the last one; `last` if there is none. */
struct bytes line_last(struct line *line, struct bytes last);

enum line_key {
    LINE_KEY_NONE, /* no further word */
    LINE_KEY_GOOD,
    LINE_KEY_BAD, /* too long, or with a control character: the word has been read and must be
                   * refused */
};

/* Reads the next word as a key: 1 to POOL_KEY_MAX bytes without control characters (protocol.txt;
 * memcached itself does not check for them). */
enum line_key line_next_key(struct line *line, struct bytes *key);

static inline bool word_is(struct bytes word, const char *text) {
    size_t size = strlen(text);
    return word.size == size && memcmp(word.data, text, size) == 0;
}

/* These functions return false if the word is not a number or the number is out of range. */
bool word_u64(struct bytes word, uint64_t *number);

/* Client flags. Of a number above 2^32-1 the low 32 bits are used, as in memcached. */
bool word_flags(struct bytes word, uint32_t *flags);

/* The length of a value: 0 to VALUE_BYTES_MAX. */
bool word_length(struct bytes word, uint32_t *length);

/* An exptime as unix seconds; 0: never. Up to 30 days it is relative to `now_s`; a negative one is
 * in the past. A date after 2106, where 32 bits end, becomes the last date that fits. */
bool word_expiry(struct bytes word, uint32_t now_s, uint32_t *expiry_s);

#endif
