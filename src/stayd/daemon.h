/* The running daemon: starts everything in the order in which one needs the other, serves until a
 * signal ends it, and stops everything in the reverse order.
 *
 *     limits -> TCP ports -> another user -> pid file -> folders -> Unix sockets -> users ->
 *     pools -> workers -> admin -> accept ... -> stop
 *
 * The listeners come before the pools, so that a second daemon stops at the port in use and never
 * gets to the data, and so that clients of one that restarts wait in the queue instead of being
 * refused while a pool is recovered. TCP ports, which may be
 * root's, come before root's rights are given up; files, which the user must be able to remove,
 * after it. Runs on the main thread. */
#ifndef STAYD_STAYD_DAEMON_H
#define STAYD_STAYD_DAEMON_H

#include "stayd/config.h"
#include "stayd/process.h"

#include <stdbool.h>

struct daemonize;
struct reload;

/* What there is to run; all of it lives longer than the daemon. */
struct daemon_options {
    const struct config *config;
    const struct process_options *process;
    const struct reload *reload;
    struct daemonize *daemonize; /* is told when clients are served */
};

/* Runs until SIGTERM, SIGINT or SIGUSR1. False if it could not start or go on: the reason is
 * logged. */
bool daemon_run(const struct daemon_options *options);

#endif
