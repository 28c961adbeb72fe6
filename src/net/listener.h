/* A socket that listens: TCP over IPv4 or IPv6, or a Unix socket. All its connections belong to one
 * service. The main thread opens and closes it; the acceptor reads `fd`. */
#ifndef STAYD_NET_LISTENER_H
#define STAYD_NET_LISTENER_H

#include "net/address.h"
#include "proto/rights.h"

#include <stdbool.h>
#include <sys/types.h>

struct auth_pool;
struct proto_service;
struct tls;

enum { LISTENER_ERROR_MAX = 512 /* bytes of a message in an out parameter, with its zero */ };

struct listener_options {
    unsigned backlog;     /* connections that may wait to be accepted; the system caps it */
    unsigned socket_mode; /* access rights of a socket file */
};

struct listener {
    bool is_open;
    bool is_paused; /* takes no clients: see listener_pause */
    int fd;         /* -1: a paused Unix socket */
    struct address address;
    struct proto_service *service; /* set by the owner before the acceptor starts */
    struct tls *tls;               /* the same; NULL: plain text */
    struct auth_pool *auth;        /* the same; NULL if no login is required */
    enum proto_allowed protocols;  /* the same */

    /* private */
    bool is_adopted;
    struct listener_options options;
    /* identify the socket file that this listener created, so that it removes no other
     * file */
    dev_t file_device;
    ino_t file_inode;
};

/* Binds and listens. After this call the kernel queues connections; the acceptor takes them when it
 * runs. A stale socket file of a killed daemon is replaced. A socket file on which a server answers
 * is an error. False with a sentence in `error`; nothing is left open then. */
bool listener_open(struct listener *listener, const struct address *address,
                   const struct listener_options *options, char error[LISTENER_ERROR_MAX]);

/* Takes over a socket that listens on `address` already, from another process (systemd), which
 * keeps the socket and its file. The listener owns the descriptor from now on, even if this
 * function fails. */
bool listener_adopt(struct listener *listener, int fd, const struct address *address,
                    const struct listener_options *options, char error[LISTENER_ERROR_MAX]);

/* Takes no clients for now, so that they go elsewhere: connections are refused, and those that wait
 * to be accepted are reset. A TCP socket keeps its port. The file of a Unix socket is removed: such
 * a socket cannot be paused. A socket that was adopted cannot be paused either, because the other
 * process would see that and give the socket up; the acceptor closes its connections at once. */
void listener_pause(struct listener *listener);

/* Takes clients again. False with a sentence in `error`: it is still paused, try again. */
bool listener_resume(struct listener *listener, char error[LISTENER_ERROR_MAX]);

/* Stops listening, and removes the socket file that listener_open has made. Accepts a closed or
 * zeroed listener. */
void listener_close(struct listener *listener);

#endif
