/* The thread for TLS handshakes. After its handshake a connection is passed to a worker, like every
 * other connection.
 *
 *     acceptor --handshakes_add--> handshake (own thread) --workers_add--> worker
 *
 * A handshake costs as much as thousands of requests. This thread has a lower priority than the
 * workers, so a flood of handshakes slows only other new TLS clients. A handshake must end within
 * timeout_ms. When more than `most` handshakes are active, or those of one pool are more than half
 * of the connections that the pool can have, the oldest one is dropped, so clients that never
 * finish cannot block others. A client that does not speak TLS is recognised by its first byte.
 *
 * The main thread starts and stops it; any thread may add connections. */
#ifndef STAYD_NET_HANDSHAKES_H
#define STAYD_NET_HANDSHAKES_H

#include "net/listener.h"
#include "net/workers.h"

#include <stdbool.h>
#include <stdint.h>

struct handshakes_options {
    struct workers *workers;
    struct proto_server *server;
    uint32_t timeout_ms;
    unsigned most; /* the maximum of active handshakes */
};

struct handshakes;

/* NULL with the reason in errno. */
struct handshakes *handshakes_start(const struct handshakes_options *options);

/* Takes ownership of the socket, which the listener has accepted. The connection has been counted;
 * if the handshake fails, the count is decremented. */
void handshakes_add(struct handshakes *handshakes, int fd, const union peer *peer,
                    const struct listener *listener);

/* Ends the thread and closes all connections whose handshake has not ended. Accepts NULL. */
void handshakes_stop(struct handshakes *handshakes);

#endif
