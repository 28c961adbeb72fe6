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

/* The counters of the daemon and of one pool's watchers and dumps that `stats reset` sets to zero
 * (totals.h). */
enum proto_total {
    PROTO_TOTAL_CONNECTIONS,
    PROTO_TOTAL_CONNECTIONS_REJECTED,
    PROTO_TOTAL_BYTES_READ,
    PROTO_TOTAL_BYTES_WRITTEN,
    PROTO_TOTAL_IDLE_KICKS,
    PROTO_TOTAL_YIELDS,
    PROTO_TOTAL_INPUTS_REFUSED,
    PROTO_TOTAL_OUTPUTS_REFUSED,
    PROTO_TOTAL_HANDSHAKE_ERRORS,
    PROTO_TOTAL_NEW_SESSIONS,
    PROTO_TOTAL_RESUMED_SESSIONS,
    PROTO_TOTAL_CRAWLS,
    PROTO_TOTAL_LINES_SENT,
    PROTO_TOTAL_LINES_SKIPPED,
    PROTO_TOTALS
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
