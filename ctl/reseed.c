/* stayctl reseed: makes a cluster's logs anew, with the items of one pool's file. For when a log
 * was lost, or has lost records. Never by itself: the file may have items that were deleted since
 * it was written, and they come back. */
#include "base/clock.h"
#include "log_engine.h"
#include "refill.h"
#include "words.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RESEED_PATIENCE_MS = 20000 };

/* What of the logs is there already. */
struct reseed_found {
    uint64_t records; /* that are lost */
    uint32_t begun;   /* logs that an earlier run has begun to fill from this file */
    bool is_begun[POOL_PARTITIONS_MAX];
};

static void reseed_look(struct refill *refill, struct reseed_found *found) {
    char error[ENGINE_ERROR_MAX];
    *found = (struct reseed_found){0};
    for (uint32_t i = 0; i < refill->subjects.partitions; i++) {
        struct engine_log log = {0};
        struct origin origin;
        /* Waits for an engine that has just started. A log may be missing, or wrong. */
        if (log_engine_settle(&refill->engine, false, i, &log, error) != ENGINE_RIGHT) {
            continue;
        }
        bool is_begun =
            origin_find(&refill->engine, &refill->subjects, i, &origin, error) == ENGINE_RIGHT &&
            origin.state == ORIGIN_BEGUN &&
            origin.source == inspect_about(refill->inspect)->pool_id;
        found->is_begun[i] = is_begun;
        found->begun += is_begun;
        found->records += is_begun ? 0 : log.records;
    }
}

static void reseed_describe_age(const struct refill *refill, char text[64]) {
    uint32_t heard_s = inspect_about(refill->inspect)->heard_s;
    time_t when = (time_t)heard_s;
    struct tm parts;
    if (heard_s == 0 || gmtime_r(&when, &parts) == NULL) {
        snprintf(text, 64, "an unknown time");
    } else {
        strftime(text, 64, "%Y-%m-%d %H:%M:%S UTC", &parts);
    }
}

static void reseed_warn(const struct refill *refill, const struct reseed_found *found) {
    char age[64];
    reseed_describe_age(refill, age);
    fprintf(stderr,
            "The cluster's logs of pool %s are deleted, with %llu records, and made anew from\n"
            "%s: %llu items.\n"
            "It was caught up with its cluster last at %s, and has read %llu records: on the other "
            "hosts, run this command without confirming, and use the file that has read most.\n"
            "What was written after that is lost. Sessions that were ended after that come back.\n"
            "Every host drops what it has, and reads the new logs, when its stayd is restarted.\n",
            refill->name, (unsigned long long)found->records, refill->path,
            (unsigned long long)refill->live, age,
            (unsigned long long)inspect_about(refill->inspect)->positions);
    if (found->begun > 0) {
        fprintf(stderr, "%u of %u logs were begun by an earlier run, and are gone on with.\n",
                found->begun, refill->subjects.partitions);
    }
}

static int reseed_confirm(const struct refill *refill, const struct invocation *invocation) {
    char line[128];
    if (invocation->yes) {
        return 0;
    }
    if (isatty(STDIN_FILENO) != 1) {
        return refill_fail(refill, EXIT_WRONG, "nothing was done. To confirm, add --yes");
    }
    fputs("Type the pool's name to go on: ", stderr);
    fflush(stderr);
    if (fgets(line, sizeof line, stdin) == NULL) {
        line[0] = '\0';
    }
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, refill->name) == 0
               ? 0
               : refill_fail(refill, EXIT_WRONG, "that is not the pool's name; nothing was done");
}

static int reseed_make_log(struct refill *refill, uint32_t partition, bool drop) {
    char error[ENGINE_ERROR_MAX];
    struct engine_log log;
    uint64_t until_ms = clock_monotonic_ms() + RESEED_PATIENCE_MS;
    enum engine_check check = ENGINE_RIGHT;
    while (drop &&
           (check = refill->engine.drop(refill->engine.self, partition, error)) == ENGINE_AWAY &&
           clock_monotonic_ms() < until_ms) {
        nanosleep(&(struct timespec){.tv_nsec = LOG_ENGINE_NAP_MS * 1000000}, NULL);
    }
    if (check == ENGINE_RIGHT) {
        check = log_engine_settle(&refill->engine, true, partition, &log, error);
    }
    return check == ENGINE_RIGHT ? 0 : refill_fail(refill, EXIT_FAULT, error);
}

static int reseed_make_logs(struct refill *refill, const struct reseed_found *found) {
    int result = 0;
    for (uint32_t i = 0; i < refill->subjects.partitions && result == 0; i++) {
        result = reseed_make_log(refill, i, !found->is_begun[i]);
    }
    return result;
}

static int reseed_tell(const struct refill *refill, const struct invocation *invocation) {
    struct fill_stats stats;
    fill_get_stats(refill->fill, &stats);
    if (invocation->json) {
        return words_print_json(json_pack(
                   "{s:s, s:I, s:I, s:I, s:I}", "pool", refill->name, "items",
                   (json_int_t)refill->live, "stored", (json_int_t)stats.stored, "present",
                   (json_int_t)stats.present, "foreign", (json_int_t)stats.foreign))
                   ? 0
                   : EXIT_FAULT;
    }
    printf(
        "pool %s: its cluster's logs are made anew, with %llu items. Restart stayd on every host "
        "now: each reads the new logs.\n",
        refill->name, (unsigned long long)refill->live);
    if (stats.foreign > 0) {
        printf("%llu records that hosts have written meanwhile were kept as they are.\n",
               (unsigned long long)stats.foreign);
    }
    return 0;
}

static int reseed_check(const struct refill *refill) {
    uint32_t count = inspect_about(refill->inspect)->partition_count;
    return count == 0 || count == refill->pool->options.partitions
               ? 0
               : refill_fail(refill, EXIT_WRONG,
                             "its file is of a cluster with another number of partitions than the "
                             "configuration's");
}

int reseed_run(const struct target_list *list, struct invocation *invocation) {
    struct refill refill;
    struct reseed_found found;
    int result = refill_open(&refill, list, invocation, "reseed");
    result = result != 0 ? result : reseed_check(&refill);
    result = result != 0 ? result : refill_connect(&refill, true);
    if (result == 0) {
        reseed_look(&refill, &found);
        reseed_warn(&refill, &found);
        result = reseed_confirm(&refill, invocation);
    }
    result = result != 0 ? result : reseed_make_logs(&refill, &found);
    result = result != 0 ? result : refill_run(&refill);
    result = result != 0 ? result : refill_end(&refill);
    result = result != 0 ? result : reseed_tell(&refill, invocation);
    refill_close(&refill);
    return result;
}
