/* The commands that work on pool files: check, dump, backup, restore. Each prints its result and
 * returns stayctl's exit status. */
#ifndef STAYD_CTL_OFFLINE_H
#define STAYD_CTL_OFFLINE_H

#include "target.h"

#include <stdbool.h>

enum {
    EXIT_FAULT = 1, /* a pool does not answer, refuses, is full or read-only; a file is damaged */
    EXIT_WRONG = 2  /* the command line, the configuration or a file is invalid */
};

/* Verifies every record of a pool file, and prints each fault with its place. */
int check_run(const char *path);

/* Prints the live items of a pool file, each as a line of JSON. */
int dump_run(const char *path);

/* Copies the pool file of a running daemon to `to`, in its state at one moment. */
int backup_run(const struct target *target, const struct config_pool *pool, const char *to);

/* Replaces a pool's own file by a copy of the pool file `from`, while no daemon uses the pool's
 * file. `yes`: also if data is lost by that. */
int restore_run(const struct target *target, const struct config_pool *pool, const char *from,
                bool yes);

#endif
