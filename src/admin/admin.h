/* The daemon's face for people and their monitoring, over HTTP and read-only:
 *
 *     /          a page that shows every pool and renews itself
 *     /metrics   the same numbers for Prometheus
 *     /healthz   200 "ok", or 503 and what is wrong: a pool that is full or read-only
 *
 * Served by a thread of libmicrohttpd, which takes no part in what the workers do. Started and
 * stopped by the main thread. */
#ifndef STAYD_ADMIN_ADMIN_H
#define STAYD_ADMIN_ADMIN_H

#include "net/listener.h"
#include "proto/server.h"
#include "store/pool.h"

struct admin_options {
    struct pool *const *pools;
    unsigned pool_count;
    struct proto_server *server;
    const char *host_names; /* by which clients may call it, besides those of host.h */
};

struct admin;

/* Serves on `listener`, which is open and remains the caller's, as do the pools. NULL if there is
 * no memory or no thread. */
struct admin *admin_start(const struct admin_options *options, struct listener *listener);

/* Accepts NULL. */
void admin_stop(struct admin *admin);

#endif
