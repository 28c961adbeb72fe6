#include "net/budget.h"

#include "base/clock.h"
#include "net/share.h"

enum { BUDGET_WARN_MS = 10000 };

/* All relaxed: counters do not order other memory. */
static void budget_add(_Atomic uint64_t *counter, uint64_t bytes) {
    atomic_fetch_add_explicit(counter, bytes, memory_order_relaxed);
}

static void budget_subtract(_Atomic uint64_t *counter, uint64_t bytes) {
    atomic_fetch_sub_explicit(counter, bytes, memory_order_relaxed);
}

bool budget_reserve(struct proto_service *service, unsigned kind, struct buffer *buffer,
                    size_t more) {
    struct proto_memory *memory = &service->server->limits.memory;
    if (more <= buffer->capacity - buffer->size) {
        return true;
    }
    size_t before = buffer->capacity;
    size_t after = buffer_exact_capacity(buffer->size + more);
    bool small = after <= BUDGET_SMALL_BYTES;
    bool taken = share_take(&memory->bytes, &service->memory, after - before, small);
    if (!taken || !buffer_reserve_exact(buffer, more)) {
        if (taken) {
            share_give(&memory->bytes, &service->memory, after - before);
        }
        return false;
    }
    budget_add(&memory->kinds[kind].bytes, after - before);
    budget_add(&memory->kinds[kind].buffers, before == 0);
    return true;
}

void budget_count_refused(struct proto_memory *memory, unsigned kind) {
    budget_add(&memory->kinds[kind].refused, 1);
}

bool budget_append(struct proto_service *service, unsigned kind, struct buffer *buffer,
                   const void *data, size_t size) {
    return budget_reserve(service, kind, buffer, size) && buffer_append(buffer, data, size);
}

bool budget_may_warn(struct proto_memory *memory) {
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t last_ms = atomic_load_explicit(&memory->warned_ms, memory_order_relaxed);
    return (last_ms == 0 || now_ms - last_ms >= BUDGET_WARN_MS) &&
           atomic_compare_exchange_strong_explicit(&memory->warned_ms, &last_ms, now_ms,
                                                   memory_order_relaxed, memory_order_relaxed);
}

void budget_release(struct proto_service *service, unsigned kind, struct buffer *buffer) {
    struct proto_memory *memory = &service->server->limits.memory;
    if (buffer->capacity == 0) {
        return;
    }
    share_give(&memory->bytes, &service->memory, buffer->capacity);
    budget_subtract(&memory->kinds[kind].bytes, buffer->capacity);
    budget_subtract(&memory->kinds[kind].buffers, 1);
    buffer_finish(buffer);
}
