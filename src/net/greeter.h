/* The thread on which new clients of a TLS listener shake hands; with the handshake done they go to
 * a worker like every other connection.
 *
 *     acceptor --greeter_give--> handshake (own thread) --workers_give--> worker
 *
 * A handshake costs as much as thousands of requests. On a thread of its own, which gives way to
 * the workers, a flood of them slows other new TLS clients alone. A client has as long as
 * timeout_ms for all of it, and when more than `most` are at it, or of one pool more than half of
 * the connections that are kept for it, the one that came first is dropped, so that clients that
 * never finish keep nobody out. One that does not speak TLS at all is told by its first byte.
 *
 * Started and stopped by the main thread; any thread may give. */
#ifndef STAYD_NET_GREETER_H
#define STAYD_NET_GREETER_H

#include "net/listener.h"
#include "net/worker.h"

#include <stdbool.h>
#include <stdint.h>

struct greeter_options {
    struct workers *workers;
    struct proto_server *server;
    uint32_t timeout_ms;
    unsigned most; /* handshakes under way at a time */
};

struct greeter;

/* NULL with the reason in errno. */
struct greeter *greeter_start(const struct greeter_options *options);

/* Takes the socket, which the listener has accepted and which is counted in server.connections. It
 * is counted out again if nothing comes of it. */
void greeter_give(struct greeter *greeter, int fd, const union peer *peer,
                  const struct listener *listener);

/* Ends the thread and closes what is not yet with a worker. Accepts NULL. */
void greeter_stop(struct greeter *greeter);

#endif
