/* stats conns: every listener and every open connection of the pool. memcached shows those of the
 * whole daemon. Here each pool is like a memcached of its own, and does not show the clients of
 * other pools. */
#include "proto/stats_groups.h"

#include <stdio.h>

enum { CONNS_NAME_MAX = 64 };

static void conns_put(struct stats_sink *sink, int fd, const char *name, const char *value) {
    char whole[CONNS_NAME_MAX];
    snprintf(whole, sizeof whole, "%d:%s", fd, name);
    stats_put_bytes(sink, bytes_from_string(whole), bytes_from_string(value));
}

static void conns_put_peer(void *context, const struct proto_peer *peer) {
    const struct stats_listing *listing = context;
    struct stats_sink *sink = listing->sink;
    char seconds[CONNS_NAME_MAX];
    conns_put(sink, peer->fd, "addr", peer->address);
    if (peer->listen_address != NULL) {
        conns_put(sink, peer->fd, "listen_addr", peer->listen_address);
    }
    /* The client that asks: its connection's own state is the one before this request. */
    bool asks = peer->listen_address != NULL && peer->fd == listing->connection->fd;
    conns_put(sink, peer->fd, "state", asks ? "conn_parse_cmd" : peer->state);
    snprintf(seconds, sizeof seconds, "%u", peer->idle_s);
    conns_put(sink, peer->fd, "secs_since_last_cmd", seconds);
}

void stats_put_conns(struct stats_listing *listing) {
    const struct proto_service *service = listing->connection->service;
    const struct proto_network *net = &service->server->network;
    if (net->visit_peers != NULL &&
        !net->visit_peers(net->network, service, conns_put_peer, listing)) {
        listing->sink->failed = true;
    }
    /* end the turn: there may be thousands of connections, which have all waited */
    listing->connection->turn_left = 0;
}
