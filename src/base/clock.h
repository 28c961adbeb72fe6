/* Clocks. Expiry is in seconds of the unix clock, because it must mean the same after a restart;
 * durations (timeouts, rates) are measured by the monotonic clock, which cannot be set. The store
 * hides expired items by the unix clock, and frees their memory by the clock of
 * store/expiry_clock.h. Any thread may call these. */
#ifndef STAYD_BASE_CLOCK_H
#define STAYD_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Seconds since 1970, rounded down. 32 bits are enough until 2106. */
static inline uint32_t clock_unix_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (uint32_t)now.tv_sec;
}

/* Seconds since the system started, including the time in suspend. Cannot be set. */
static inline uint64_t clock_boot_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec;
}

static inline uint64_t clock_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Accurate to about 4 ms, and cheaper than clock_monotonic_ns. */
static inline uint64_t clock_monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

/* Accurate to the millisecond: for pauses and limits shorter than the 4 ms above. */
static inline uint64_t clock_exact_ms(void) {
    return clock_monotonic_ns() / 1000000U;
}

/* The time `after_ns` nanoseconds from now, for pthread_cond_timedwait with CLOCK_MONOTONIC. */
static inline struct timespec clock_deadline(uint64_t after_ns) {
    uint64_t until_ns = clock_monotonic_ns() + after_ns;
    return (struct timespec){.tv_sec = (time_t)(until_ns / 1000000000U),
                             .tv_nsec = (long)(until_ns % 1000000000U)};
}

#endif
