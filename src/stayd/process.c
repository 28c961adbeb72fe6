#include "stayd/process.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

static bool process_raise_core(char error[PROCESS_ERROR_MAX]) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_CORE, &limit) == 0) {
        return true;
    }
    if (getrlimit(RLIMIT_CORE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        if (limit.rlim_max > 0 && setrlimit(RLIMIT_CORE, &limit) == 0) {
            return true;
        }
    }
    snprintf(error, PROCESS_ERROR_MAX,
             "cannot allow core files (-r): the hard limit is 0; raise it (LimitCORE= in the "
             "systemd unit, or ulimit -H -c)");
    return false;
}

bool process_raise_limits(const struct process_options *options, char error[PROCESS_ERROR_MAX]) {
    if (options->lock_memory) {
        struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
        setrlimit(RLIMIT_MEMLOCK, &limit); /* process_lock_memory warns if this limit is too low */
    }
    return !options->core_dumps || process_raise_core(error);
}

void process_lock_memory(const struct process_options *options) {
    if (!options->lock_memory) {
        return;
    }
    /* First only the current memory: if that is too much, MCL_FUTURE must not be set, because later
     * allocations would fail. */
    if (mlockall(MCL_CURRENT) != 0 || mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        log_warning("the memory is not locked (-k): %m; raise the limit (LimitMEMLOCK=infinity in "
                    "the systemd unit, or ulimit -l)");
    }
}
