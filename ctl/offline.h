/* The commands that work on pool files: check, dump, backup, restore. Each prints its result and
 * returns stayctl's exit status. */
#ifndef STAYD_CTL_OFFLINE_H
#define STAYD_CTL_OFFLINE_H

#include "command.h"

#include <stdbool.h>

/* Verifies every record of a pool file, and prints each fault with its place. */
int check_run(const char *path, bool json);

/* Prints the live items of a pool file, each as a line of JSON in any case. */
int dump_run(const char *path, bool json);

/* Copies the pool file of a running daemon to `to`, in its state at one moment. */
int backup_run(const struct target *target, const struct config_pool *pool, const char *to,
               bool json);

/* Replaces a pool's own file by a copy of the pool file `from`, while no daemon uses the pool's
 * file. `invocation->yes`: also if data is lost by that. */
int restore_run(const struct target *target, const struct config_pool *pool, const char *from,
                const struct invocation *invocation);

#endif
