#include "latency.h"

/* Values below 2 * LATENCY_STEPS have a slot each. For a greater value, the position of its highest
 * bit chooses a run of LATENCY_STEPS slots, and the next LATENCY_STEP_BITS bits choose the slot in
 * that run. */
static unsigned slot_of(uint64_t nanoseconds) {
    if (nanoseconds < 2 * LATENCY_STEPS) {
        return (unsigned)nanoseconds;
    }
    unsigned highest_bit = 63 - (unsigned)__builtin_clzll(nanoseconds);
    unsigned shift = highest_bit - LATENCY_STEP_BITS;
    return shift * LATENCY_STEPS + (unsigned)(nanoseconds >> shift);
}

static uint64_t slot_last_value(unsigned slot) {
    if (slot < 2 * LATENCY_STEPS) {
        return slot;
    }
    unsigned shift = slot / LATENCY_STEPS - 1;
    uint64_t leading = slot - shift * LATENCY_STEPS;
    return ((leading + 1) << shift) - 1;
}

void latency_record(struct latency *latency, uint64_t nanoseconds) {
    latency->counts[slot_of(nanoseconds)]++;
    latency->total++;
}

uint64_t latency_percentile(const struct latency *latency, double share) {
    uint64_t wanted = (uint64_t)(share * (double)latency->total + 0.5);
    uint64_t seen = 0;
    for (unsigned slot = 0; slot < LATENCY_SLOTS; slot++) {
        seen += latency->counts[slot];
        if (seen > 0 && seen >= wanted) {
            return slot_last_value(slot);
        }
    }
    return 0;
}
