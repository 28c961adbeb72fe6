/* The segment table (layout.h): what the index says about the contents of each segment, and the
 * sums of all segments. Any thread may call; the numbers are relaxed counts. They do not prove that
 * no slot points into a segment: only a walk of the segment does. */
#ifndef STAYD_STORE_SEGMENT_TABLE_H
#define STAYD_STORE_SEGMENT_TABLE_H

#include "store/lookup_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SEGMENT_CLASSES = 8 /* TTL classes: their limits are in segment.c; POOL_TTL_CLASSES in pool.h */
};

/* Bytes that records can fill in one segment. */
static inline uint32_t segment_capacity(const struct lookup_view *view) {
    return view->segment_bytes - (uint32_t)sizeof(struct layout_segment_header);
}

/* The bytes that a record of this size is expected to leave unused at the end of a segment, among
 * records of all sizes. The record that does not fit leaves half of its size unused on average, and
 * the chance of being that record is about bytes / capacity. */
static inline uint64_t segment_waste_among(uint32_t capacity, uint64_t bytes) {
    return bytes < capacity / 64 ? 0 : bytes * bytes / capacity / 2;
}

/* The unused bytes at the end of a segment that each record of this size is charged with. The
 * larger of two estimates:
 *
 *     alone     | record | record | record | unused |    among records of the same size: the unused
 *                                                        bytes, divided among the records
 *     among     among records of all sizes: segment_waste_among
 *
 * 0 for small records, which together waste less than a hundredth of a segment. */
static inline uint32_t segment_waste_bytes(uint32_t capacity, size_t bytes) {
    if (bytes < capacity / 64) {
        return 0;
    }
    uint64_t alone = capacity / (capacity / bytes) - bytes;
    uint64_t among = segment_waste_among(capacity, bytes);
    return (uint32_t)(alone > among ? alone : among);
}

/* The TTL class of the segment at a location. */
static inline uint32_t segment_table_class(const struct lookup_view *view, uint64_t location) {
    uint32_t segment = lookup_location_segment(view, location);
    return atomic_load_explicit(&view->segments[segment].ttl_class, memory_order_relaxed) %
           SEGMENT_CLASSES; /* relaxed: a number */
}

/* The bytes that compaction cannot free: the records that clients may see, tombstones and flush
 * records, and the expected waste at the ends of segments. A flush reduces it at once. Relaxed:
 * counts. */
static inline uint64_t segment_table_needed_bytes(const struct lookup_view *view) {
    const struct layout_index_header *index = view->index;
    int64_t flushed = (int64_t)atomic_load_explicit(&index->flushed_bytes, memory_order_relaxed);
    uint64_t counted = atomic_load_explicit(&index->live_bytes, memory_order_relaxed) +
                       atomic_load_explicit(&index->tombstone_bytes, memory_order_relaxed) +
                       atomic_load_explicit(&index->waste_bytes, memory_order_relaxed);
    return flushed <= 0 ? counted : counted > (uint64_t)flushed ? counted - (uint64_t)flushed : 0;
}

/* Counts a record that a slot now points to, or no longer points to. `flushed`: a flush deleted the
 * record before. */
void segment_table_count_live(struct lookup_view *view, uint64_t location, size_t bytes);
void segment_table_count_dead(struct lookup_view *view, uint64_t location, size_t bytes,
                              bool flushed);

/* Counts a tombstone or a flush record that was written here. */
void segment_table_count_tombstone(struct lookup_view *view, uint64_t location, size_t bytes);

/* Sets the bytes of tombstones and flush records in a sealed segment that are still needed, as a
 * walk of the segment has found. */
void segment_table_set_tombstones(struct lookup_view *view, uint32_t segment, uint32_t bytes);

/* Notes that a record in the segment may expire at this second, so that the janitor sweeps it then.
 */
void segment_note_due(struct layout_segment *info, uint32_t due_s);
void segment_table_note_due(struct lookup_view *view, uint64_t location, uint32_t due_s);

/* Widens the segment's range of expiry times to include this expiry. */
void segment_note_expiry(struct layout_segment *info, uint32_t expiry_s);

#endif
