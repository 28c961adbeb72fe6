/* The index in the daemon, which is its only writer: locks, publishes and removes slots, and grows.
 *
 * A bucket's lock is its version: odd while held. The holder may change the slots of the bucket and
 * of its overflow chain, and nothing else. The lock is held for some hundred nanoseconds, and never
 * while the store waits for anything. No thread holds two locks, except the thread that splits a
 * bucket. The kernel may still stop the holder: a record is written into the mapped file under the
 * lock, and the first write to a page since the page was last written to the disk is a page fault.
 * Such a fault can last as long as the disk hangs (a full journal, too many dirty pages, a file
 * system that blocks writes to a page that is being written to the disk). Then that thread's
 * clients wait, and so do all threads that read a key of that bucket. Any thread of the daemon may
 * call.
 */
#ifndef STAYD_STORE_INDEX_H
#define STAYD_STORE_INDEX_H

#include "base/bytes.h"
#include "store/lookup.h"
#include "store/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct index {
    struct lookup_view *view; /* the pool's */

    /* private */
    int file;
    pthread_mutex_t grow_lock;     /* one split at a time; taken before any bucket's lock */
    uint64_t buckets_ready;        /* under grow_lock: buckets whose memory is allocated */
    pthread_mutex_t overflow_lock; /* the free overflow buckets; taken inside a bucket's lock */
    uint64_t overflow_ready;       /* under overflow_lock: overflow buckets, likewise */
    _Atomic uint64_t retry_ms;     /* monotonic: memory was refused; do not ask again before this */
    _Atomic bool full;             /* new keys are refused because memory was refused */
};

/* Plans the three parts of the index for a pool with `data_bytes` of segments: writes their offsets
 * and sizes into `header`. */
void index_plan(struct layout_index_header *header, uint64_t data_bytes);

/* The size of the whole mapping in bytes. Most of the mapping is never touched. */
uint64_t index_size(const struct layout_index_header *header);

/* `file` is the mapping's file: memory is allocated in the file before the mapping is touched.
 * `fresh`: the index is empty, and gets room for about `items`. False if there is not enough
 * memory. */
bool index_init(struct index *index, struct lookup_view *view, int file, bool fresh,
                uint64_t items);
void index_finish(struct index *index);

/* Prefetches the bucket of this hash, which is going to be locked. */
void index_prefetch(const struct index *index, uint64_t hash);

/* Locks the bucket of this hash; returns it. */
struct layout_bucket *index_lock(struct index *index, uint64_t hash);
void index_unlock(struct layout_bucket *bucket);

/* Under the lock: finds the slot of this key, even if its item has expired or was flushed. False if
 * there is none. */
bool index_find(struct index *index, struct layout_bucket *bucket, uint64_t hash, struct bytes key,
                struct lookup_hit *hit);

/* Under the lock: the slot that points to this location; NULL if none does. */
_Atomic uint64_t *index_find_location(struct index *index, struct layout_bucket *bucket,
                                      uint64_t location);

/* Under the lock: an empty slot of this bucket's chain; appends an overflow bucket to the chain if
 * all are full. NULL if the index cannot grow. */
_Atomic uint64_t *index_free_slot(struct index *index, struct layout_bucket *bucket);

/* Under the lock: fills a slot that index_free_slot has found. */
void index_fill_slot(struct index *index, _Atomic uint64_t *free_slot, uint64_t slot);

/* Under the lock: adds a slot. False if the index cannot grow. */
bool index_insert(struct index *index, struct layout_bucket *bucket, uint64_t slot);

/* Under the lock: empties a slot of this bucket's chain. */
void index_remove(struct index *index, struct layout_bucket *bucket, _Atomic uint64_t *slot);

/* Splits buckets until the average is at most INDEX_LOAD (index.c) items per bucket. Called after
 * inserts, without a lock. */
void index_grow(struct index *index);

/* Logs that a new key was refused: once, until there is room again. */
void index_note_refused(struct index *index, const struct pool_options *options);

/* If new keys are being refused: checks whether there is room again. Called by the janitor. */
void index_look_for_room(struct index *index, const struct pool_options *options);

static inline bool index_is_full(const struct index *index) {
    return atomic_load_explicit(&index->full, memory_order_relaxed); /* a flag for people */
}

/* Bytes of the index in use. */
uint64_t index_used_bytes(const struct index *index);

#endif
