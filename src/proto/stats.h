/* What statistics there are, in groups: numbers about the daemon and the connection's pool, under
 * memcached's names where it has one for the same thing. Both protocols list the same. */
#ifndef STAYD_PROTO_STATS_H
#define STAYD_PROTO_STATS_H

#include "proto/proto.h"
#include "proto/stats_sink.h"

/* On whose behalf a group is listed, and to where. */
struct stats_listing {
    struct proto_connection *connection;
    struct store_thread *thread;
    struct stats_sink *sink;
};

/* Lists the group with this name, "" for the general one. False: there is none. */
bool stats_list(struct stats_listing *listing, struct bytes group);

#endif
