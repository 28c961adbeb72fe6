/* How long requests take. Each pool has a histogram for each kind of command. It counts the time
 * inside the daemon, from reading the request's line to writing the reply; not the time of waiting
 * for the network, for room or for a sync.
 *
 * Each connection's first request is measured, and then one in LATENCY_EVERY. The others need not
 * read the clock.
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
