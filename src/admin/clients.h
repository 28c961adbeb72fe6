/* The open connections of the admin server, oldest first. When they are many, the oldest one is
 * closed for the newest: whoever holds connections open, with half a request or none, does not keep
 * a health check out.
 *
 * A connection is closed by shutting its socket down; libmicrohttpd then sees its end. Used by
 * libmicrohttpd's thread alone. */
#ifndef STAYD_ADMIN_CLIENTS_H
#define STAYD_ADMIN_CLIENTS_H

enum {
    CLIENTS_MAX = 32,  /* open at the same time, those that are being closed included */
    CLIENTS_KEPT = 24, /* with more, the oldest is closed */
};

struct clients {
    unsigned count;
    int fds[CLIENTS_KEPT]; /* oldest first */
};

/* A connection with this descriptor has come. */
void clients_add(struct clients *clients, int fd);

/* It has ended, and its descriptor is about to be closed. */
void clients_remove(struct clients *clients, int fd);

#endif
