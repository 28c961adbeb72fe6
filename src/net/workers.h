/* The threads that serve connections. Each is an event loop over its own connections, with its own
 * buffers and its own store_thread. A connection of any pool may be on any thread, and stays on it.
 *
 *     acceptor --workers_add--> queue --eventfd--> worker: epoll_wait -> batch -> epoll_wait ...
 *
 * A batch has all connections that one epoll_wait returned. Each connection in it is served once:
 * read, answered, sent. A connection with more work is served again in the next batch. Connections
 * with heavy turns (worker_turn.c) are served after the others, in order of arrival, and a batch
 * serves only WORKER_HEAVY_WORK of them. So a client with ordinary requests waits for at most one
 * batch: the light turns of other clients, and WORKER_HEAVY_WORK. While a worker waits it is
 * offline for the store.
 *
 * Only the main thread calls workers_start and workers_stop. */
#ifndef STAYD_NET_WORKERS_H
#define STAYD_NET_WORKERS_H

#include "net/listener.h"
#include "net/transfers.h"
#include "proto/server.h"
#include "store/pool.h"

#include <stdbool.h>
#include <stdint.h>

enum { WORKERS_ERROR_MAX = 256 /* bytes of a message in an out parameter, with its zero */ };

struct workers_options {
    unsigned threads;
    struct grace *grace; /* created for at least `threads` threads */
    struct pool *const *pools;
    unsigned pool_count;
    struct proto_server *server;
    const struct listener *listeners; /* the listeners of all connections */
    unsigned listener_count;
    /* Closes a connection whose client has not read any of its replies for this long, has not
     * completed a large request within this time (or longer, while it sends at a minimum rate), or
     * has not logged in within this time, if the pool requires a login. */
    uint32_t send_timeout_ms;
    enum transfers_kind io; /* not TRANSFERS_AUTO */
};

struct tls_session;
struct workers;
union peer;

/* Starts the threads, and sets the server's `network`. The objects that `options` points to live
 * longer than the workers. NULL with the reason in `error`. */
struct workers *workers_start(const struct workers_options *options, char error[WORKERS_ERROR_MAX]);

/* Passes an accepted socket and its TLS session (NULL: plain text) to the worker with the fewest
 * connections. The worker decrements the connection count when it closes the connection. False if
 * memory is short: the connection has been closed and the count decremented. Any thread may call.
 */
bool workers_add(struct workers *workers, int fd, const union peer *peer,
                 const struct listener *listener, struct tls_session *tls);

/* Asks every worker to run a batch. Returns the number, from 1, of a worker that has run no batch
 * since the last call and does not wait for the disk; 0 if there is no such worker. Main thread
 * only. */
unsigned workers_probe(struct workers *workers);

/* Answers the requests that have been received, waits up to two seconds until clients have read
 * their replies, closes all connections and ends the threads. Accepts NULL. */
void workers_stop(struct workers *workers);

#endif
