/* The admin server: HTTP, read-only, for people and for monitoring:
 *
 *     /                 the dashboard: a page that draws the figures below
 *     /metrics          the figures for Prometheus
 *     /healthz          200 "ok", or 503 and the faults: a pool is full or read-only, or refuses
 *                       clients
 *     /healthz/live     200 as long as the daemon answers
 *     /api/v1/stats     the figures and the warnings, as JSON
 *     /api/v1/history   some of the figures over the last hour or day, as JSON
 *
 * A thread of libmicrohttpd serves it; the workers are not involved. The main thread starts and
 * stops it. */
#ifndef STAYD_ADMIN_ADMIN_H
#define STAYD_ADMIN_ADMIN_H

#include "net/listener.h"
#include "proto/server.h"
#include "store/pool.h"

struct admin_options {
    struct pool *const *pools;
    unsigned pool_count;
    struct proto_server *server;
    const struct proto_service *services; /* of the pool with the same index */
    const char *host_names; /* the names that a Host header may have, besides those in host.h */
};

struct admin;

/* Serves on `listener`, which is open. The caller keeps the listener and the pools, and frees them
 * after admin_stop. NULL if there is no memory or no thread. */
struct admin *admin_start(const struct admin_options *options, struct listener *listener);

/* Accepts NULL. */
void admin_stop(struct admin *admin);

#endif
