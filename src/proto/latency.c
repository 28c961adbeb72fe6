#include "proto/latency.h"

static unsigned latency_bucket(uint64_t duration_ns) {
    if (duration_ns <= UINT64_C(1) << LATENCY_FIRST_BITS) {
        return 0;
    }
    unsigned bits = 64 - (unsigned)__builtin_clzll(duration_ns - 1);
    unsigned bucket = bits - LATENCY_FIRST_BITS;
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* Relaxed: no other memory depends on a counter. */
void latency_add(struct latency *latency, enum latency_command command, uint64_t duration_ns) {
    atomic_fetch_add_explicit(&latency->buckets[command][latency_bucket(duration_ns)], 1,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&latency->sum_ns[command], duration_ns, memory_order_relaxed);
}

uint64_t latency_get_limit_ns(unsigned bucket) {
    return bucket + 1 < LATENCY_BUCKETS ? UINT64_C(1) << (LATENCY_FIRST_BITS + bucket) : UINT64_MAX;
}

const char *latency_get_name(enum latency_command command) {
    static const char *const names[LATENCY_COMMANDS] = {
        [LATENCY_GET] = "get",       [LATENCY_TOUCH] = "touch",           [LATENCY_SET] = "set",
        [LATENCY_DELETE] = "delete", [LATENCY_ARITHMETIC] = "arithmetic", [LATENCY_OTHER] = "other",
    };
    return names[command];
}
