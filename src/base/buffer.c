#include "base/buffer.h"

#include "base/number.h"

#include <assert.h>
#include <stdlib.h>

enum { BUFFER_CAPACITY_MIN = 512 };

void buffer_finish(struct buffer *buffer) {
    free(buffer->data);
    *buffer = (struct buffer){0};
}

static bool buffer_resize(struct buffer *buffer, size_t capacity) {
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

bool buffer_reserve(struct buffer *buffer, size_t more) {
    if (more <= buffer->capacity - buffer->size) {
        return true;
    }
    size_t needed;
    if (__builtin_add_overflow(buffer->size, more, &needed)) {
        return false;
    }
    size_t capacity =
        buffer->capacity < BUFFER_CAPACITY_MIN ? BUFFER_CAPACITY_MIN : buffer->capacity;
    while (capacity < needed) {
        if (__builtin_mul_overflow(capacity, 2U, &capacity)) {
            return false;
        }
    }
    return buffer_resize(buffer, capacity);
}

size_t buffer_exact_capacity(size_t size) {
    return (size + BUFFER_CAPACITY_MIN - 1) & ~(size_t)(BUFFER_CAPACITY_MIN - 1);
}

bool buffer_reserve_exact(struct buffer *buffer, size_t more) {
    size_t needed;
    if (__builtin_add_overflow(buffer->size, more, &needed) ||
        needed > SIZE_MAX - BUFFER_CAPACITY_MIN) {
        return false;
    }
    return needed <= buffer->capacity || buffer_resize(buffer, buffer_exact_capacity(needed));
}

bool buffer_append(struct buffer *buffer, const void *data, size_t size) {
    if (!buffer_reserve(buffer, size)) {
        return false;
    }
    if (size > 0) {
        memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
    }
    return true;
}

bool buffer_append_u64(struct buffer *buffer, uint64_t number) {
    if (!buffer_reserve(buffer, NUMBER_DIGITS_MAX)) {
        return false;
    }
    buffer->size += number_format_u64(number, buffer->data + buffer->size);
    return true;
}

void buffer_consume(struct buffer *buffer, size_t size) {
    assert(size <= buffer->size);
    if (size > 0) {
        memmove(buffer->data, buffer->data + size, buffer->size - size);
        buffer->size -= size;
    }
}
