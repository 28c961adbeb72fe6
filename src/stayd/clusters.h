/* The clustered pools of the daemon. The daemon starts without waiting for their clusters: the
 * other pools serve at once. A clustered pool's listeners are paused (net/listener.h) while it must
 * not serve: until it has caught up, or while it is further behind than `cluster_max_lag`. A
 * refused connection makes a client go to another host at once, as does a load balancer; a
 * connection that is accepted and not answered would cost each client its timeout.
 *
 * Main thread only. */
#ifndef STAYD_STAYD_CLUSTERS_H
#define STAYD_STAYD_CLUSTERS_H

#include "net/listener.h"
#include "proto/server.h"
#include "stayd/config.h"
#include "store/pool.h"

#include <stdbool.h>

enum { CLUSTERS_STATUS_MAX = 256 /* bytes of clusters_describe's text, with its zero */ };

struct clusters_options {
    const struct config *config; /* all pointers stay valid until clusters_leave */
    struct pool *const *pools;   /* one for each pool of the configuration; so are the services */
    struct proto_service *services;
    struct listener *listeners; /* of all pools, in the configuration's order */
    struct proto_server *server;
    struct grace *grace;
    bool (*is_stopping)(void);
};

struct clusters;

/* Begins to join all clusters, and waits until the first try of each has ended, but some seconds at
 * most. NULL, which is logged: an engine was reached and something is wrong; or the daemon is
 * stopping. An engine that cannot be reached is no reason. */
struct clusters *clusters_join(const struct clusters_options *options);

/* Readable: call clusters_update. -1 for NULL. */
int clusters_get_change_fd(const struct clusters *clusters);

/* Pauses and resumes listeners. Returns whether there was news. Accepts NULL. */
bool clusters_update(struct clusters *clusters);

/* Writes what to add to systemd's status line about pools that serve no clients. Returns their
 * number. Accepts NULL. */
unsigned clusters_describe(const struct clusters *clusters, char text[CLUSTERS_STATUS_MAX]);

/* No connection uses a pool any more. Accepts NULL. */
void clusters_leave(struct clusters *clusters);

#endif
