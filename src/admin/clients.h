/* The open connections of the admin server, oldest first. When there are CLIENTS_KEPT connections,
 * a new one closes the oldest. So a client that keeps connections open without a request cannot
 * block a health check.
 *
 * To close a connection, its socket is shut down; libmicrohttpd then reads the end of the stream
 * and frees the connection. Used by libmicrohttpd's thread only. */
#ifndef STAYD_ADMIN_CLIENTS_H
#define STAYD_ADMIN_CLIENTS_H

enum {
    CLIENTS_MAX = 32,  /* open connections, including those that are being closed */
    CLIENTS_KEPT = 24, /* at this number, a new connection closes the oldest */
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
