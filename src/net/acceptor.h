/* Accepts connections on all listeners and hands them to the workers, or to the greeter if they are
 * to speak TLS. Beyond max_connections a client is told so and closed, as memcached does, and the
 * others notice nothing; a part of the connections is kept for each pool (net/share.h). When the
 * process runs out of file descriptors, accepting pauses for a moment, and the system queues the
 * clients.
 *
 * Runs on the main thread. */
#ifndef STAYD_NET_ACCEPTOR_H
#define STAYD_NET_ACCEPTOR_H

#include "net/greeter.h"
#include "net/listener.h"
#include "net/worker.h"

struct acceptor {
    struct listener *listeners; /* open, each with its pool */
    unsigned listener_count;
    struct workers *workers;
    struct greeter *greeter;     /* for listeners with TLS; NULL: there are none */
    struct proto_server *server; /* with max_connections */

    /* private; zero at first */
    uint64_t rejected_logged_ms;
    uint64_t paused_until_ms;
};

/* Accepts until `wake_fd` is readable. False if that cannot be waited for: the reason is logged. */
bool acceptor_run(struct acceptor *acceptor, int wake_fd);

#endif
