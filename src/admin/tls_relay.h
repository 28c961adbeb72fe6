/* TLS for the admin server. A thread takes the clients' connections, does TLS by the same code and
 * the same rules as for the pools (net/tls.h), and passes the plain bytes to libmicrohttpd through
 * a pair of sockets:
 *
 *     client <--TLS--> relay <--socket pair--> libmicrohttpd
 *
 * libmicrohttpd has TLS of its own, by GnuTLS. It is not used: a second TLS library would have
 * rules, limits and messages of its own, and need its own code to read certificates again.
 *
 * A handshake must end within TLS_RELAY_HANDSHAKE_MS, and a connection on which nothing moves is
 * closed. When there are CLIENTS_KEPT connections, a new one closes the oldest (clients.h). The
 * thread has a lower priority than the workers. The main thread starts and stops it. */
#ifndef STAYD_ADMIN_TLS_RELAY_H
#define STAYD_ADMIN_TLS_RELAY_H

#include "admin/clients.h"
#include "net/listener.h"
#include "net/tls.h"

#include <microhttpd.h>

enum {
    TLS_RELAY_HANDSHAKE_MS = 10000,
    TLS_RELAY_IDLE_MS = 30000, /* longer than libmicrohttpd's own limit */
    /* The most files at a time: the epoll, the eventfd that wakes the thread, and the client's
     * socket and an end of a pair for each connection. The pairs' other ends are libmicrohttpd's.
     * A new connection is accepted before the oldest is closed. */
    TLS_RELAY_FILES = 2 + 2 * (CLIENTS_KEPT + 1)
};

struct tls_relay;

/* Takes connections from `listener`, which is open and stays the caller's. Failed handshakes are
 * counted in `counters`. NULL if there is no memory, no descriptor or no thread. */
struct tls_relay *tls_relay_start(struct tls *tls, struct proto_tls *counters,
                                  const struct listener *listener, struct MHD_Daemon *http);

/* Closes all connections. Before MHD_stop_daemon. Accepts NULL. */
void tls_relay_stop(struct tls_relay *relay);

#endif
