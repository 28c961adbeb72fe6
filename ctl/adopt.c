/* stayctl cluster adopt: puts the items of a plain pool's file into the empty logs of its cluster,
 * so that the hosts begin with them. The file itself is not changed; it is put aside. */
#include "log_engine.h"
#include "refill.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Makes the streams that are missing, and checks all. */
static int adopt_make_streams(struct refill *refill) {
    char error[ENGINE_ERROR_MAX];
    for (uint32_t i = 0; i < refill->subjects.partitions; i++) {
        struct engine_log log;
        if (log_engine_settle(&refill->engine, true, i, &log, error) != ENGINE_RIGHT) {
            return refill_fail(refill, EXIT_FAULT, error);
        }
    }
    return 0;
}

/* The daemon makes a new file, and reads all from the logs. */
static int adopt_put_aside(struct refill *refill, char aside[PATH_MAX]) {
    char error[POOL_ERROR_MAX];
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", refill->path);
    int opened = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (snprintf(aside, PATH_MAX, "%s.adopted", refill->path) >= PATH_MAX || opened < 0 ||
        renameat2(AT_FDCWD, refill->path, AT_FDCWD, aside, RENAME_NOREPLACE) != 0 ||
        fsync(opened) != 0) {
        snprintf(error, sizeof error,
                 "all items are in the cluster's logs, but its file cannot be renamed to %.200s "
                 "(%s). Rename it yourself, so that stayd begins with a new file",
                 aside, strerror(errno));
        if (opened >= 0) {
            close(opened);
        }
        return refill_fail(refill, EXIT_FAULT, error);
    }
    close(opened);
    return inspect_discard_index(&refill->pool->options, error)
               ? 0
               : refill_fail(refill, EXIT_FAULT, error);
}

static int adopt_tell(const struct refill *refill, const struct invocation *invocation,
                      const char *aside) {
    struct fill_stats stats;
    fill_get_stats(refill->fill, &stats);
    if (invocation->json) {
        return words_print_json(
                   json_pack("{s:s, s:I, s:I, s:I, s:I, s:b}", "pool", refill->name, "items",
                             (json_int_t)refill->live, "stored", (json_int_t)stats.stored,
                             "present", (json_int_t)stats.present, "removed",
                             (json_int_t)stats.removed, "complete", refill->is_own_file))
                   ? 0
                   : EXIT_FAULT;
    }
    printf(
        "pool %s: %llu items: %llu written to the cluster's logs, %llu were there; %llu that have "
        "ended since an earlier run were removed\n",
        refill->name, (unsigned long long)refill->live, (unsigned long long)stats.stored,
        (unsigned long long)stats.present, (unsigned long long)stats.removed);
    if (refill->is_own_file) {
        printf("Start stayd now: it begins with a new file, and reads all items from the logs. The "
               "earlier file is kept as %s; delete it when the cluster runs.\n",
               aside);
    } else {
        printf(
            "The logs are not complete: stop stayd, and run 'stayctl cluster adopt %s' on its own "
            "file, which writes only what has changed.\n",
            refill->name);
    }
    return 0;
}

int adopt_run(const struct target_list *list, const struct invocation *invocation) {
    struct refill refill;
    char aside[PATH_MAX] = "";
    int result = refill_open(&refill, list, invocation, "cluster adopt");
    if (result == 0 && inspect_about(refill.inspect)->partition_count != 0) {
        result =
            refill_fail(&refill, EXIT_WRONG,
                        "its file is a clustered pool's already: start stayd. If the cluster's "
                        "logs are lost, see 'stayctl reseed'");
    }
    result = result != 0 ? result : refill_connect(&refill, false);
    result = result != 0 ? result : adopt_make_streams(&refill);
    result = result != 0 ? result : refill_run(&refill);
    if (result == 0 && refill.is_own_file) {
        result = refill_end(&refill);
        result = result != 0 ? result : adopt_put_aside(&refill, aside);
    }
    result = result != 0 ? result : adopt_tell(&refill, invocation, aside);
    refill_close(&refill);
    return result;
}
