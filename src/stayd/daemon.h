/* The running daemon: starts all parts in the order of their dependencies, serves until a signal
 * stops it, and stops the parts in the reverse order.
 *
 *     limits -> TCP ports -> another user -> pid file -> folders -> Unix sockets -> users ->
 *     pools -> workers -> admin -> accept ... -> stop
 *
 * The listeners are opened before the pools, for two reasons. A second daemon fails because the
 * port is in use, before it touches the data. While a restarted daemon recovers its pools, clients
 * wait in the queue of the listener instead of being refused. TCP ports are opened before root's
 * rights are dropped, because ports below 1024 need them. Files are created afterwards, because the
 * user must be able to remove them. Runs on the main thread. */
#ifndef STAYD_STAYD_DAEMON_H
#define STAYD_STAYD_DAEMON_H

#include "stayd/config.h"
#include "stayd/process.h"

#include <stdbool.h>

struct activation;
struct daemonize;
struct reload;

/* The pointers stay valid until daemon_run returns. */
struct daemon_options {
    const struct config *config;
    const struct process_options *process;
    const struct reload *reload;
    struct activation *activation; /* sockets that systemd has passed; the daemon takes them */
    struct daemonize *daemonize;   /* daemonize_ready is called when clients are served */
};

/* Runs until SIGTERM, SIGINT or SIGUSR1. False if the daemon could not start or had to stop because
 * of an error; the reason is logged. */
bool daemon_run(const struct daemon_options *options);

#endif
