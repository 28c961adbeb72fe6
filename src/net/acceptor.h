/* Accepts connections on all listeners. Passes them to the workers, or first to the thread for TLS
 * handshakes. A connection beyond max_connections gets an error and is closed, as in memcached;
 * other connections are not affected. A part of the connections is reserved for each pool
 * (net/share.h). When the process runs out of file descriptors, accepting pauses for a moment, and
 * the kernel queues the clients. A listener that is paused takes no connections.
 *
 * Runs on the main thread. */
#ifndef STAYD_NET_ACCEPTOR_H
#define STAYD_NET_ACCEPTOR_H

#include "net/handshakes.h"
#include "net/listener.h"
#include "net/workers.h"

struct acceptor {
    struct listener *listeners; /* open; the pool of each is set */
    unsigned listener_count;
    struct workers *workers;
    struct handshakes *handshakes; /* for listeners with TLS; NULL: there are none */
    struct proto_server *server;   /* with max_connections */

    int change_fd; /* readable: listeners are to be paused or resumed; -1: there is none */

    /* private; zero at first */
    uint64_t rejected_logged_ms;
    uint64_t paused_until_ms;
};

/* Accepts until `wake_fd` or `change_fd` is readable. False if poll() fails: the reason is logged.
 */
bool acceptor_run(struct acceptor *acceptor, int wake_fd);

#endif
