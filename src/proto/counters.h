/* What net/ counts over all pools, for `stats` and the metrics. Only net/ writes; any thread may
 * read. All accesses are relaxed: no other memory depends on a counter. */
#ifndef STAYD_PROTO_COUNTERS_H
#define STAYD_PROTO_COUNTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct proto_counters {
    _Atomic uint64_t connections_total;
    _Atomic uint64_t connections_rejected;
    _Atomic uint64_t bytes_read;
    _Atomic uint64_t bytes_written;
    _Atomic uint64_t idle_kicks; /* connections closed by connection_idle_s (limits.h) */
    _Atomic uint64_t yields;     /* turns that ended before all requests were answered */
};

/* net/tls.h and net/handshakes.h count. */
struct proto_tls {
    bool is_enabled;                   /* some pool has a certificate */
    _Atomic uint64_t handshake_errors; /* also of clients without TLS, or that left or timed out */
    _Atomic uint64_t new_sessions;     /* full handshakes */
    _Atomic uint64_t resumed_sessions; /* handshakes with a ticket */
    _Atomic uint32_t loaded_s;         /* when certificates were read last, in unix seconds */
};

#endif
