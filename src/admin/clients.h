/* The open connections of the admin server, oldest first. When there are CLIENTS_KEPT connections,
 * a new one closes the oldest. So a client that keeps connections open without a request cannot
 * block a health check.
 *
 * To close a connection, its socket is shut down; libmicrohttpd then reads the end of the stream
 * and frees the connection. Used by libmicrohttpd's thread only. */
#ifndef STAYD_ADMIN_CLIENTS_H
#define STAYD_ADMIN_CLIENTS_H

#include "admin/login.h"

enum {
    CLIENTS_KEPT = 24,    /* at this number, a new connection closes the oldest */
    CLIENTS_CLOSING = 12, /* connections that have been shut down but not yet freed */
    /* All open connections. libmicrohttpd cannot free a suspended connection, so those that wait
     * for a verdict may all have been shut down too. */
    CLIENTS_MAX = CLIENTS_KEPT + CLIENTS_CLOSING + LOGINS_WAITING_MAX
};

struct clients {
    unsigned count;
    int fds[CLIENTS_KEPT]; /* oldest first */
};

/* A connection with this descriptor was accepted. */
void clients_add(struct clients *clients, int fd);

/* The connection has ended; libmicrohttpd is about to close its descriptor. */
void clients_remove(struct clients *clients, int fd);

#endif
