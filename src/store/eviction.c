#include "store/eviction.h"

#include "base/hash.h"
#include "store/access_reports.h"
#include "store/compaction.h"

enum {
    EVICTION_MERGE = 8, /* segments that are compared with each other; half of them become free */
    EVICTION_MEMORY = 8 /* the usual threshold is an average over this many passes */
};

/* Chooses the sealed segments of the class that has the oldest segment, oldest first. In a small
 * pool, chooses at most a quarter of the segments; otherwise nearly everything would be evicted at
 * once. */
static unsigned eviction_choose(struct pool *pool, uint32_t chosen[EVICTION_MERGE]) {
    struct layout_segment *table = pool->view.segments;
    uint64_t above = 0; /* the generation of the segment that was chosen last */
    unsigned count = 0;
    uint32_t class = 0;
    unsigned most = segments_in_force(&pool->segments) / 4;
    most = most < EVICTION_MERGE ? most : EVICTION_MERGE;
    while (count < most) {
        int64_t oldest = SEGMENT_NONE;
        uint64_t oldest_generation = UINT64_MAX;
        for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
            uint64_t generation = atomic_load(&table[segment].generation);
            if (atomic_load(&table[segment].state) == LAYOUT_SEGMENT_SEALED && generation > above &&
                generation < oldest_generation &&
                (count == 0 || atomic_load(&table[segment].ttl_class) == class)) {
                oldest = segment;
                oldest_generation = generation;
            }
        }
        if (oldest == SEGMENT_NONE) {
            break;
        }
        if (count == 0) {
            class = atomic_load(&table[oldest].ttl_class);
        }
        above = oldest_generation;
        chosen[count++] = (uint32_t)oldest;
    }
    return count;
}

/* Adds the live bytes of a segment to the sums for each score. */
static void eviction_count(struct pool *pool, uint32_t segment, uint32_t now_s,
                           uint64_t bytes[COMPACTION_SCORE_MAX + 1]) {
    struct segment_cursor cursor;
    segment_walk(&cursor, &pool->segments.data, segment,
                 atomic_load(&pool->view.segments[segment].fill));
    while (segment_next(&cursor)) {
        if (cursor.record.kind != LAYOUT_VALUE ||
            !item_visible(&pool->view, &cursor.record, now_s)) {
            continue;
        }
        uint64_t hash = hash_key(pool->view.hash_seed, cursor.record.key);
        struct layout_bucket *bucket = index_lock(&pool->index, hash);
        _Atomic uint64_t *slot = index_find_location(&pool->index, bucket, cursor.location);
        if (slot != NULL) {
            unsigned reads = layout_slot_frequency(atomic_load(slot));
            bytes[compaction_score(reads, cursor.size)] += cursor.size;
        }
        index_unlock(bucket);
    }
}

/* The lowest score at which all records with this score or a higher one fit into `room`; never 0.
 */
static unsigned eviction_threshold(const uint64_t bytes[COMPACTION_SCORE_MAX + 1], uint64_t room) {
    uint64_t kept = 0;
    unsigned threshold = COMPACTION_SCORE_MAX + 1;
    while (threshold > 1 && kept + bytes[threshold - 1] <= room) {
        threshold--;
        kept += bytes[threshold];
    }
    return threshold;
}

/* The lowest score of the records that stay. Usually half of the bytes are evicted. If nearly all
 * records of these segments were read often, half of the bytes would include items that are read
 * often; so only the records below the usual threshold are evicted. At least one segment always
 * becomes free. */
static unsigned eviction_decide(struct pool *pool, unsigned count,
                                const uint64_t bytes[COMPACTION_SCORE_MAX + 1]) {
    uint64_t capacity = segment_capacity(&pool->view);
    unsigned half = eviction_threshold(bytes, capacity * count / 2);
    unsigned least = count == 1 ? half : eviction_threshold(bytes, capacity * (count - 1));
    /* In units of 1/256. It begins as 0: at first, every record that was read stays. */
    unsigned *usual = &pool->janitor.usual_threshold;
    unsigned threshold = half;
    if (*usual / 256 < threshold) {
        threshold = *usual / 256 > least ? *usual / 256 : least;
    }
    *usual = (*usual * (EVICTION_MEMORY - 1) + half * 256) / EVICTION_MEMORY;
    return threshold < 1 ? 1 : threshold;
}

/* Frees the segments that have been emptied; returns how many. */
static unsigned eviction_free(struct pool *pool, const uint32_t *segments, unsigned *emptied) {
    unsigned count = *emptied;
    *emptied = 0;
    return compaction_free(pool, segments, count) ? count : 0;
}

/* Ends appending to the fullest open segment. */
static void eviction_seal(struct pool *pool) {
    int64_t fullest = SEGMENT_NONE;
    uint32_t most = (uint32_t)sizeof(struct layout_segment_header);
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        const struct layout_segment *info = &pool->view.segments[segment];
        uint32_t fill = atomic_load(&info->fill);
        if (atomic_load(&info->state) == LAYOUT_SEGMENT_OPEN && fill > most) {
            fullest = segment;
            most = fill;
        }
    }
    if (fullest != SEGMENT_NONE) {
        segments_seal(&pool->segments, (uint32_t)fullest);
    }
}

unsigned eviction_run(struct pool *pool, bool seals, uint32_t now_s) {
    uint32_t chosen[EVICTION_MERGE];
    unsigned count = eviction_choose(pool, chosen);
    if (count == 0 && seals) {
        eviction_seal(pool);
        count = eviction_choose(pool, chosen);
    }
    if (count == 0) {
        return 0;
    }
    uint32_t opened_s = segments_opened_s(&pool->segments, chosen[0]);
    access_reports_note_window(pool, now_s > opened_s ? now_s - opened_s : 0);
    compaction_begin(pool);
    uint64_t bytes[COMPACTION_SCORE_MAX + 1] = {0};
    for (unsigned i = 0; i < count; i++) {
        eviction_count(pool, chosen[i], now_s, bytes);
    }
    unsigned threshold = eviction_decide(pool, count, bytes);
    /* In a persistent pool freeing takes two syncs. Several segments share these syncs, as long as
     * the records that stay fit elsewhere. In a volatile pool segments are freed one by one, and
     * each freed segment takes the records that the next one keeps. */
    unsigned share = pool->header != NULL ? EVICTION_MERGE : 1;
    unsigned freed = 0;
    unsigned emptied = 0; /* emptied and not yet freed; at the front of `chosen` */
    for (unsigned i = 0; i < count && !pool_is_read_only(pool); i++) {
        bool empty = compaction_empty(pool, chosen[i], threshold, now_s);
        if (!empty && emptied > 0) {
            freed += eviction_free(pool, chosen, &emptied);
            empty = compaction_empty(pool, chosen[i], threshold, now_s);
        }
        if (!empty && !pool_is_read_only(pool)) {
            /* No room for the records that should stay: evicts them too. */
            empty = compaction_empty(pool, chosen[i], COMPACTION_SCORE_MAX + 1, now_s);
        }
        if (empty) {
            chosen[emptied++] = chosen[i];
        }
        if (emptied == share) {
            freed += eviction_free(pool, chosen, &emptied);
        }
    }
    return freed + eviction_free(pool, chosen, &emptied);
}
