#include "store/memory_limit.h"

#include "base/log.h"

enum {
    MEMORY_LIMIT_RAISE = 4, /* the memory can be raised to this many times the initial amount */
};

uint32_t memory_limit_reserve(const struct pool_options *options,
                              const struct layout_data_header *planned) {
    uint64_t most = UINT64_C(1) << (LAYOUT_LOCATION_BITS - planned->offset_bits);
    uint64_t count = options->memory_bytes * MEMORY_LIMIT_RAISE / planned->segment_bytes;
    most = most < UINT32_MAX ? most : UINT32_MAX;
    return options->persist || options->memory_fixed ? planned->segment_count
           : count < most                            ? (uint32_t)count
                                                     : (uint32_t)most;
}

static void memory_limit_set(struct pool *pool, uint64_t bytes, uint32_t count) {
    atomic_store(&pool->memory_limit_bytes, bytes);
    segments_allow(&pool->segments, count);
    atomic_store(&pool->live_limit_bytes, segments_needed_limit(&pool->segments, count));
}

void memory_limit_init(struct pool *pool) {
    uint64_t bytes = pool->options.memory_bytes;
    uint64_t count = bytes / pool->view.segment_bytes;
    memory_limit_set(pool, bytes,
                     pool->header != NULL || count > pool->view.segment_count
                         ? pool->view.segment_count
                         : (uint32_t)count);
    segments_begin_spare(&pool->segments);
}

enum status pool_set_memory_limit(struct pool *pool, uint64_t bytes) {
    enum status status = STATUS_OK;
    pthread_mutex_lock(&pool->room.lock);
    uint64_t before = atomic_load(&pool->memory_limit_bytes);
    uint64_t count = bytes / pool->view.segment_bytes;
    if (bytes == before) {
        pthread_mutex_unlock(&pool->room.lock);
        return STATUS_OK;
    }
    if (pool->header != NULL || count < POOL_SEGMENTS_MIN || count > pool->view.segment_count) {
        status = STATUS_INVALID;
    } else if (!pool->options.evict &&
               segment_table_needed_bytes(&pool->view) >
                   segments_needed_limit(&pool->segments, (uint32_t)count)) {
        status = STATUS_NO_MEMORY;
    } else {
        memory_limit_set(pool, bytes, (uint32_t)count);
        room_note_dead_record(&pool->room); /* a change that was refused may now find room */
    }
    pthread_mutex_unlock(&pool->room.lock);
    if (status == STATUS_OK) {
        log_info("pool %s: a client has changed its memory from %llu to %llu bytes "
                 "(cache_memlimit)",
                 pool->options.name, (unsigned long long)before, (unsigned long long)bytes);
        room_wake(&pool->room);
    }
    return status;
}

uint64_t pool_get_memory_limit(const struct pool *pool) {
    return atomic_load(&pool->memory_limit_bytes);
}

void memory_limit_follow(struct pool *pool, uint32_t keep) {
    segments_adjust_spare(&pool->segments, keep);
    int64_t segment;
    while ((segment = segments_next_to_clear(&pool->segments)) != SEGMENT_NONE) {
        mapping_return_memory(&pool->data_mapping,
                              LAYOUT_PAGE + (uint64_t)segment * pool->view.segment_bytes,
                              pool->view.segment_bytes);
    }
}

bool memory_limit_exceeded(struct pool *pool) {
    return segments_in_force(&pool->segments) > segments_allowed(&pool->segments);
}
