/* How long requests take: for each pool and each kind of command a histogram of the time from the
 * read of its line to the end of its reply, inside the daemon. Waiting for the network, for room
 * and for the disk is not in it.
 *
 * One request in LATENCY_EVERY of each connection is measured, the first one included, so that the
 * others do not pay for looks at the clock.
 *
 *     bucket   0         1         2       ...      23        24
 *     ns       <= 128    <= 256    <= 512           <= 2^30   more
 *
 * Any thread may call. */
#ifndef STAYD_PROTO_LATENCY_H
#define STAYD_PROTO_LATENCY_H

#include <stdatomic.h>
#include <stdint.h>

enum { LATENCY_EVERY = UINT8_MAX + 1, LATENCY_BUCKETS = 25, LATENCY_FIRST_BITS = 7 };

enum latency_command {
    LATENCY_GET,   /* get, gets, mg, and the binary protocol's */
    LATENCY_TOUCH, /* touch, gat, gats */
    LATENCY_SET,   /* set, add, replace, append, prepend, cas, ms */
    LATENCY_DELETE,
    LATENCY_ARITHMETIC, /* incr, decr, ma */
    LATENCY_OTHER,
    LATENCY_COMMANDS
};

struct latency {
    _Atomic uint64_t buckets[LATENCY_COMMANDS][LATENCY_BUCKETS];
    _Atomic uint64_t sum_ns[LATENCY_COMMANDS];
};

void latency_add(struct latency *latency, enum latency_command command, uint64_t duration_ns);

/* The largest duration that the bucket counts; UINT64_MAX for the last one. */
uint64_t latency_get_limit_ns(unsigned bucket);

/* "get", "touch", ... */
const char *latency_get_name(enum latency_command command);

#endif
