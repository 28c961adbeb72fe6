/* The commands that work on pool files: check, dump, backup, restore. Each prints what it has to
 * say and returns stayctl's exit status. */
#ifndef STAYD_CTL_OFFLINE_H
#define STAYD_CTL_OFFLINE_H

#include "target.h"

#include <stdbool.h>

enum {
    EXIT_UNWELL = 1, /* a pool does not answer, refuses, or is not well; a file is damaged */
    EXIT_WRONG = 2   /* the command line, the configuration or a file is not what it should be */
};

/* Verifies every record of a pool file, and says what is wrong and where. */
int check_run(const char *path);

/* Prints the items of a pool file that are there now, each as a line of JSON. */
int dump_run(const char *path);

/* Copies the file of a pool that a daemon has in use, as it is at one moment, to `to`. */
int backup_run(const struct target *target, const struct config_pool *pool, const char *to);

/* Puts a copy of the pool file `from` in the place of a pool's own file, while no daemon has it.
 * `yes`: also if that means to lose something. */
int restore_run(const struct target *target, const struct config_pool *pool, const char *from,
                bool yes);

#endif
