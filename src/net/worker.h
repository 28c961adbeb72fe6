/* The threads that serve connections: each an event loop over its own connections, with its own
 * buffers and its own store_thread. Any connection, of whatever pool, may be on any thread, and
 * stays there.
 *
 *     acceptor --workers_give--> queue --eventfd--> worker: epoll_wait -> batch -> epoll_wait ...
 *
 * A batch is all that one epoll_wait found, and each connection in it is served once: read,
 * answered, sent. One that has more to do comes again in the next batch. Connections whose
 * turns are heavy (worker.c) are served behind the others, in the order in which they came, and
 * only so many in a batch that the others are looked at again soon. So a client with ordinary
 * requests waits for one batch: the light turns of others, and WORKER_HEAVY_WORK. While a worker
 * waits it is offline for the store.
 *
 * workers_start and workers_stop are the main thread's. */
#ifndef STAYD_NET_WORKER_H
#define STAYD_NET_WORKER_H

#include "net/listener.h"
#include "proto/server.h"
#include "store/pool.h"

#include <stdbool.h>
#include <stdint.h>

enum { WORKER_ERROR_MAX = 256 /* bytes of a message in an out parameter, with its zero */ };

struct worker_options {
    unsigned threads;
    struct grace *grace; /* made for at least so many threads */
    struct pool *const *pools;
    unsigned pool_count;
    struct proto_server *server;
    const struct listener *listeners; /* all that connections may come from */
    unsigned listener_count;
    /* A client is dropped that for so long takes none of its replies, has not sent the rest of a
     * large request and does not send it at a least rate, or has not logged in where it must. */
    uint32_t send_timeout_ms;
};

struct tls_session;
struct workers;
union peer;

/* The server's visit_peers works from now on. `options`, and what they point to, live longer than
 * the workers. NULL with the reason in `error`. */
struct workers *workers_start(const struct worker_options *options, char error[WORKER_ERROR_MAX]);

/* Hands the socket, which the listener has accepted from `peer`, and what is spoken over it (NULL:
 * plain text) to the worker with the fewest connections, which counts it out of server.connections
 * when it closes it. False, all of that done at once, if memory is short. Any thread may call it.
 */
bool workers_give(struct workers *workers, int fd, const union peer *peer,
                  const struct listener *listener, struct tls_session *tls);

/* Answers what has been received, gives clients two seconds to take their replies, closes all
 * connections and ends the threads. Accepts NULL. */
void workers_stop(struct workers *workers);

#endif
