/* What the process itself is to be, whatever it serves: whose it is, whether it leaves its
 * terminal, and which limits it has. Main thread only. */
#ifndef STAYD_STAYD_PROCESS_H
#define STAYD_STAYD_PROCESS_H

#include <limits.h>
#include <stdbool.h>

struct process_options {
    bool daemon;             /* leave the terminal (stayd/daemonize.h) */
    bool verbose;            /* log debug messages */
    bool core_dumps;         /* leave a core file behind after a crash, as large as it may be */
    bool lock_memory;        /* keep all memory from being swapped out */
    const char *user;        /* to become (stayd/privileges.h); NULL: stay */
    char pid_file[PATH_MAX]; /* absolute (stayd/pid_file.h); empty: none */
};

enum { PROCESS_ERROR_MAX = 256 };

/* The limits that need root: before its rights are given up. False with a sentence in `error`. */
bool process_raise_limits(const struct process_options *options, char error[PROCESS_ERROR_MAX]);

/* Locks all memory, if that is asked for: once the pools are mapped and the threads run. As with
 * memcached, failing at it is a warning. */
void process_lock_memory(const struct process_options *options);

#endif
