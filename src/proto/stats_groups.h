/* The groups of stats.h, one function each; for stats.c alone. */
#ifndef STAYD_PROTO_STATS_GROUPS_H
#define STAYD_PROTO_STATS_GROUPS_H

#include "proto/stats.h"

void stats_put_general(struct stats_listing *listing);
void stats_put_settings(struct stats_listing *listing);
void stats_put_items(struct stats_listing *listing);
void stats_put_slabs(struct stats_listing *listing);
void stats_put_sizes(struct stats_listing *listing);
void stats_put_conns(struct stats_listing *listing);
void stats_put_expiry(struct stats_listing *listing);
void stats_put_latency(struct stats_listing *listing);
void stats_put_cluster(struct stats_listing *listing);
void stats_put_extstore(struct stats_listing *listing);

#endif
