/* A histogram of latencies: 64 linear steps to each power of two of nanoseconds, so that a
 * percentile is at most 1.6 % above the value that was recorded. Recording is an increment; nothing
 * is allocated.
 *
 * One thread; a zeroed struct is an empty histogram. */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

enum {
    LATENCY_STEP_BITS = 6,
    LATENCY_STEPS = 1 << LATENCY_STEP_BITS,
    LATENCY_SLOTS = (64 - LATENCY_STEP_BITS + 1) * LATENCY_STEPS,
};

struct latency {
    uint64_t counts[LATENCY_SLOTS];
    uint64_t total;
};

void latency_record(struct latency *latency, uint64_t nanoseconds);

/* The latency in nanoseconds that a `share` (0.0 to 1.0) of the recorded latencies do not exceed; 0
 * if none was recorded. */
uint64_t latency_percentile(const struct latency *latency, double share);

#endif
