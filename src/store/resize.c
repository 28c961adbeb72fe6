#include "store/resize.h"

#include "base/log.h"
#include "store/compaction.h"
#include "store/data_file.h"

#include <stdio.h>

enum {
    RESIZE_FILL_PERCENT = 95, /* of the smaller pool, for live records and tombstones */
    RESIZE_GAIN_SHARE = 100,  /* 1/100 of a segment is worth emptying it */
    RESIZE_FREE = 2,          /* free segments before another is emptied */
};

static bool resize_refuse(const struct pool *pool, char *error) {
    const struct layout_index_header *index = pool->view.index;
    uint64_t needed = (atomic_load(&index->live_bytes) + atomic_load(&index->tombstone_bytes)) *
                      100 / RESIZE_FILL_PERCENT;
    uint64_t mebibytes = (needed + 2 * (uint64_t)pool->view.segment_bytes) / (1U << 20) + 1;
    snprintf(error, POOL_ERROR_MAX,
             "the items of pool %s do not fit into its new memory: it needs at least %lluM; "
             "nothing was dropped. Raise its memory to that",
             pool->options.name, (unsigned long long)mebibytes);
    return false;
}

static unsigned resize_free_count(const struct pool *pool, uint32_t count) {
    unsigned free_count = 0;
    for (uint32_t segment = 0; segment < count; segment++) {
        free_count += atomic_load(&pool->view.segments[segment].state) == LAYOUT_SEGMENT_FREE;
    }
    return free_count;
}

static void resize_seal_all(struct pool *pool) {
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        segments_seal(&pool->segments, segment);
    }
}

/* Makes sure that two of the first `count` segments are free for moved records. A pool whose
 * segments have all been written once has no free segment there, even if few records are live. */
static bool resize_make_room(struct pool *pool, uint32_t count, uint32_t now_s) {
    uint32_t capacity = segment_capacity(&pool->view);
    uint64_t most_bytes = RECLAIM_GIVE_UP * (uint64_t)capacity * pool->view.segment_count;
    while (resize_free_count(pool, count) < RESIZE_FREE) {
        if (pool->janitor.moved_bytes > most_bytes ||
            compaction_run(pool, capacity / RESIZE_GAIN_SHARE, false, now_s) == 0) {
            return false;
        }
    }
    return true;
}

static bool resize_empty_tail(struct pool *pool, uint32_t count, uint32_t now_s) {
    segments_limit(&pool->segments, count);
    /* resize_make_room may have opened a segment that is going to be emptied. It is sealed, so that
     * its records are not moved into itself. */
    resize_seal_all(pool);
    for (uint32_t segment = count; segment < pool->view.segment_count; segment++) {
        if (atomic_load(&pool->view.segments[segment].state) == LAYOUT_SEGMENT_FREE) {
            continue;
        }
        if (!resize_make_room(pool, count, now_s)) {
            return false;
        }
        compaction_begin(pool);
        /* resize_make_room may have freed this segment. */
        if (atomic_load(&pool->view.segments[segment].state) != LAYOUT_SEGMENT_FREE &&
            (!compaction_empty(pool, segment, 0, now_s) || !compaction_free(pool, &segment, 1))) {
            return false;
        }
    }
    return true;
}

bool resize_shrink(struct pool *pool, uint32_t count, char error[POOL_ERROR_MAX]) {
    uint32_t now_s = expiry_clock_free_s(&pool->expiry_clock);
    const struct layout_index_header *index = pool->view.index;
    uint64_t limit = (uint64_t)segment_capacity(&pool->view) * count / 100 * RESIZE_FILL_PERCENT;
    resize_seal_all(pool);
    if (atomic_load(&index->live_bytes) + atomic_load(&index->tombstone_bytes) > limit ||
        !resize_make_room(pool, count, now_s) || !resize_empty_tail(pool, count, now_s)) {
        return resize_refuse(pool, error);
    }
    struct layout_data_header *header = pool->header;
    uint32_t before = header->segment_count;
    /* The header must be durable before the rest of the file is given back. */
    if (!data_file_write_header(pool->data_mapping.file, header, count) || !sync_now(&pool->sync)) {
        snprintf(error, POOL_ERROR_MAX, "cannot shrink the file of pool %s: %m",
                 pool->options.name);
        return false;
    }
    data_file_give_back(pool->data_mapping.file, header, count);
    log_info("pool %s: shrunk from %u to %u segments of %u bytes", pool->options.name, before,
             count, header->segment_bytes);
    return true;
}
