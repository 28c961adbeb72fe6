/* Reclaiming: which segments the janitor empties next, when it stops, and when no more room can be
 * gained. It works while few segments are free (segments_are_few):
 *
 *                  nobody waits                            a change waits for room
 *     evict = no   compaction, if that gains a quarter     compaction, if that gains 1/2N
 *                  of a segment                            of a segment (N: segments of the pool)
 *     evict = yes  compaction, if that gains half of a     the same; and eviction from an open
 *                  segment, else eviction                  segment, if no other is left
 *
 * The gain of a segment is what emptying it frees (compaction.h); the segment with the greatest
 * gain comes first. While no change waits, the janitor waits for a greater gain, because more
 * records of a segment may become dead.
 *
 * Why 1/2N is enough with evict = no: the needed bytes fill at most (N - reserve - 1) segments,
 * where `reserve` is the free segments that a new key must leave (invariant 7,
 * segments_needed_limit). When an update finds no segment, fewer than `reserve` are free. So the
 * segments in use have at least two segments' worth of bytes that are not needed. When a new key
 * finds no segment, at most `reserve` are free, and there is at least one segment's worth of such
 * bytes. About half a segment's worth of these bytes is unused room at the ends of the open
 * segments, where the record did not fit. The rest is dead, and is spread over at most N segments.
 * So at least one of these gains 1/2N of a segment, and compaction continues until one more segment
 * is free.
 *
 * The pool is exhausted when all segments in use together have less than one segment's worth of
 * bytes that are not needed, or when nothing could be freed. Then a change that waits is refused.
 * The needed bytes include the expected waste at the ends of segments; some record sizes waste more
 * than expected. Then compaction would copy for ever. So it gives up when it has moved twice the
 * pool's bytes and gained no segment, and starts again when more records are dead.
 *
 * A tombstone is dropped when all other segments that were opened before it have been freed. So
 * when tombstones fill a 32nd of the pool, or nothing else can be gained, the oldest segment is
 * emptied whatever its gain is.
 *
 * Called by the janitor's thread only.
 */
#ifndef STAYD_STORE_RECLAIM_H
#define STAYD_STORE_RECLAIM_H

#include <stdbool.h>
#include <stdint.h>

struct pool;

/* Compaction gives up when it has moved this many times the pool's bytes without a gain. */
enum { RECLAIM_GIVE_UP = 2 };

struct reclaim {
    /* private; used by the janitor's thread only */
    /* Since compaction last gained a segment, or started again after it gave up: */
    int64_t gained; /* segments freed, less segments opened for moved records */
    uint64_t moved_bytes;
    uint64_t gave_up_gain; /* the gain of all segments when compaction gave up; 0: it did not */
};

/* Frees some segments. `stalled`: a change waits for room. Returns how many. */
unsigned reclaim_run(struct pool *pool, bool stalled, uint32_t now_s);

/* Called after a pass that freed `freed` segments: whether the next pass can free no segment unless
 * more records become dead. */
bool reclaim_is_exhausted(struct pool *pool, unsigned freed);

/* Notes that a pass has freed `freed` segments, and opened others for the bytes that it moved. */
void reclaim_note_progress(struct reclaim *reclaim, unsigned freed, uint32_t opened,
                           uint64_t moved_bytes);

#endif
