/* The open connections of the admin server, oldest first. When there are CLIENTS_KEPT connections,
 * a new one closes the oldest. So a client that keeps connections open without a request cannot
 * block a health check. No request needs a body. CLIENTS_BODY_MAX bytes of bodies are received and
 * ignored, so that a client that sends one can read the reply.
 *
 * To close a connection, its socket is shut down; libmicrohttpd then reads the end of the stream
 * and frees the connection. Used by libmicrohttpd's thread only. */
#ifndef STAYD_ADMIN_CLIENTS_H
#define STAYD_ADMIN_CLIENTS_H

#include "admin/login.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    CLIENTS_KEPT = 24,    /* at this number, a new connection closes the oldest */
    CLIENTS_CLOSING = 12, /* connections that have been shut down but not yet freed */
    /* All open connections. libmicrohttpd cannot free a suspended connection, so those that wait
     * for a verdict may all have been shut down too. */
    CLIENTS_MAX = CLIENTS_KEPT + CLIENTS_CLOSING + LOGINS_WAITING_MAX,
    CLIENTS_BODY_MAX = 512 << 10 /* bytes of all bodies of a connection */
};

struct client {
    int fd;
    size_t body_bytes; /* received, of all requests */
};

struct clients {
    unsigned count;
    struct client kept[CLIENTS_KEPT]; /* oldest first */
};

/* A connection with this descriptor was accepted. */
void clients_add(struct clients *clients, int fd);

/* The connection has ended; libmicrohttpd is about to close its descriptor. */
void clients_remove(struct clients *clients, int fd);

/* Counts bytes of a request's body. False if the connection must be closed: they are too many, or
 * the connection has been shut down. */
bool clients_take_body(struct clients *clients, int fd, size_t size);

#endif
