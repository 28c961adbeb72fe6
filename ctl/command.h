/* The parsed command line, and the commands for running pools. */
#ifndef STAYD_CTL_COMMAND_H
#define STAYD_CTL_COMMAND_H

#include "target.h"

#include <stdbool.h>

/* The exit status; docs/stayctl.md lists them. */
enum {
    EXIT_FAULT = 1, /* a pool does not answer, or has a fault; a file is damaged */
    EXIT_WRONG = 2, /* the command line, the configuration or a file is invalid */
    EXIT_NO_ITEM = 3
};

struct invocation {
    const char *config_path;
    const char *url;
    const char *user;
    const char *password; /* set if `user` is set */
    bool yes;
    bool json;
    const char *command;
    char **arguments;
    int argument_count;
    bool unreached; /* set by a command: no connection to some pool */
};

/* Runs one command on a pool that answers. Returns the exit status. */
typedef int command_run(struct stayd *client, const struct target *target,
                        const struct invocation *invocation);

command_run stats_run;
command_run get_run;
command_run delete_run;
command_run flush_run;
command_run ping_run;
command_run version_run;
command_run sessions_run;
command_run latency_run;

/* Runs one command on all pools at once; the command itself connects to them. Returns the exit
 * status. */
typedef int command_run_together(const struct target_list *list, struct invocation *invocation);

/* Prints the state of all pools, what is wrong, and what to do about it. EXIT_FAULT if a pool has a
 * fault (admin/advice.h) or does not answer. */
command_run_together status_run;

/* Shows the pools every second: on a terminal until q is pressed, or as lines of JSON. */
command_run_together top_run;

/* `cluster create` and `cluster status`: the streams of the pools that have `cluster`. `cluster
 * adopt POOL [FILE]`: adopt.c. */
command_run_together cluster_run;

/* `reseed POOL [FILE]`: makes the streams of a clustered pool anew, from a pool's file. */
command_run_together reseed_run;

/* Checks the configuration, and sends SIGHUP to the daemon that serves it. */
command_run_together reload_run;

/* Prints why a command on a running pool failed. Returns EXIT_FAULT. */
int command_fail(const struct target *target, const char *reason);

#endif
