/* Taking segments back: what is live moves, what is dead, expired or flushed goes.
 *
 *     before   | live | dead | live | dead | dead |      | live | dead | dead | live |
 *     after    | live | live | live | live |  ...        free           free
 *
 * Called by the janitor's thread only, for segments that were sealed a grace period ago.
 */
#ifndef STAYD_STORE_COMPACTION_H
#define STAYD_STORE_COMPACTION_H

#include "store/pool_private.h"

enum { COMPACTION_BATCH = 16 }; /* segments that share their two syncs and grace periods */

/* Removes the slots of the items in a segment that are expired or flushed; moves nothing. The
 * segment may still be open. */
void compaction_sweep(struct pool *pool, uint32_t segment, uint32_t now_s);

enum { COMPACTION_SCORE_MAX = 255 };

/* What a value is worth: reads per byte, on a logarithmic scale from 0 to COMPACTION_SCORE_MAX. 0:
 * it was not read. */
unsigned compaction_score(unsigned reads, size_t size_bytes);

/* Waits until the last writes into the segments that are sealed by now are done. Before
 * compaction_empty, once for all segments of a batch. */
void compaction_begin(struct pool *pool);

/* Empties a segment. Live values with a score below `keep_score` are evicted (0: none is). False if
 * the room for what has to move ran out, or a sync failed: then it still holds records. */
bool compaction_empty(struct pool *pool, uint32_t segment, unsigned keep_score, uint32_t now_s);

/* Frees segments that compaction_empty has emptied: after a grace period, and in persistent pools
 * after the copies are durable (invariant 4) and before anything can be written over (invariant 1).
 * False if a sync failed. */
bool compaction_free(struct pool *pool, const uint32_t *segments, unsigned count);

/* What could be gained, at the most, by moving everything together: bytes. */
uint64_t compaction_gain_bytes(struct pool *pool);

/* What emptying the sealed segment with the most to gain would give: bytes. */
uint32_t compaction_best_gain_bytes(struct pool *pool);

/* Moves the oldest segment, however full of live records, and be it still open: tombstones that had
 * to outlive it may go afterwards. Returns how many segments were freed. */
unsigned compaction_run_oldest(struct pool *pool, uint32_t now_s);

/* Empties and frees the segments with the most dead bytes. `least_gain`: percent of a segment that
 * must be gained for it to be worth moving the rest. Returns how many were freed. */
unsigned compaction_run(struct pool *pool, unsigned least_gain, uint32_t now_s);

#endif
