/* Something that the clients of all pools have together, with a part kept for each pool, so that no
 * pool's clients can take what another's need: places for connections, and memory.
 *
 *     whole:  | kept for cache | kept for sessions | for whoever comes first |
 *
 * What a pool has beyond its own part is taken from the last. Any thread may call. */
#ifndef STAYD_NET_SHARE_H
#define STAYD_NET_SHARE_H

#include "proto/server.h"

#include <stdbool.h>

/* Divides half of `limit` evenly among so many shares, which are given by share_keep. */
void share_divide(struct proto_whole *whole, uint64_t limit, unsigned shares);

/* One of those. `most`: that the share may have in all; 0: as much as there is. */
void share_keep(const struct proto_whole *whole, struct proto_share *share, uint64_t most);

/* Takes so much, in any case if `forced`; false if there is none, and nothing is taken. */
bool share_take(struct proto_whole *whole, struct proto_share *share, uint64_t amount, bool forced);

/* How much the share can have in all at this moment, what it has included: its own part, and what
 * others have not taken of the common one. */
uint64_t share_get_reach(const struct proto_whole *whole, const struct proto_share *share);

/* Gives back what was taken. */
void share_give(struct proto_whole *whole, struct proto_share *share, uint64_t amount);

#endif
