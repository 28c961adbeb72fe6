/* Reclaiming: which segments the janitor empties next, when it stops, and when no more room can be
 * gained. It works while few segments are free (segments_are_few):
 *
 *                  nobody waits                            a change waits for room
 *     evict = no   compaction, if that gains a quarter     compaction, if that gains 1/2N
 *                  of a segment                            of a segment (of N segments)
 *     evict = yes  compaction, if that gains half of a     the same; and eviction from an open
 *                  segment, else eviction                  segment, if no other is left
 *
 * The gain of a segment is what emptying it frees (compaction.h); the segment with the greatest
 * gain comes first. While no change waits, the janitor waits for a greater gain, because more
 * records of a segment may become dead.
 *
 * Why 1/2N is enough, evict = no: what is needed is at most (N - reserves - 1) segments (invariant
 * 7, segments_needed_limit). When an update finds no segment, fewer than the reserves are free. So
 * the segments in use have at least two segments' worth of bytes that are not needed; when a new
 * key finds none, they have at least one. About half a segment of that is unused room at the ends
 * of the open segments, where the record did not fit. The rest is dead, in N segments at most. So
 * one of them gains 1/2N of a segment, and compaction goes on until one more is free.
 *
 * The pool is exhausted when all segments in use together hold less than one segment's worth of
 * bytes that are not needed, or when nothing could be freed. Then a change that waits is refused.
 * What is needed includes waste, which is an expectation: there are sizes that cannot be packed so
 * tightly. With these, compaction would copy for ever, so it gives up when it has moved two pools'
 * worth and gained no segment, until more records are dead.
 *
 * Tombstones go when the segments that were opened before them have gone. When tombstones fill a
 * 32nd of the pool, or nothing else can be gained, the oldest segment is emptied whatever its gain.
 *
 * Called by the janitor's thread only.
 */
#ifndef STAYD_STORE_RECLAIM_H
#define STAYD_STORE_RECLAIM_H

#include <stdbool.h>
#include <stdint.h>

struct pool;

enum { RECLAIM_GIVE_UP = 2 }; /* bytes of so many pools were moved, and it did not help */

struct reclaim {
    /* private; used by the janitor's thread only */
    int64_t gained;        /* segments freed, less segments opened for moved records, and */
    uint64_t moved_bytes;  /* bytes moved, since `gained` was 0 */
    uint64_t gave_up_gain; /* the gain of all segments when compaction gave up; 0: it did not */
};

/* Frees some segments. `stalled`: a change waits for room. Returns how many. */
unsigned reclaim_run(struct pool *pool, bool stalled, uint32_t now_s);

/* After a pass of reclaim_run that freed `freed` segments: whether the next pass could free none
 * unless more records become dead. */
bool reclaim_is_exhausted(struct pool *pool, unsigned freed);

/* Notes that a pass has freed `freed` segments, and opened others for the bytes that it moved. */
void reclaim_note_progress(struct reclaim *reclaim, unsigned freed, uint32_t opened,
                           uint64_t moved_bytes);

#endif
