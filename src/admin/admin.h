/* The admin server: HTTP, read-only, for people and for monitoring:
 *
 *     /                 the dashboard: a page that draws the figures below
 *     /metrics          the figures for Prometheus
 *     /healthz          200 "ok", or 503 and the faults: a pool is full or read-only, waits long
 *                       for the disk, or refuses clients
 *     /healthz/live     200 as long as the daemon answers
 *     /api/v1/stats     the figures and the warnings, as JSON
 *     /api/v1/history   some of the figures over the last hour or day, as JSON
 *
 * If there are users, a client must log in for all pages but the two /healthz (login.h). Without a
 * login, /healthz does not name the faults. If there is a certificate, clients must use TLS
 * (tls_relay.h).
 *
 * A thread of libmicrohttpd serves these pages; the workers are not involved. The main thread
 * starts and stops the server. */
#ifndef STAYD_ADMIN_ADMIN_H
#define STAYD_ADMIN_ADMIN_H

#include "net/listener.h"
#include "proto/server.h"
#include "store/pool.h"

struct admin_options {
    struct pool *const *pools;
    unsigned pool_count;
    struct proto_server *server;
    const struct proto_service *services; /* one for each pool, with the pool's index */
    const char *host_names;               /* further names that a Host header may have (host.h) */
    struct auth_pool *users;              /* NULL: no login is needed */
    struct tls *tls;                      /* NULL: plain HTTP */
    struct proto_tls *tls_counters;       /* of `tls` */
};

struct admin;

/* The most files that the admin server has open at a time, without its listener. */
unsigned admin_count_files(bool has_tls);

/* Serves on `listener`, which is open. The caller frees the listener and the pools after
 * admin_stop. NULL if there is no memory, or a thread cannot be started. */
struct admin *admin_start(const struct admin_options *options, struct listener *listener);

/* auth_stop has been called. Accepts NULL. */
void admin_stop(struct admin *admin);

#endif
