/* Counts in the counters that pool.h declares (pool_stats.c adds them up). Each thread counts in
 * its own shard. */
#ifndef STAYD_STORE_POOL_COUNTERS_H
#define STAYD_STORE_POOL_COUNTERS_H

#include "store/pool_private.h"

static inline unsigned pool_janitor_shard(const struct pool *pool) {
    return grace_threads(pool->grace);
}

/* Only the shard's own thread writes the counter, so no read-modify-write is needed. */
static inline void pool_add_to(_Atomic uint64_t *value, uint64_t count) {
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + count,
                          memory_order_relaxed);
}

static inline void pool_add(struct pool *pool, unsigned shard, enum pool_counter counter,
                            uint64_t count) {
    pool_add_to(&pool->shards[shard].counters[counter], count);
}

/* Adds 1 to a counter of the TTL class of the item that the thread changed last. */
static inline void pool_count_class(struct pool *pool, const struct store_thread *thread,
                                    enum pool_class_counter counter) {
    pool_add_to(&pool->shards[thread->index].class_counters[thread->ttl_class][counter], 1);
}

#endif
