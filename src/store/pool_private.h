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
#include "store/positions.h"
#include "store/replication.h"
#include "store/room.h"
#include "store/scan.h"
#include "store/segment.h"
#include "store/sync.h"

#include <stdbool.h>
#include <stdint.h>

/* The counters of one thread. No two threads write the same cache line. */
struct pool_shard {
    _Alignas(64) _Atomic uint64_t counters[POOL_COUNTERS];
    _Atomic uint64_t class_counters[SEGMENT_CLASSES][POOL_CLASS_COUNTERS];
    struct sync_thread sync;
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
    bool index_is_anonymous;           /* the index has no file: run_dir has no room for it */
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
    struct pool_replication replication; /* without `submit`: the pool is not replicated */
    struct positions positions;
    uint64_t noted_sequence; /* the sequence when the header got its clock; janitor's thread only */
    _Atomic uint64_t memory_limit_bytes; /* written under the room's lock */
    _Atomic uint64_t live_limit_bytes;   /* evict = no: new keys are refused if more bytes would be
                                            needed; written under the room's lock */
    pthread_mutex_t flush_lock;          /* one flush at a time; taken before any other lock */
    struct pool_shard *shards;           /* one for each thread, then the janitor's */
    pool_eviction_notify *_Atomic eviction_notify;
    void *eviction_context; /* set before eviction_notify */
    struct pool_evictions evictions[SEGMENT_CLASSES];
    _Atomic uint64_t class_counters_base[SEGMENT_CLASSES][POOL_CLASS_COUNTERS];
    _Atomic uint64_t counters_base[POOL_COUNTERS]; /* the counters at the last reset */
};

static inline bool pool_is_read_only(const struct pool *pool) {
    return sync_has_failed(&pool->sync);
}

/* Whether the daemon is to stop while the pool is being opened. */
static inline bool pool_is_stopping(const struct pool *pool) {
    return pool->options.is_stopping != NULL && pool->options.is_stopping();
}

static inline struct sync_thread *pool_sync_thread(struct pool *pool,
                                                   const struct store_thread *thread) {
    return &pool->shards[thread->index].sync;
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

#endif
