/* The listening sockets that systemd passes to the daemon (socket activation, sd_listen_fds(3)).
 * systemd keeps them open while the daemon restarts, so that the kernel queues clients instead of
 * refusing them.
 *
 *     LISTEN_PID      the process that they are for; other processes ignore all of this
 *     LISTEN_FDS      how many there are: the descriptors 3, 4 ...
 *     LISTEN_FDNAMES  for each, the name of its pool (FileDescriptorName= in the socket unit),
 *                     separated by colons; may be missing
 *
 * Each of them must be an address of its pool in the configuration. An address that is not passed
 * is opened as always. Main thread only.
 *
 * The protocol is small and documented as stable. So the daemon does without libsystemd, which
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
    /* What is wrong with the variables or descriptors; or empty. */
    char error[ACTIVATION_ERROR_MAX];
};

/* Reads and clears the variables. Called before the process opens any file: if LISTEN_FDS
 * announces a descriptor that was not passed, a file could get its number and pass for a socket. */
void activation_receive(struct activation *activation);

/* Checks that what was received is what was announced, and that each socket is an address of the
 * pool that it is named after. False with the reason, and what to change, in `error`. */
bool activation_check(const struct activation *activation, const struct config *config,
                      char error[ACTIVATION_ERROR_MAX]);

/* The descriptor for an address; -1: none was passed. The caller owns the descriptor then. */
int activation_take(struct activation *activation, const struct address *address);

/* Closes the sockets that nobody has taken. */
void activation_finish(struct activation *activation);

#endif
