/* The statistics, in groups: numbers about the daemon and the connection's pool, under memcached's
 * names where memcached has the same number. Both protocols list the same. */
#ifndef STAYD_PROTO_STATS_H
#define STAYD_PROTO_STATS_H

#include "proto/proto.h"
#include "proto/stats_sink.h"

/* The connection that lists a group, and the sink for the pairs. */
struct stats_listing {
    struct proto_connection *connection;
    struct store_thread *thread;
    struct stats_sink *sink;
};

/* Lists the group with this name; "" is the general group. False: there is no such group. */
bool stats_list(struct stats_listing *listing, struct bytes group);

#endif
