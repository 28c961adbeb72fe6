#include "net/budget.h"

#include "base/clock.h"

enum { BUDGET_WARN_MS = 10000 };

/* All relaxed: numbers that order nothing. The sum is exact all the same, because a thread adds
 * what it wants before it looks whether that was too much. */
static uint64_t budget_add(_Atomic uint64_t *counter, uint64_t bytes) {
    return atomic_fetch_add_explicit(counter, bytes, memory_order_relaxed) + bytes;
}

static void budget_subtract(_Atomic uint64_t *counter, uint64_t bytes) {
    atomic_fetch_sub_explicit(counter, bytes, memory_order_relaxed);
}

bool budget_reserve(struct proto_memory *memory, unsigned kind, struct buffer *buffer,
                    size_t more) {
    if (more <= buffer->capacity - buffer->size) {
        return true;
    }
    size_t before = buffer->capacity;
    size_t after = buffer_exact_capacity(buffer->size + more);
    uint64_t used = budget_add(&memory->used_bytes, after - before);
    if ((used > memory->limit_bytes && after > BUDGET_SMALL_BYTES) ||
        !buffer_reserve_exact(buffer, more)) {
        budget_subtract(&memory->used_bytes, after - before);
        budget_add(&memory->kinds[kind].refused, 1);
        return false;
    }
    budget_add(&memory->kinds[kind].bytes, after - before);
    budget_add(&memory->kinds[kind].buffers, before == 0);
    return true;
}

bool budget_append(struct proto_memory *memory, unsigned kind, struct buffer *buffer,
                   const void *data, size_t size) {
    return budget_reserve(memory, kind, buffer, size) && buffer_append(buffer, data, size);
}

bool budget_may_warn(struct proto_memory *memory) {
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t last_ms = atomic_load_explicit(&memory->warned_ms, memory_order_relaxed);
    return (last_ms == 0 || now_ms - last_ms >= BUDGET_WARN_MS) &&
           atomic_compare_exchange_strong_explicit(&memory->warned_ms, &last_ms, now_ms,
                                                   memory_order_relaxed, memory_order_relaxed);
}

void budget_release(struct proto_memory *memory, unsigned kind, struct buffer *buffer) {
    if (buffer->capacity == 0) {
        return;
    }
    budget_subtract(&memory->used_bytes, buffer->capacity);
    budget_subtract(&memory->kinds[kind].bytes, buffer->capacity);
    budget_subtract(&memory->kinds[kind].buffers, 1);
    buffer_finish(buffer);
}
