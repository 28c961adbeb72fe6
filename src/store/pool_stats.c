/* The counters and statistics that pool.h declares. */
#include "base/clock.h"
#include "store/pool_counters.h"

void pool_count(struct pool *pool, struct store_thread *thread, enum pool_counter counter) {
    pool_add(pool, thread->index, counter, 1);
}

static uint64_t pool_sum_counter(const struct pool *pool, enum pool_counter counter) {
    uint64_t sum = 0;
    for (unsigned shard = 0; shard <= pool_janitor_shard(pool); shard++) {
        sum += atomic_load_explicit(&pool->shards[shard].counters[counter], memory_order_relaxed);
    }
    return sum; /* relaxed: a count */
}

static uint64_t pool_sum_class_counter(const struct pool *pool, unsigned class,
                                       enum pool_class_counter counter) {
    uint64_t sum = 0;
    for (unsigned shard = 0; shard < pool_janitor_shard(pool); shard++) {
        sum += atomic_load_explicit(&pool->shards[shard].class_counters[class][counter],
                                    memory_order_relaxed); /* a count */
    }
    return sum;
}

void pool_get_stats(struct pool *pool, struct pool_stats *stats) {
    const struct layout_index_header *index = pool->view.index;
    uint32_t capacity = segment_capacity(&pool->view);
    uint32_t segments = segments_allowed(&pool->segments);
    uint32_t free_count = segments_free_count(&pool->segments);
    *stats = (struct pool_stats){
        .items = atomic_load(&index->items),
        .live_bytes = atomic_load(&index->live_bytes),
        .tombstone_bytes = atomic_load(&index->tombstone_bytes),
        .capacity_bytes = (uint64_t)capacity * segments,
        .needed_bytes = segment_table_needed_bytes(&pool->view),
        .needed_limit_bytes = atomic_load(&pool->live_limit_bytes),
        .index_bytes = index_used_bytes(&pool->index),
        .index_power = (uint32_t)(63 - __builtin_clzll(atomic_load(&index->bucket_count))),
        .segments = segments,
        .segments_free = free_count < segments ? free_count : segments,
        .segment_bytes = pool->view.segment_bytes,
        .syncs = atomic_load(&pool->sync.count),
        .sync_lag_ms = pool->options.persist ? sync_lag_ms(&pool->sync) : 0,
        .full_in_s = pool->options.evict ? UINT64_MAX : atomic_load(&pool->janitor.full_in_s),
        .backup_s = atomic_load(&pool->backup_s),
        .read_only = pool_is_read_only(pool),
        .full = atomic_load(&pool->room.full) || index_is_full(&pool->index),
        .index_full = index_is_full(&pool->index),
    };
    for (int counter = 0; counter < POOL_COUNTERS; counter++) {
        stats->counters[counter] = pool_sum_counter(pool, (enum pool_counter)counter) -
                                   atomic_load(&pool->counters_base[counter]);
    }
    uint64_t used = 0;
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        const struct layout_segment *info = &pool->view.segments[segment];
        uint32_t state = atomic_load(&info->state);
        if (state == LAYOUT_SEGMENT_SEALED) {
            used += capacity;
        } else if (state == LAYOUT_SEGMENT_OPEN) {
            used += atomic_load(&info->fill) - sizeof(struct layout_segment_header);
        }
    }
    uint64_t needed = stats->live_bytes + stats->tombstone_bytes;
    stats->dead_bytes = used > needed ? used - needed : 0;
    stats->free_bytes = stats->capacity_bytes > used ? stats->capacity_bytes - used : 0;
}

/* How many of a segment's items expire in [from_s, to_s). */
static double pool_share_expiring(double items, double first_s, double last_s, double from_s,
                                  double to_s) {
    double begin = from_s > first_s ? from_s : first_s;
    double end = to_s < last_s ? to_s : last_s;
    return end > begin ? items * (end - begin) / (last_s - first_s) : 0;
}

