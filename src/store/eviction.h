/* Eviction by merging, as Segcache does it (Yang, Yue, Rashmi: NSDI'21): the oldest segments of one
 * TTL class are merged. The records with the most reads per byte stay, up to half of the bytes, and
 * the rest is evicted. This costs one sequential pass over the bytes. An LRU list would have to be
 * updated at every read.
 *
 * Called by the janitor's thread only.
 */
#ifndef STAYD_STORE_EVICTION_H
#define STAYD_STORE_EVICTION_H

#include "store/pool_private.h"

/* Frees some segments. Returns how many; 0 if there is no sealed segment. With `seals`, evicts from
 * the fullest open segment if there is no sealed one. */
unsigned eviction_run(struct pool *pool, bool seals, uint32_t now_s);

#endif
