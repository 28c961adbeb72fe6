/* The index as its one writer, the daemon, keeps it: locking, publishing and removing slots,
 * growth.
 *
 * A bucket's lock is its version: odd while held. The holder may change the slots of the bucket and
 * of its overflow chain, and nothing else. Held for some hundred nanoseconds, and never while the
 * store waits for anything; no thread holds two, but the one that splits a bucket. The system may
 * stop the holder all the same: a record is written into the mapped file under the lock, and the
 * first write to a page since it was last written to the disk is a page fault. That one can last as
 * long as the disk hangs (a full journal, too many dirty pages, a file system that lets nobody
 * write to a page under way to the disk). Then that thread's clients wait, and so do all threads
 * that read a key of that bucket. Any thread of the daemon may call.
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
    uint64_t overflow_ready;       /* under overflow_lock: likewise */
    _Atomic uint64_t retry_ms;     /* monotonic: memory was refused; not to be asked for before */
    _Atomic bool full;             /* new keys are being refused for want of it */
};

/* The bytes of the three parts for a pool of this geometry, written into `header`. */
void index_plan(struct layout_index_header *header, uint64_t data_bytes);

/* The whole mapping, in bytes; most of it is never touched. */
uint64_t index_size(const struct layout_index_header *header);

/* `file` is that of the mapping: memory is allocated in it before it is touched. `fresh`: begins
 * empty, with room for about `items`. False if there is not as much. */
bool index_init(struct index *index, struct lookup_view *view, int file, bool fresh,
                uint64_t items);
void index_finish(struct index *index);

/* Prefetches the bucket of this hash, which is going to be locked. */
void index_prefetch(const struct index *index, uint64_t hash);

/* Locks the bucket of this hash; returns it. */
struct layout_bucket *index_lock(struct index *index, uint64_t hash);
void index_unlock(struct layout_bucket *bucket);

/* Under the lock: the slot of this key, expired or flushed or not; false if there is none. */
bool index_find(struct index *index, struct layout_bucket *bucket, uint64_t hash, struct bytes key,
                struct lookup_hit *hit);

/* Under the lock: the slot that points to this location; NULL if none does. */
_Atomic uint64_t *index_find_location(struct index *index, struct layout_bucket *bucket,
                                      uint64_t location);

/* Under the lock: an empty slot of this bucket's chain, which gets longer for it if it must. NULL
 * if the index can not grow. */
_Atomic uint64_t *index_free_slot(struct index *index, struct layout_bucket *bucket);

/* Under the lock: fills a slot that index_free_slot has found. */
void index_fill_slot(struct index *index, _Atomic uint64_t *free_slot, uint64_t slot);

/* Under the lock: adds a slot. False if the index can not grow. */
bool index_insert(struct index *index, struct layout_bucket *bucket, uint64_t slot);

/* Under the lock: empties a slot of this bucket's chain. */
void index_remove(struct index *index, struct layout_bucket *bucket, _Atomic uint64_t *slot);

/* Splits buckets until the load is right again. Called after inserts, without a lock. */
void index_grow(struct index *index);

/* A new key of this pool was refused: said once in the log, until there is room again. */
void index_note_refused(struct index *index, const struct pool_options *options);

/* If new keys are being refused: looks whether there is room again. Called by the janitor. */
void index_look_for_room(struct index *index, const struct pool_options *options);

static inline bool index_is_full(const struct index *index) {
    return atomic_load_explicit(&index->full, memory_order_relaxed); /* a flag for people */
}

/* Bytes of the index in use. */
uint64_t index_used_bytes(const struct index *index);

#endif
