#include "store/reclaim.h"

#include "store/compaction.h"
#include "store/eviction.h"

enum {
    RECLAIM_GAIN_AHEAD = 4,       /* 1/4 of a segment, while nobody waits */
    RECLAIM_GAIN_CACHE = 2,       /* 1/2 of a segment: for a smaller gain, eviction is better */
    RECLAIM_TOMBSTONE_SHARE = 32, /* 1/32 of the pool in tombstones is too much */
};

/* Whether compacting all segments in use would free at least one segment. */
static bool reclaim_can_gain(const struct pool *pool) {
    uint64_t capacity = segment_capacity(&pool->view);
    uint64_t used = segments_in_force(&pool->segments) - segments_free_count(&pool->segments);
    return used * capacity >= segment_table_needed_bytes(&pool->view) + capacity;
}

/* Whether compaction has given up. It tries again when a quarter of a segment more is dead. */
static bool reclaim_gives_up(struct pool *pool) {
    struct reclaim *reclaim = &pool->janitor.reclaim;
    uint64_t capacity = segment_capacity(&pool->view);
    if (reclaim->moved_bytes <= RECLAIM_GIVE_UP * capacity * segments_in_force(&pool->segments)) {
        return false;
    }
    uint64_t gain = compaction_gain_bytes(pool);
    if (reclaim->gave_up_gain == 0) {
        reclaim->gave_up_gain = gain + 1;
    }
    if (gain < reclaim->gave_up_gain + capacity / 4) {
        return true;
    }
    *reclaim = (struct reclaim){0};
    return false;
}

/* Whether tombstones fill more than a segment, and more than 1/`share` of the pool. */
static bool reclaim_has_tombstones(const struct pool *pool, uint32_t share) {
    uint64_t capacity = segment_capacity(&pool->view);
    uint64_t bytes = atomic_load(&pool->view.index->tombstone_bytes);
    return bytes > capacity && bytes > capacity * segments_in_force(&pool->segments) / share;
}

static unsigned reclaim_by_eviction(struct pool *pool, bool stalled, uint32_t now_s) {
    uint32_t capacity = segment_capacity(&pool->view);
    unsigned freed = compaction_run(pool, capacity / RECLAIM_GAIN_CACHE, false, now_s);
    return freed > 0 ? freed : eviction_run(pool, stalled, now_s);
}

static unsigned reclaim_by_compaction(struct pool *pool, bool stalled, uint32_t now_s) {
    uint32_t capacity = segment_capacity(&pool->view);
    uint32_t parts = stalled ? 2 * segments_in_force(&pool->segments) : RECLAIM_GAIN_AHEAD;
    return reclaim_can_gain(pool) ? compaction_run(pool, capacity / parts, stalled, now_s) : 0;
}

unsigned reclaim_run(struct pool *pool, bool stalled, uint32_t now_s) {
    bool evict = pool->options.evict;
    if (!evict && reclaim_gives_up(pool)) {
        return 0;
    }
    unsigned freed = evict ? reclaim_by_eviction(pool, stalled, now_s)
                           : reclaim_by_compaction(pool, stalled, now_s);
    bool nothing_else = !evict && freed == 0;
    if (reclaim_has_tombstones(pool, nothing_else ? UINT32_MAX : RECLAIM_TOMBSTONE_SHARE)) {
        freed += compaction_run_oldest(pool, now_s);
    }
    return freed;
}

bool reclaim_is_exhausted(struct pool *pool, unsigned freed) {
    return freed == 0 || (!pool->options.evict &&
                          (reclaim_gives_up(pool) ||
                           (!reclaim_can_gain(pool) && !reclaim_has_tombstones(pool, UINT32_MAX))));
}

void reclaim_note_progress(struct reclaim *reclaim, unsigned freed, uint32_t opened,
                           uint64_t moved_bytes) {
    reclaim->gained += (int64_t)freed - opened;
    reclaim->moved_bytes += moved_bytes;
    if (reclaim->gained > 0) {
        *reclaim = (struct reclaim){0};
    }
}
