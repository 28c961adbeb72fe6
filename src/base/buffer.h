/* A growing array of bytes: for replies that are being sent, and for requests that have been
 * received in part. The owner limits the size; the buffer itself has no limit. Used by one thread
 * at a time. */
#ifndef STAYD_BASE_BUFFER_H
#define STAYD_BASE_BUFFER_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    char *data;
    size_t size;     /* bytes in use, from data[0] */
    size_t capacity; /* bytes allocated */
};

/* Frees the memory. Accepts an empty buffer (a zeroed struct), and a finished one. */
void buffer_finish(struct buffer *buffer);

/* Makes room for `more` bytes behind those in use. False if memory is short: nothing has changed.
 */
bool buffer_reserve(struct buffer *buffer, size_t more);

/* As buffer_reserve, but the capacity is only rounded up, not doubled: for large data of known
 * size. */
bool buffer_reserve_exact(struct buffer *buffer, size_t more);

/* The capacity that buffer_reserve_exact allocates for `size` bytes in all. */
size_t buffer_exact_capacity(size_t size);

/* Appends a copy of the data. False if memory is short, which cannot happen after buffer_reserve.
 */
bool buffer_append(struct buffer *buffer, const void *data, size_t size);

bool buffer_append_u64(struct buffer *buffer, uint64_t number);

/* Removes the first `size` bytes and moves the rest to the front. */
void buffer_consume(struct buffer *buffer, size_t size);

static inline bool buffer_append_string(struct buffer *buffer, const char *string) {
    return buffer_append(buffer, string, strlen(string));
}

#endif
