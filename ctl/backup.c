#include "base/clock.h"
#include "copy.h"
#include "offline.h"
#include "store/paths.h"
#include "words.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

enum {
    BACKUP_ATTEMPTS = 5,
    BACKUP_LEASE_S = 30,
    BACKUP_EXTEND_MS = 3000,
    BACKUP_WAIT_MS = 60000, /* the longest wait for a hold to begin */
    BACKUP_POLL_MS = 10,
};

struct backup {
    const struct target *target;
    const struct config_pool *pool;
    struct stayd *client;
    uint64_t number; /* the number of the hold */
    uint64_t extended_ms;
    enum stayd_status status; /* of the last request to the daemon */
    struct stayd_error error;
};

static bool backup_begin_hold(struct backup *backup, char *error) {
    uint64_t began_ms = clock_monotonic_ms();
    do {
        backup->number = 0;
        backup->extended_ms = clock_monotonic_ms();
        backup->status =
            stayd_hold(backup->client, 0, BACKUP_LEASE_S, &backup->number, &backup->error);
        if (backup->status != STAYD_BUSY) {
            break;
        }
        const struct timespec wait = {.tv_nsec = BACKUP_POLL_MS * 1000000L};
        nanosleep(&wait, NULL);
    } while (clock_monotonic_ms() - began_ms < BACKUP_WAIT_MS);
    if (backup->status == STAYD_BUSY) {
        snprintf(error, POOL_ERROR_MAX,
                 "another backup of this pool is running, or the pool is waiting for the disk to "
                 "free memory; "
                 "try again later");
    } else if (backup->status != STAYD_OK) {
        snprintf(error, POOL_ERROR_MAX, "%s", backup->error.message);
    }
    return backup->status == STAYD_OK;
}

/* Extends the hold if that is due. False if the hold has ended, or the request failed. */
static bool backup_extend_hold(void *context) {
    struct backup *backup = context;
    uint64_t now_ms = clock_monotonic_ms();
    if (now_ms - backup->extended_ms >= BACKUP_EXTEND_MS) {
        backup->extended_ms = now_ms;
        backup->status =
            stayd_hold(backup->client, 0, BACKUP_LEASE_S, &backup->number, &backup->error);
    }
    return backup->status == STAYD_OK;
}

/* Ends the hold. False if the hold had ended before, so that the copy is not consistent. */
static bool backup_end_hold(struct backup *backup) {
    backup->status = stayd_hold(backup->client, 0, 0, &backup->number, &backup->error);
    return backup->status == STAYD_OK;
}

/* One attempt, with its own hold. COPY_STOPPED: the hold ended before the copy was complete. */
static enum copy_end backup_attempt(struct backup *backup, struct inspect *source,
                                    struct copy *copy, const char *to, char *error) {
    if (!copy_begin(copy, to, source, error) || !backup_begin_hold(backup, error)) {
        return COPY_FAILED;
    }
    enum copy_end end =
        copy_write(copy, source, backup->number, "backup", backup_extend_hold, backup, error);
    if (end != COPY_STOPPED && !backup_end_hold(backup) && end == COPY_DONE) {
        end = COPY_STOPPED;
    }
    if (end == COPY_STOPPED && backup->status != STAYD_NOT_FOUND) {
        snprintf(error, POOL_ERROR_MAX, "%s", backup->error.message);
        end = COPY_FAILED;
    }
    return end;
}

static bool backup_copy(struct backup *backup, struct inspect *source, const char *to,
                        char *error) {
    struct copy copy = COPY_NONE;
    enum copy_end end = COPY_STOPPED;
    for (int attempt = 0; attempt < BACKUP_ATTEMPTS && end == COPY_STOPPED; attempt++) {
        end = backup_attempt(backup, source, &copy, to, error);
    }
    if (end == COPY_STOPPED) {
        snprintf(error, POOL_ERROR_MAX,
                 "the pool is too full to be backed up while clients write so much. Try "
                 "again when they write less, or raise its memory");
    }
    bool done = end == COPY_DONE && copy_finish(&copy, error);
    copy_abandon(&copy);
    return done;
}

/* An existing file may be replaced if it is a pool file that no daemon uses: an earlier backup. */
static bool backup_check_place(const char *to, char error[POOL_ERROR_MAX]) {
    struct stat status;
    if (lstat(to, &status) != 0 && errno == ENOENT) {
        return true;
    }
    struct inspect *there = inspect_open(to, INSPECT_UNUSED, error);
    bool replaceable = there != NULL;
    inspect_close(there);
    return replaceable;
}

static bool backup_make(const struct target *target, const struct config_pool *pool, const char *to,
                        char error[POOL_ERROR_MAX]) {
    struct backup backup = {.target = target, .pool = pool};
    char path[PATH_MAX];
    const char *url;
    if (!paths_data(&pool->options, path)) {
        snprintf(error, POOL_ERROR_MAX, "the path of data_dir is too long");
        return false;
    }
    backup.client = target_open(target, &url, &backup.error);
    if (backup.client == NULL) {
        snprintf(error, POOL_ERROR_MAX, "%.200s. If no stayd runs, %.200s can simply be copied",
                 backup.error.message, path);
        return false;
    }
    struct inspect *source = inspect_open(path, INSPECT_IN_USE, error);
    bool made = source != NULL && backup_copy(&backup, source, to, error);
    inspect_close(source);
    stayd_close(backup.client);
    return made;
}

int backup_run(const struct target *target, const struct config_pool *pool, const char *to,
               const struct invocation *invocation) {
    char error[POOL_ERROR_MAX];
    const char *name = pool->options.name;
    if (!pool->options.persist) {
        fprintf(stderr, "stayctl: pool %s keeps no file (persist = no): there is nothing to copy\n",
                name);
        return EXIT_WRONG;
    }
    if (!backup_check_place(to, error)) {
        fprintf(stderr, "stayctl: cannot replace this file by a backup: %s\n", error);
        return EXIT_WRONG;
    }
    if (!backup_make(target, pool, to, error)) {
        fprintf(stderr, "stayctl: pool %s: %s\n", name, error);
        return EXIT_FAULT;
    }
    if (invocation->json) {
        return words_print_json(json_pack("{s:s, s:s}", "pool", name, "file", to)) ? 0 : EXIT_FAULT;
    }
    printf("pool %s is copied to %s\n", name, to);
    return 0;
}
