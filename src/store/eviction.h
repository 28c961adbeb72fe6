/* Eviction by merging, as Segcache does it (Yang, Yue, Rashmi: NSDI'21): the oldest segments of one
 * TTL class are merged, and of their records those with the most reads for their size stay, about
 * half; the rest is forgotten. It costs one pass over bytes that are in order, and no list that
 * every read has to keep.
 *
 * Called by the janitor's thread only.
 */
#ifndef STAYD_STORE_EVICTION_H
#define STAYD_STORE_EVICTION_H

#include "store/pool_private.h"

/* Frees some segments. Returns how many; 0 if there is nothing sealed to evict from. `seals`: then
 * evicts from the fullest open segment. */
unsigned eviction_run(struct pool *pool, bool seals, uint32_t now_s);

#endif
