/* The options of the process itself: its user, its terminal, its pid file, its resource limits.
 * Main thread only. */
#ifndef STAYD_STAYD_PROCESS_H
#define STAYD_STAYD_PROCESS_H

#include <limits.h>
#include <stdbool.h>

struct process_options {
    bool daemon;              /* leave the terminal (stayd/daemonize.h) */
    unsigned verbosity;       /* how often -v was given; above 0: log debug messages */
    bool core_dumps;          /* allow core files of any size */
    bool lock_memory;         /* keep all memory from being swapped out */
    const char *user;         /* the user to become (stayd/privileges.h); NULL: no change */
    char pid_file[PATH_MAX];  /* absolute (stayd/pid_file.h); empty: none */
    char port_file[PATH_MAX]; /* absolute (stayd/port_file.h); empty: none */
};

enum { PROCESS_ERROR_MAX = 256 };

/* Raises the limits that need root; called before root's rights are dropped. False with a sentence
 * in `error`. */
bool process_raise_limits(const struct process_options *options, char error[PROCESS_ERROR_MAX]);

/* Locks all memory, if options->lock_memory is set. Called when the pools are mapped and the
 * threads run. Failure is only a warning, as in memcached. */
void process_lock_memory(const struct process_options *options);

#endif
