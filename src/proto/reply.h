/* Writes replies. REPLY_ROOM bytes are reserved before each request, so that only replies with
 * items or statistics have to reserve more. */
#ifndef STAYD_PROTO_REPLY_H
#define STAYD_PROTO_REPLY_H

#include "base/number.h"
#include "proto/request.h"

#include <assert.h>

enum { REPLY_ROOM = 1024 };

#define REPLY_ERROR "ERROR\r\n"
#define REPLY_BAD_LINE "CLIENT_ERROR bad command line format\r\n"
#define REPLY_LINE_TOO_LONG                                                                        \
    "CLIENT_ERROR line too long\r\n" /* stayd's own: memcached sends nothing */
#define REPLY_BAD_CHUNK "CLIENT_ERROR bad data chunk\r\n"
#define REPLY_BAD_EXPTIME "CLIENT_ERROR invalid exptime argument\r\n"
#define REPLY_NON_NUMERIC "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
#define REPLY_TOO_LARGE "SERVER_ERROR object too large for cache\r\n"
#define REPLY_NO_MEMORY "SERVER_ERROR out of memory storing object\r\n"
#define REPLY_NO_MEMORY_READING "SERVER_ERROR out of memory reading request\r\n"
#define REPLY_NO_MEMORY_TO_COUNT "SERVER_ERROR out of memory\r\n" /* memcached's reply for incr */
/* stayd's own: memcached has no such state. A pool refuses writes once its file has failed. */
#define REPLY_READ_ONLY "SERVER_ERROR pool is read-only\r\n"
/* stayd's own too: a persistent pool keeps its index in run_dir. */
#define REPLY_INDEX_FULL "SERVER_ERROR no room for the index in run_dir\r\n"
/* stayd's own too, of clustered pools. */
#define REPLY_UNAVAILABLE "SERVER_ERROR replication unavailable\r\n"
#define REPLY_UNSUPPORTED "SERVER_ERROR not possible in a clustered pool\r\n"
#define REPLY_NOT_FOUND "NOT_FOUND\r\n"
#define REPLY_UNAUTHENTICATED "CLIENT_ERROR unauthenticated\r\n"

/* Reserves `more` bytes and REPLY_ROOM after them. False if memory is short. */
static inline bool reply_reserve(struct buffer *replies, size_t more) {
    size_t needed = more + REPLY_ROOM;
    return replies->capacity - replies->size >= needed || buffer_reserve(replies, needed);
}

/* The caller of this function and of those below has reserved the room. */
static inline void reply_bytes(struct buffer *replies, const void *data, size_t size) {
    assert(replies->capacity - replies->size >= size);
    memcpy(replies->data + replies->size, data, size);
    replies->size += size;
}

/* Appends a complete reply with its line end, unless the request has noreply. */
static inline void reply_text(struct request *request, const char *text) {
    if (!request->noreply) {
        reply_bytes(request->replies, text, strlen(text));
    }
}

static inline char *reply_put(char *at, const void *data, size_t size) {
    memcpy(at, data, size);
    return at + size;
}

static inline char *reply_put_text(char *at, const char *text) {
    return reply_put(at, text, strlen(text));
}

/* Fast for small numbers, because most numbers in replies are lengths and flags. */
static inline char *reply_put_number(char *at, uint64_t number) {
    if (number < 10) {
        *at = (char)('0' + number);
        return at + 1;
    }
    if (number < 1000) {
        unsigned small = (unsigned)number;
        if (small >= 100) {
            *at++ = (char)('0' + small / 100);
        }
        *at++ = (char)('0' + small / 10 % 10);
        *at++ = (char)('0' + small % 10);
        return at;
    }
    return at + number_format_u64(number, at);
}

/* The reply to a change that the pool could not carry out; the same for all commands. */
static inline const char *reply_of_failure(enum status status) {
    switch (status) {
    case STATUS_TOO_LARGE:
        return REPLY_TOO_LARGE;
    case STATUS_READ_ONLY:
        return REPLY_READ_ONLY;
    case STATUS_INDEX_FULL:
        return REPLY_INDEX_FULL;
    case STATUS_UNAVAILABLE:
        return REPLY_UNAVAILABLE;
    case STATUS_UNSUPPORTED:
        return REPLY_UNSUPPORTED;
    default:
        return REPLY_NO_MEMORY;
    }
}

/* For incr, decr and ma, which have two more replies. */
static inline const char *reply_of_failed_arithmetic(enum status status) {
    switch (status) {
    case STATUS_NON_NUMERIC:
        return REPLY_NON_NUMERIC;
    case STATUS_NO_MEMORY:
        return REPLY_NO_MEMORY_TO_COUNT;
    default:
        return reply_of_failure(status);
    }
}

#endif
