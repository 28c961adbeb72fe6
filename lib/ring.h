/* Chooses the server of a key, with the same result as other clients, so that all clients find the
 * same keys on the same servers. tests/unit/vectors has the results of libmemcached and pymemcache.
 *
 *     ketama       each server has points on a ring of 2^32; a key belongs to the next point
 *     rendezvous   each server has a score for the key; the highest has it
 *     modula       the key's hash modulo the number of servers
 *
 * Does not change after ring_init; any thread may call. */
#ifndef STAYD_LIB_RING_H
#define STAYD_LIB_RING_H

#include "base/bytes.h"
#include "url.h"

#include <stdbool.h>
#include <stdint.h>

struct ring_point {
    uint32_t value;
    uint32_t server;
};

struct ring {
    enum stayd_distribution distribution;
    unsigned server_count;
    struct ring_point *points; /* ketama: sorted by value */
    size_t point_count;
    char (*names)[URL_HOST_MAX + 16]; /* rendezvous: the servers' names in pymemcache */
};

/* False if memory is short; the ring is then finished. */
bool ring_init(struct ring *ring, enum stayd_distribution distribution, const struct url *urls,
               unsigned count);

/* Accepts a zeroed ring. */
void ring_finish(struct ring *ring);

/* The key's server among those for which `left_out` is false. If all are left out, `left_out` is
 * ignored. `left_out` may be NULL. */
unsigned ring_find(const struct ring *ring, struct bytes key, const bool *left_out);

#endif
