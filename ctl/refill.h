/* Puts the items of a pool's file into the logs of its cluster: what `cluster adopt` and `reseed`
 * share. */
#ifndef STAYD_CTL_REFILL_H
#define STAYD_CTL_REFILL_H

#include "cluster/fill.h"
#include "command.h"
#include "progress.h"
#include "stayd/config.h"
#include "store/inspect.h"

#include <limits.h>

struct refill {
    const struct config_pool *pool;
    const char *name;
    bool is_own_file; /* the pool's own file, not a backup */
    char path[PATH_MAX];
    struct inspect *inspect; /* with its index */
    uint32_t now_s;
    uint64_t live; /* items */
    struct subjects subjects;
    struct engine engine;
    struct fill *fill;
    struct progress progress;
};

/* Reads the arguments of a command, POOL [FILE], and opens the file, which no daemon uses. Returns
 * 0, or the exit status; the reason is printed. */
int refill_open(struct refill *refill, const struct target_list *list,
                const struct invocation *invocation, const char *command);

/* Connects to the engine. `keeps_foreign`: as in fill_options. Returns as refill_open. */
int refill_connect(struct refill *refill, bool keeps_foreign);

/* Compares the logs with the file, and puts in what is missing. Then refill_end says that they are
 * complete. */
int refill_run(struct refill *refill);
int refill_end(struct refill *refill);

/* Accepts a zeroed struct. */
void refill_close(struct refill *refill);

/* Prints "stayctl: pool NAME: WHY" and returns the status. */
int refill_fail(const struct refill *refill, int status, const char *why);

/* The commands. */
int adopt_run(const struct target_list *list, const struct invocation *invocation);

#endif
