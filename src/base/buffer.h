/* A growing run of bytes in one piece: replies on their way out, requests that have not wholly
 * arrived. The owner says how large it may become; a caller that passes that limit is refused,
 * never served with unbounded memory. Not shared between threads. */
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

/* A zeroed struct is an empty buffer. Accepts that, and a finished one. */
void buffer_finish(struct buffer *buffer);

/* Makes room for `more` bytes behind the used ones. False when memory is short: nothing changed. */
bool buffer_reserve(struct buffer *buffer, size_t more);

/* The same, with no more room than that, but for a rounding up: for large pieces whose size is
 * known. */
bool buffer_reserve_exact(struct buffer *buffer, size_t more);

/* What buffer_reserve_exact allocates for `size` bytes in all. */
size_t buffer_exact_capacity(size_t size);

/* Copies to the end. The caller has reserved, or takes false as "out of memory". */
bool buffer_append(struct buffer *buffer, const void *data, size_t size);

bool buffer_append_u64(struct buffer *buffer, uint64_t number);

/* Drops `size` bytes at the front, moving the rest there. */
void buffer_consume(struct buffer *buffer, size_t size);

static inline bool buffer_append_string(struct buffer *buffer, const char *string) {
    return buffer_append(buffer, string, strlen(string));
}

#endif
