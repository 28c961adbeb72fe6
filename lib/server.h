/* One server, and the connections of this process to it. Connections are kept and used again.
 *
 * A request takes the connection that was used last. So connections that only a burst needed stay
 * at the other end of the list, the oldest first. Each request, when it ends, closes connections at
 * that end that have been idle for too long; no thread is needed for that.
 *
 *     all ---> connection ---> connection ---> ...    only grows: a child of a fork walks this list
 *     newest <--> ... <--> oldest                     the idle connections
 *
 * Any thread may call anything but server_init, server_finish and server_renew. */
#ifndef STAYD_LIB_SERVER_H
#define STAYD_LIB_SERVER_H

#include "availability.h"
#include "channel.h"
#include "mapping.h"
#include "tls.h"
#include "url.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum connection_state {
    CONNECTION_SPARE, /* closed, and not used by a request */
    CONNECTION_IDLE,  /* open, and not used by a request */
    CONNECTION_TAKEN, /* used by a request */
    CONNECTION_LOST   /* was used by a request when this process was forked; in no list */
};

struct connection {
    struct channel channel; /* closed until the first request that needs it */
    uint64_t taken_ms;
    bool received_mappings; /* a server sends its mappings at most once on each connection */
    _Atomic enum connection_state state;

    /* private */
    struct connection *next; /* in the list of all connections */
    struct connection *newer;
    struct connection *older; /* in the list of idle connections; of a spare connection: the next
                                 spare connection */
    uint64_t idle_since_ms;
};

struct server {
    struct url url;
    struct tls *tls;        /* NULL: no TLS */
    struct url_times times; /* from the options, the URL, or the defaults */
    struct availability availability;
    struct mapping mapping;       /* while the pool is mapped, reads need no connection */
    _Atomic uint64_t answered_ms; /* when a request was last answered */

    /* private */
    _Atomic(struct connection *) all;
    int (*interrupted)(void *user);
    void *interrupted_user;
    unsigned max_connections; /* 0: no limit */
    pthread_mutex_t lock;     /* protects the fields below */
    struct connection *newest;
    struct connection *oldest;
    struct connection *spare;
    unsigned open_count; /* taken or idle */
};

/* Takes over `url`, which is then empty. False with a sentence in `error`; the server is then
 * finished. */
bool server_init(struct server *server, struct url *url, const struct stayd_options *options,
                 char error[STAYD_ERROR_MAX]);

/* Accepts a zeroed server. No connection may be taken. */
void server_finish(struct server *server);

/* Called in a child of a fork, before any thread uses the server there: closes this process's
 * descriptors of the parent's connections, and sends nothing. */
void server_renew(struct server *server);

/* Takes a connection for one request, which must give the connection back or drop it. `fresh`: a
 * connection that is not open yet. NULL if the limit is reached, or memory is short
 * (`*no_memory`). */
struct connection *server_take(struct server *server, bool fresh, bool *no_memory);

/* Call it after a request that was answered. */
void server_give_back(struct server *server, struct connection *connection);

/* Closes a connection on which something went wrong. */
void server_drop(struct server *server, struct connection *connection);

/* Closes the idle connections. */
void server_disconnect(struct server *server);

#endif
