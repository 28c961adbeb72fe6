/* Compaction: frees segments by moving their live records and dropping dead, expired and flushed
 * ones.
 *
 *     before   | live | dead | live | dead | dead |      | live | dead | dead | live |
 *     after    | live | live | live | live |  ...        free           free
 *
 * Called by the janitor's thread, or by the thread that opens the pool (resize.h), for segments
 * that were sealed a grace period ago. */
#ifndef STAYD_STORE_COMPACTION_H
#define STAYD_STORE_COMPACTION_H

#include "store/pool_private.h"

enum { COMPACTION_BATCH = 16 }; /* segments that share two syncs and grace periods */

/* Removes the slots of the items in a segment that are expired or flushed; moves nothing. The
 * segment may still be open. */
void compaction_sweep(struct pool *pool, uint32_t segment, uint32_t now_s);

enum { COMPACTION_SCORE_MAX = 255 };

/* The score of a value for eviction: reads per byte, on a logarithmic scale from 0 to
 * COMPACTION_SCORE_MAX. 0: never read. */
unsigned compaction_score(unsigned reads, size_t size_bytes);

/* Waits until all writes into the segments that are sealed now have ended. Called before
 * compaction_empty, once for all segments of a batch. */
void compaction_begin(struct pool *pool);

/* Empties a segment. Evicts live values with a score below `keep_score` (0: none). False if there
 * is no room for the records that must move, or a sync failed: then the segment still holds
 * records. */
bool compaction_empty(struct pool *pool, uint32_t segment, unsigned keep_score, uint32_t now_s);

/* Frees segments that compaction_empty has emptied. First waits for a grace period and, in a
 * persistent pool, syncs the copies (invariant 4). Then clears the segments' headers and, in a
 * persistent pool, syncs those, before the segments can be written again (invariant 1). False if a
 * sync failed. */
bool compaction_free(struct pool *pool, const uint32_t *segments, unsigned count);

/* The gain of all segments together (compaction_run). */
uint64_t compaction_gain_bytes(struct pool *pool);

/* Empties and frees the oldest segment, even if it is full of live records or still open:
 * tombstones that were needed because of records in that segment may be dropped afterwards. Returns
 * how many segments were freed. */
unsigned compaction_run_oldest(struct pool *pool, uint32_t now_s);

/* Empties and frees the segments with the greatest gain, if that is at least `least_gain` bytes:
 *
 *     sealed   | live | dead | live | dead | unused |    gain: dead and unused, less the waste
 *     open     | live | dead | live | unused ...         gain: dead, less the waste
 *
 *     the waste: what the live records are expected to waste in the segments that they move to
 *
 * `seals`: if an open segment has the greatest gain, it is sealed and emptied too. Returns how many
 * were freed. */
unsigned compaction_run(struct pool *pool, uint32_t least_gain, bool seals, uint32_t now_s);

#endif
