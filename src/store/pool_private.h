/* The pool as the files of the store see it. Nothing outside store/ includes this header. */
#ifndef STAYD_STORE_POOL_PRIVATE_H
#define STAYD_STORE_POOL_PRIVATE_H

#include "store/expiry_clock.h"
#include "store/geometry.h"
#include "store/heartbeat.h"
#include "store/hold.h"
#include "store/index.h"
#include "store/item.h"
#include "store/janitor.h"
#include "store/lookup.h"
#include "store/mapping.h"
#include "store/pool.h"
#include "store/room.h"
#include "store/scan.h"
#include "store/segment.h"
#include "store/sync.h"

#include <stdbool.h>
#include <stdint.h>

/* Counters of one thread, so that no two write the same cache line. */
struct pool_shard {
    _Alignas(64) _Atomic uint64_t counters[POOL_COUNTERS];
    _Atomic uint64_t class_counters[SEGMENT_CLASSES][POOL_CLASS_COUNTERS];
    /* used by the shard's own thread only */
    bool unsynced;          /* the thread has written since its last ticket */
    bool rests;             /* the thread has read a record that may not be on the disk yet */
    uint64_t written_bytes; /* since the sync `written_sync` began */
    uint64_t written_sync;
};

/* Evictions and expirations in the segments of one TTL class: counted by the janitor. */
struct pool_evictions {
    _Atomic uint64_t evicted;
    _Atomic uint64_t evicted_nonzero;
    _Atomic uint64_t evicted_unfetched;
    _Atomic uint64_t reclaimed;
    _Atomic uint64_t expired_unfetched;
    _Atomic uint32_t evicted_idle_s; /* of the last one */
};

struct pool {
    struct pool_options options;
    struct grace *grace;
    struct mapping data_mapping;
    struct mapping index_mapping;
    bool index_is_anonymous; /* a persistent pool's index, if run_dir has no room for it */
    struct layout_data_header *header; /* the data mapping's first page; NULL in volatile pools */
    struct lookup_view view;
    struct index index;
    struct segments segments;
    struct room room;
    struct hold hold; /* under the room's lock */
    _Atomic uint32_t
        backup_s; /* unix seconds: when a hold was last ended by its client; 0: never */
    struct janitor janitor;
    struct heartbeat heartbeat;
    struct sync sync;
    struct expiry_clock expiry_clock;
    uint64_t noted_sequence; /* when the clock was noted in the header; janitor's thread only */
    _Atomic uint64_t memory_limit_bytes; /* written under the room's lock */
    _Atomic uint64_t live_limit_bytes; /* evict = no: new keys are refused above so many live bytes;
                                        * written under the room's lock */
    _Atomic bool read_only;
    _Atomic uint64_t removed_sequence; /* fsync = always: no item was removed by a later record */
    pthread_mutex_t flush_lock;        /* one flush at a time; taken before any other lock */
    pthread_mutex_t sync_lock;         /* one sync at a time; taken after any other lock */
    struct pool_shard *shards;         /* one for each thread, then the janitor's */
    pool_eviction_notify *_Atomic eviction_notify;
    void *eviction_context; /* set before eviction_notify */
    struct pool_evictions evictions[SEGMENT_CLASSES];
    _Atomic uint64_t class_counters_base[SEGMENT_CLASSES][POOL_CLASS_COUNTERS];
    _Atomic uint64_t counters_base[POOL_COUNTERS]; /* the counters at the last reset */
};

static inline unsigned pool_janitor_shard(const struct pool *pool) {
    return grace_threads(pool->grace);
}

/* Only the shard's own thread writes it, so no read-modify-write is needed. */
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

static inline uint32_t pool_ttl_class(const struct pool *pool, uint64_t location) {
    uint32_t segment = lookup_location_segment(&pool->view, location);
    return atomic_load_explicit(&pool->view.segments[segment].ttl_class, memory_order_relaxed) %
           SEGMENT_CLASSES; /* the thread has not written in any class yet */
}

static inline uint64_t pool_flush_sequence(const struct pool *pool) {
    return item_flush_sequence(&pool->view);
}

/* The bytes that compaction cannot free: the records that clients may see, tombstones and flush
 * records, and the expected waste at the ends of segments (segment.h). A flush reduces it at once.
 * Relaxed: counts. */
