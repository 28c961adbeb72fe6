#include "proto/line.h"

#include "proto/expiry.h"
#include "store/pool.h"

/* For each byte of `word` that is below 33 or is 127, sets the byte's high bit. Bytes above the
 * lowest such byte may be marked wrongly, so only the lowest mark is valid. */
static uint64_t line_mark_stops(uint64_t word) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t highs = UINT64_C(0x8080808080808080);
    uint64_t deletes = word ^ (ones * 127);
    return (((word - ones * 33) & ~word) | ((deletes - ones) & ~deletes)) & highs;
}

/* The first byte from `at` on that is not allowed in a key; `end` if there is none. */
static const char *line_find_stop(const char *at, const char *end) {
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        uint64_t marks = line_mark_stops(word);
        if (marks != 0) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return at + __builtin_ctzll(marks) / 8;
#else
            break; /* the lowest mark is not the first byte, so search byte by byte */
#endif
        }
        at += 8;
    }
    while (at < end && (unsigned char)*at > ' ' && *at != 127) {
        at++;
    }
    return at;
}

struct bytes line_last(struct line *line, struct bytes last) {
    struct bytes word;
    while (line_next(line, &word)) {
        last = word;
    }
    return last;
}

enum line_key line_next_key(struct line *line, struct bytes *key) {
    const char *at = line->at;
    while (at < line->end && *at == ' ') {
        at++;
    }
    const char *start = at;
    at = line_find_stop(at, line->end);
    bool clean = at == line->end || *at == ' ';
    while (!clean && at < line->end && *at != ' ') {
        at++;
    }
    line->at = at;
    *key = bytes_from(start, (size_t)(at - start));
    if (key->size == 0) {
        return LINE_KEY_NONE;
    }
    return clean && key->size <= POOL_KEY_MAX ? LINE_KEY_GOOD : LINE_KEY_BAD;
}

/* The characters of isspace other than the space. memcached's strtol and its callers skip them
 * before and after the digits. */
static bool word_is_space(char byte) {
    return byte >= '\t' && byte <= '\r';
}

/* Reads a sign and a magnitude below 2^64. */
static bool word_number(struct bytes word, bool *negative, uint64_t *magnitude) {
    const char *at = word.data;
    const char *end = word.data + word.size;
    while (at < end && word_is_space(*at)) {
        at++;
    }
    *negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) {
        at++;
    }
    const char *digits = at;
    uint64_t number = 0;
    for (; at < end; at++) {
        unsigned digit = (unsigned)(unsigned char)*at - '0';
        if (digit > 9) {
            break;
        }
        if (__builtin_mul_overflow(number, 10U, &number) ||
            __builtin_add_overflow(number, digit, &number)) {
            return false;
        }
    }
    *magnitude = number;
    return at > digits && (at == end || word_is_space(*at));
}

bool word_u64(struct bytes word, uint64_t *number) {
    bool negative;
    return word_number(word, &negative, number) && (!negative || *number == 0);
}

bool word_flags(struct bytes word, uint32_t *flags) {
    uint64_t number;
    if (!word_u64(word, &number)) {
        return false;
    }
    *flags = (uint32_t)(number & UINT32_MAX);
    return true;
}

bool word_length(struct bytes word, uint32_t *length) {
    uint64_t number;
    if (!word_u64(word, &number) || number > VALUE_BYTES_MAX) {
        return false;
    }
    *length = (uint32_t)number;
    return true;
}

bool word_expiry(struct bytes word, uint32_t now_s, uint32_t *expiry_s) {
    bool negative;
    uint64_t number;
    if (!word_number(word, &negative, &number) || number > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    /* negative: 1970, which is in the past, and not 0, which means never */
    *expiry_s = negative && number > 0 ? 1 : expiry_of_exptime(number, now_s);
    return true;
}
