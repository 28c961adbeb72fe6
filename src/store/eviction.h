/* Eviction by merging, as Segcache does it (Yang, Yue, Rashmi: NSDI'21): the oldest segments of one
 * TTL class are merged. The half of their records with the most reads for their size stays, and the
 * rest is evicted. This costs one sequential pass over the bytes, and no list that every read would
 * have to update.
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
