/* A reference to bytes that have another owner: a key in a request, a value in a segment. Not
 * terminated by a zero. */
#ifndef STAYD_BASE_BYTES_H
#define STAYD_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct bytes {
    const char *data;
    size_t size;
};

static inline struct bytes bytes_from(const char *data, size_t size) {
    return (struct bytes){data, size};
}

static inline struct bytes bytes_from_string(const char *string) {
    return (struct bytes){string, strlen(string)};
}

static inline bool bytes_equal(struct bytes a, struct bytes b) {
    /* An empty reference may have a null pointer, which memcmp does not allow. */
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
