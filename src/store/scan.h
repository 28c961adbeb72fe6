/* A walk through all items of a pool, in steps, while everything changes: for dumps and histograms.
 *
 *     buckets:  | 0 | 1 | 2 | 3 | ... | count - 1 | <- a split adds one here
 *                 ->  next_bucket
 *
 * A bucket is taken as a whole, under one version of it. The index only grows, one bucket at a
 * time, and what a split moves goes from a bucket to a new one with a higher number. So a scan in
 * ascending order misses no item that is there all the time: it meets it where it is, or later in
 * the new bucket. It may meet an item twice, if its bucket was split after the scan had passed. An
 * item that comes or goes meanwhile may be met or not.
 *
 * Any thread with a store_thread may scan; nothing is locked, and between two steps nothing is
 * held.
 */
#ifndef STAYD_STORE_SCAN_H
#define STAYD_STORE_SCAN_H

#include "store/pool.h"

struct pool_scanned {
    struct item item;
    uint32_t record_bytes; /* all that it takes in its segment */
    unsigned ttl_class;    /* below POOL_TTL_CLASSES */
};

/* The class of an item that was looked up, while it is valid; POOL_TTL_CLASSES: it is not stored.
 */
unsigned pool_get_item_class(const struct pool *pool, const struct item *item);

typedef void pool_scan_visitor(void *context, const struct pool_scanned *scanned);

/* Visits the items of one bucket that a client can see; some 5 as a rule. `*next_bucket` begins at
 * 0. OK: there may be more; END: that was all; NO_MEMORY: a chain was too long, nothing was
 * visited. Leaves no trace in the items. */
enum status pool_scan(struct pool *pool, struct store_thread *thread, uint64_t *next_bucket,
                      pool_scan_visitor *visit, void *context);

/* `notify` is called for each item that is evicted, by the pool's janitor, which holds no lock; the
 * item is valid while it runs. It must not block, nor call the pool. Once a pool, and for as long
 * as it is open. */
typedef void pool_eviction_notify(void *context, const struct pool_scanned *evicted,
                                  uint32_t now_s);
void pool_set_eviction_notify(struct pool *pool, pool_eviction_notify *notify, void *context);

/* Looks one item up as pool_get does, and leaves no trace: not in it, nor in the counters. OK or
 * NOT_FOUND. */
enum status pool_peek(struct pool *pool, struct store_thread *thread, struct bytes key,
                      struct pool_scanned *scanned);

#endif
