/* The listening sockets that systemd passes to the daemon (socket activation, sd_listen_fds(3)).
 * systemd keeps them open while the daemon restarts, so that the kernel queues clients instead of
 * refusing them.
 *
 *     LISTEN_PID      the process that gets the sockets; other processes ignore these variables
 *     LISTEN_FDS      the number of sockets: descriptors 3, 4 ...
 *     LISTEN_FDNAMES  for each socket, its pool's name (FileDescriptorName= in the socket unit),
 *                     separated by colons; may be missing
 *
 * Each socket must have an address of its pool in the configuration. The daemon itself opens an
 * address for which no socket was passed. Main thread only.
 *
 * The protocol is small and documented as stable, so the daemon does not use libsystemd, which
 * would load a dozen libraries. */
#ifndef STAYD_STAYD_ACTIVATION_H
#define STAYD_STAYD_ACTIVATION_H

#include "stayd/config.h"

enum {
    ACTIVATION_SOCKETS_MAX = CONFIG_POOLS_MAX * CONFIG_LISTENS_MAX,
    ACTIVATION_ERROR_MAX = 1024 /* bytes of a message in an out parameter, with its zero */
};

struct activation_socket {
    int fd;
    char name[64]; /* empty: no name was passed */
    struct address address;
    bool is_taken;
};

struct activation {
    struct activation_socket sockets[ACTIVATION_SOCKETS_MAX];
    unsigned count;
    /* What is wrong with the variables or descriptors; empty: nothing. */
    char error[ACTIVATION_ERROR_MAX];
};

/* Reads and clears the variables. Called before the process opens any file: LISTEN_FDS may count
 * descriptors that were not passed, and the daemon must not take a file of its own for one of them.
 */
void activation_receive(struct activation *activation);

/* Checks the result of activation_receive, and that each socket has an address of the pool that it
 * is named after. False with the reason, and what to change, in `error`. */
bool activation_check(const struct activation *activation, const struct config *config,
                      char error[ACTIVATION_ERROR_MAX]);

/* Returns the descriptor for an address, which the caller then owns; -1: none was passed. */
int activation_take(struct activation *activation, const struct address *address);

/* Closes the sockets that nobody has taken. */
void activation_finish(struct activation *activation);

#endif
