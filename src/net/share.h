/* A resource that the clients of all pools share: places for connections, or memory. A part of it
 * is reserved for each pool, so that the clients of one pool cannot use up what another pool needs.
 *
 *     whole:  | part of cache | part of sessions | common |
 *
 * A pool that uses more than its part takes the rest from the common part. Any thread may call. */
#ifndef STAYD_NET_SHARE_H
#define STAYD_NET_SHARE_H

#include "proto/limits.h"

#include <stdbool.h>

/* Reserves half of `limit`, in equal parts, for this many pools. */
void share_divide(struct proto_whole *whole, uint64_t limit, unsigned pools);

/* Takes `amount`. False, and nothing is taken, if less is left. `forced`: takes the amount even
 * then. */
bool share_take(struct proto_whole *whole, struct proto_share *share, uint64_t amount, bool forced);

/* How much the pool can have in all at this moment, including what it uses: its part, and what
 * other pools have not taken of the common part. */
uint64_t share_get_reach(const struct proto_whole *whole, const struct proto_share *share);

/* Gives back what was taken. */
void share_give(struct proto_whole *whole, struct proto_share *share, uint64_t amount);

#endif