static inline uint64_t pool_needed_bytes(const struct pool *pool) {
    const struct layout_index_header *index = pool->view.index;
    int64_t flushed = (int64_t)atomic_load_explicit(&index->flushed_bytes, memory_order_relaxed);
    uint64_t counted = atomic_load_explicit(&index->live_bytes, memory_order_relaxed) +
                       atomic_load_explicit(&index->tombstone_bytes, memory_order_relaxed) +
                       atomic_load_explicit(&index->waste_bytes, memory_order_relaxed);
    return flushed <= 0 ? counted : counted > (uint64_t)flushed ? counted - (uint64_t)flushed : 0;
}

static inline bool pool_expired(const struct pool *pool, const struct record *record,
                                uint32_t now_s) {
    return item_expired(&pool->view, record, now_s);
}

static inline uint32_t pool_due_s(const struct pool *pool, const struct record *record) {
    return item_due_s(&pool->view, record);
}

static inline bool pool_visible(const struct pool *pool, const struct record *record,
                                uint32_t now_s) {
    return item_visible(&pool->view, record, now_s);
}

/* Whether an item that clients do not see may be visible again when a wrong clock is set right: it
 * was not flushed, and has not expired by the trusted time. */
static inline bool pool_may_return(const struct pool *pool, const struct record *record) {
    return pool_visible(pool, record, expiry_clock_free_s(&pool->expiry_clock));
}

/* Takes `count` consecutive sequences; returns the first. */
static inline uint64_t pool_next_sequences(struct pool *pool, unsigned count) {
    uint64_t before = atomic_fetch_add(&pool->view.index->sequence, count);
    if (before / LAYOUT_SEQUENCE_STEP != (before + count) / LAYOUT_SEQUENCE_STEP) {
        segments_note_sequence(&pool->segments, before + count);
    }
    return before + 1;
}

static inline uint64_t pool_next_sequence(struct pool *pool) {
    return pool_next_sequences(pool, 1);
}

/* The thread's next reply shows the record with this sequence. With fsync = always the reply waits
 * until the record is on the disk, as the reply to the write does (invariant 8). */
static inline void pool_note_rest(struct pool *pool, const struct store_thread *thread,
                                  uint64_t sequence) {
    /* relaxed: an earlier value makes the reply wait when it need not */
    if (sequence >
        atomic_load_explicit(&pool->view.index->durable_sequence, memory_order_relaxed)) {
        pool->shards[thread->index].rests = true;
    }
}

/* The thread's next reply says that there is no item. The item may have been removed just now. */
static inline void pool_note_missing(struct pool *pool, const struct store_thread *thread) {
    /* relaxed: the removal was noted under the bucket's lock, before the slot was removed */
    pool_note_rest(pool, thread,
                   atomic_load_explicit(&pool->removed_sequence, memory_order_relaxed));
}

/* Called before the record with this sequence removes an item, under its bucket's lock. */
static inline void pool_note_removal(struct pool *pool, uint64_t sequence) {
    if (pool->options.fsync != POOL_FSYNC_ALWAYS) {
        return;
    }
    uint64_t before = atomic_load(&pool->removed_sequence);
    while (before < sequence &&
           !atomic_compare_exchange_weak(&pool->removed_sequence, &before, sequence)) {
    }
}

/* Looks up a key without a lock. Also finds items that clients may not see. */
bool operations_find(struct pool *pool, struct bytes key, struct lookup_hit *hit);

/* This thread has written `size` bytes for a client: in a persistent pool they must be synced. */
void pool_note_write(struct pool *pool, struct store_thread *thread, size_t size);

/* Makes the pool read-only, and logs why. */
void pool_set_read_only(struct pool *pool, const char *why);

/* Writes the data of a persistent pool to the disk. False: it failed, the pool is read-only now. */
bool pool_sync(struct pool *pool);

/* Performs a delayed flush that has fallen due. True: it did. Any thread, holding no lock. */
bool pool_flush_due(struct pool *pool, uint32_t now_s);

/* Whether the daemon is to stop while the pool is being opened. */
static inline bool pool_is_stopping(const struct pool *pool) {
    return pool->options.is_stopping != NULL && pool->options.is_stopping();
}

#endif
