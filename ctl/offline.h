/* The commands that work on pool files: check, dump, backup, restore. Each prints its result and
 * returns stayctl's exit status. */
#ifndef STAYD_CTL_OFFLINE_H
#define STAYD_CTL_OFFLINE_H

#include "command.h"

/* Runs one command on a pool file, without a configuration. */
typedef int command_run_file(const char *path, const struct invocation *invocation);

/* Verifies every record, and prints each fault with its place. */
command_run_file check_run;

/* Prints the live items, each as a line of JSON with or without --json. */
command_run_file dump_run;

/* Runs one command on a file and on a pool of the configuration. */
typedef int command_run_copy(const struct target *target, const struct config_pool *pool,
                             const char *file, const struct invocation *invocation);

/* Copies the pool file of a running daemon to `file`, in its state at one moment. */
command_run_copy backup_run;

/* Replaces the pool's own file by a copy of the pool file `file`, while no daemon uses the pool's
 * file. With `invocation->yes`, even if that loses data. */
command_run_copy restore_run;

#endif
