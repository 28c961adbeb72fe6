/* The connections and the memory that the clients of all pools share: limits and use. The limits
 * are set before the first connection. net/ keeps account of the use (net/share.h, net/budget.h);
 * any thread may read. */
#ifndef STAYD_PROTO_LIMITS_H
#define STAYD_PROTO_LIMITS_H

#include <stdatomic.h>
#include <stdint.h>

/* A resource that all pools share: a part is reserved for each pool, the rest is common. */
struct proto_whole {
    uint64_t limit;
    uint64_t part;           /* reserved for each pool */
    uint64_t common;         /* reserved for no pool */
    _Atomic uint64_t used;   /* by all pools */
    _Atomic uint64_t beyond; /* the sum of what pools use beyond their parts */
};

/* One pool's use of such a resource. */
struct proto_share {
    uint64_t most; /* the pool's own limit; 0: none */
    _Atomic uint64_t used;
};

/* Memory of connections: requests that have not arrived completely, and replies that clients have
 * not read. */
enum { PROTO_MEMORY_INPUT, PROTO_MEMORY_OUTPUT, PROTO_MEMORY_KINDS };

struct proto_memory {
    struct proto_whole bytes;   /* of both kinds */
    _Atomic uint64_t warned_ms; /* the time of the last warning about a refusal; 0: none yet */
    struct {
        _Atomic uint64_t bytes;
        _Atomic uint64_t buffers;
        _Atomic uint64_t refused; /* connections closed for lack of this memory */
    } kinds[PROTO_MEMORY_KINDS];
};

struct proto_limits {
    struct proto_whole connections; /* open now */
    struct proto_memory memory;
    unsigned backlog;           /* of connections that wait for accept */
    uint32_t requests_per_turn; /* of one connection, before others have their turn */
    uint32_t connection_idle_s; /* closes a client that has sent nothing for so long; 0: never */
};

#endif
