/* A walk through all items of a pool, in steps, while other threads write: for dumps and
 * histograms.
 *
 *     buckets:  | 0 | 1 | 2 | 3 | ... | count - 1 | <- a split adds one here
 *                 ->  next_bucket
 *
 * A step reads one whole bucket, at one version. The index only grows, one bucket at a time, and a
 * split moves items only to the new bucket, which has the highest number. So a scan in ascending
 * order misses no item that exists during the whole scan: it finds the item in its bucket, or later
 * in the new bucket. A scan may visit an item twice, if the item's bucket was split after the scan
 * had passed it. An item that is stored or deleted during the scan may be visited or not.
 *
 * Any thread with a store_thread may scan. A scan takes no lock, and keeps no pointers between two
 * steps.
 */
#ifndef STAYD_STORE_SCAN_H
#define STAYD_STORE_SCAN_H

#include "store/pool.h"

struct pool_scanned {
    struct item item;
    uint32_t record_bytes; /* what the item takes in its segment */
    unsigned ttl_class;    /* below POOL_TTL_CLASSES */
};

/* The TTL class of an item that was looked up, while the item is valid. POOL_TTL_CLASSES: the item
 * is not stored. */
unsigned pool_get_item_class(const struct pool *pool, const struct item *item);

typedef void pool_scan_visitor(void *context, const struct pool_scanned *scanned);

/* Visits the items of one bucket that a client can see, usually about 5. `*next_bucket` begins at
 * 0. OK: there may be more; END: that was the last bucket; NO_MEMORY: no memory for a long overflow
 * chain, no item was visited. Does not count as a read of the items. */
enum status pool_scan(struct pool *pool, struct store_thread *thread, uint64_t *next_bucket,
                      pool_scan_visitor *visit, void *context);

/* The pool's janitor calls `notify` for each item that it evicts. The janitor holds no lock, and
 * the item is valid until `notify` returns. `notify` must not block or call the pool. Set at most
 * once for each pool. */
typedef void pool_eviction_notify(void *context, const struct pool_scanned *evicted,
                                  uint32_t now_s);
void pool_set_eviction_notify(struct pool *pool, pool_eviction_notify *notify, void *context);

/* Looks up an item as pool_get does, but does not count as a read, neither in the item nor in the
 * pool's counters. OK or NOT_FOUND. */
enum status pool_peek(struct pool *pool, struct store_thread *thread, struct bytes key,
                      struct pool_scanned *scanned);

#endif