void pool_get_expiry(const struct pool *pool, uint32_t now_s, struct pool_expiry *expiry) {
    const struct lookup_view *view = &pool->view;
    double expired = 0;
    double within[POOL_EXPIRY_HOURS] = {0};
    double later = 0;
    double never = 0;
    for (uint32_t segment = 0; segment < view->segment_count; segment++) {
        const struct layout_segment *info = &view->segments[segment];
        uint32_t items = atomic_load(&info->items);
        double first_s = atomic_load(&info->first_expiry_s);
        uint32_t last_expiry_s = atomic_load(&info->last_expiry_s);
        if (atomic_load(&info->state) == LAYOUT_SEGMENT_FREE || items == 0) {
            continue;
        }
        if (last_expiry_s == LAYOUT_NEVER) {
            never += items;
            continue;
        }
        double last_s = last_expiry_s > first_s ? last_expiry_s : first_s + 1;
        double from_s = now_s;
        expired += pool_share_expiring(items, first_s, last_s, 0, from_s);
        for (unsigned hour = 0; hour < POOL_EXPIRY_HOURS; hour++, from_s += 3600) {
            within[hour] += pool_share_expiring(items, first_s, last_s, from_s, from_s + 3600);
        }
        later += pool_share_expiring(items, first_s, last_s, from_s, UINT32_MAX);
    }
    *expiry = (struct pool_expiry){.expired = (uint64_t)(expired + 0.5),
                                   .later = (uint64_t)(later + 0.5),
                                   .never = (uint64_t)(never + 0.5)};
    for (unsigned hour = 0; hour < POOL_EXPIRY_HOURS; hour++) {
        expiry->within_hours[hour] = (uint64_t)(within[hour] + 0.5);
    }
}

_Static_assert((int)POOL_TTL_CLASSES == (int)SEGMENT_CLASSES, "the same classes");

void pool_get_class_stats(struct pool *pool, struct pool_class_stats stats[POOL_TTL_CLASSES]) {
    const struct lookup_view *view = &pool->view;
    uint32_t now_s = clock_unix_s();
    for (unsigned class = 0; class < SEGMENT_CLASSES; class ++) {
        const struct pool_evictions *evictions = &pool->evictions[class];
        stats[class] = (struct pool_class_stats){
            .ttl_max_s = segment_class_limit_s(class),
            .evicted = atomic_load(&evictions->evicted),
            .evicted_nonzero = atomic_load(&evictions->evicted_nonzero),
            .evicted_unfetched = atomic_load(&evictions->evicted_unfetched),
            .evicted_idle_s = atomic_load(&evictions->evicted_idle_s),
            .reclaimed = atomic_load(&evictions->reclaimed),
            .expired_unfetched = atomic_load(&evictions->expired_unfetched),
        };
        for (int counter = 0; counter < POOL_CLASS_COUNTERS; counter++) {
            stats[class].counters[counter] =
                pool_sum_class_counter(pool, class, (enum pool_class_counter)counter) -
                atomic_load(&pool->class_counters_base[class][counter]);
        }
    }
    for (uint32_t segment = 0; segment < view->segment_count; segment++) {
        const struct layout_segment *info = &view->segments[segment];
        uint32_t state = atomic_load(&info->state);
        uint32_t class = atomic_load(&info->ttl_class);
        if (state == LAYOUT_SEGMENT_FREE || class >= SEGMENT_CLASSES) {
            continue;
        }
        struct pool_class_stats *of_class = &stats[class];
        of_class->segments++;
        of_class->items += atomic_load(&info->items);
        of_class->live_bytes += atomic_load(&info->live_bytes);
        if (state == LAYOUT_SEGMENT_OPEN) {
            of_class->unused_bytes += view->segment_bytes - atomic_load(&info->fill);
        }
        if (atomic_load(&info->items) == 0) {
            continue; /* it has no age */
        }
        uint32_t opened_s = segments_opened_s(&pool->segments, segment);
        uint32_t age_s = now_s > opened_s ? now_s - opened_s : 0;
        of_class->age_s = age_s > of_class->age_s ? age_s : of_class->age_s;
    }
}

void pool_reset_counters(struct pool *pool) {
    for (unsigned class = 0; class < SEGMENT_CLASSES; class ++) {
        struct pool_evictions *evictions = &pool->evictions[class];
        atomic_store(&evictions->evicted, 0);
        atomic_store(&evictions->evicted_nonzero, 0);
        atomic_store(&evictions->evicted_unfetched, 0);
        atomic_store(&evictions->evicted_idle_s, 0);
        atomic_store(&evictions->reclaimed, 0);
        atomic_store(&evictions->expired_unfetched, 0);
        for (int counter = 0; counter < POOL_CLASS_COUNTERS; counter++) {
            atomic_store(&pool->class_counters_base[class][counter],
                         pool_sum_class_counter(pool, class, (enum pool_class_counter)counter));
        }
    }
    for (int counter = 0; counter < POOL_COUNTERS; counter++) {
        atomic_store(&pool->counters_base[counter],
                     pool_sum_counter(pool, (enum pool_counter)counter));
    }
}
