#include "copy.h"
#include "offline.h"
#include "state.h"
#include "store/paths.h"
#include "verify.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct restore {
    const struct target *target;
    const struct pool_options *options;
    const char *from;
    bool yes;
    char path[PATH_MAX]; /* of the pool's own file */
    int replaced;        /* that file, locked; -1: there is no such file */
    struct inspect *source;
};

static int restore_refuse(const struct restore *restore, const char *why) {
    fprintf(stderr, "stayctl: pool %s: %s\n", restore->options->name, why);
    return EXIT_WRONG;
}

static void restore_ignore(void *context, uint32_t segment, uint64_t offset, const char *what) {
    (void)context;
    (void)segment;
    (void)offset;
    (void)what;
}

/* Checks the file that is to be restored. Returns 0, or the exit status. */
static int restore_check_source(struct restore *restore) {
    char error[POOL_ERROR_MAX];
    char why[POOL_ERROR_MAX + PATH_MAX];
    restore->source = inspect_open(restore->from, INSPECT_UNUSED, error);
    if (restore->source == NULL) {
        return restore_refuse(restore, error);
    }
    struct inspect_counts counts = {0};
    struct progress progress;
    if (!verify_segments(restore->source, VERIFY_UNTIL_UNREADABLE, &progress, &counts,
                         restore_ignore, NULL)) {
        snprintf(why, sizeof why, "%s cannot be read: see 'stayctl check'", restore->from);
        return restore_refuse(restore, why);
    }
    if (counts.faults > 0 && !restore->yes) {
        snprintf(why, sizeof why,
                 "%s is damaged in %llu places: see 'stayctl check'. To restore what is whole, add "
                 "--yes",
                 restore->from, (unsigned long long)counts.faults);
        return restore_refuse(restore, why);
    }
    return 0;
}

/* Checks that the daemon will accept the file, and prints what it will change. Returns 0, or the
 * exit status. */
static int restore_check_size(const struct restore *restore) {
    const struct inspect_about *about = inspect_about(restore->source);
    const struct pool_options *options = restore->options;
    char error[POOL_ERROR_MAX];
    uint32_t count;
    if (!inspect_fits(restore->source, options, &count, error)) {
        return restore_refuse(restore, error);
    }
    if (strcmp(about->name, options->name) != 0) {
        fprintf(stderr, "stayctl: note: %s is the file of a pool named %s\n", restore->from,
                about->name);
    }
    if (count != about->segment_count) {
        fprintf(stderr,
                "stayctl: note: the file's memory is %.6gM, the configuration's %.6gM: stayd will "
                "%s it at startup\n",
                (double)about->segment_count * about->segment_bytes / (1 << 20),
                (double)options->memory_bytes / (1 << 20),
                count > about->segment_count ? "enlarge" : "shrink");
    }
    if (options->item_max_bytes != about->item_max_bytes) {
        fprintf(stderr,
                "stayctl: note: the file was made with item_max = %u, the configuration says %u\n",
                about->item_max_bytes, options->item_max_bytes);
    }
    return 0;
}

/* Connects to the pool, because the lock on its file does not show a daemon whose file was deleted.
 * True if a daemon serves, or may serve, the pool. */
static bool restore_is_served(const struct restore *restore) {
    struct stayd_error error;
    const char *url;
    struct state state = {.pool = ""};
    struct stayd *client = target_open(restore->target, &url, &error);
    bool served = url != NULL; /* also after a failed login: the pool may be served */
    enum stayd_status answer = client != NULL ? state_read(client, &state, &error) : STAYD_OK;
    if (client != NULL && answer != STAYD_REFUSED && answer != STAYD_LOGIN_REFUSED) {
        served = strcmp(state.pool, restore->options->name) == 0;
    }
    stayd_close(client);
    return served;
}

/* Locks the file that is to be replaced, so that no daemon opens it. Returns 0, or the exit status.
 */
static int restore_check_place(struct restore *restore) {
    char why[POOL_ERROR_MAX + PATH_MAX];
    if (restore_is_served(restore)) {
        return restore_refuse(restore, "stayd is running and has it in use. Stop stayd first");
    }
    restore->replaced = open(restore->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (restore->replaced < 0 && errno == ENOENT) {
        return 0;
    }
    if (restore->replaced < 0) {
        snprintf(why, sizeof why, "cannot open %s: %s", restore->path, strerror(errno));
        return restore_refuse(restore, why);
    }
    if (flock(restore->replaced, LOCK_EX | LOCK_NB) != 0) {
        snprintf(why, sizeof why, "%s is in use. Stop stayd first", restore->path);
        return restore_refuse(restore, why);
    }
    if (!restore->yes) {
        snprintf(why, sizeof why, "%s exists already. To replace it and lose its items, add --yes",
                 restore->path);
        return restore_refuse(restore, why);
    }
    return 0;
}

/* If stayctl runs as root, gives the new file the owner of the old file, or of the folder, so that
 * the daemon's user can open it. */
static bool restore_set_owner(const struct restore *restore, int file) {
    char name[PATH_MAX];
    struct stat like;
    snprintf(name, sizeof name, "%s", restore->path);
    int failed =
        restore->replaced >= 0 ? fstat(restore->replaced, &like) : stat(dirname(name), &like);
    return failed == 0 && (geteuid() != 0 || fchown(file, like.st_uid, like.st_gid) == 0);
}

static int restore_copy(struct restore *restore) {
    char error[POOL_ERROR_MAX];
    struct copy copy = COPY_NONE;
    copy.first = restore->replaced < 0; /* do not replace a file that a daemon creates meanwhile */
    bool done =
        copy_begin(&copy, restore->path, restore->source, error) &&
        copy_write(&copy, restore->source, UINT64_MAX, "restore", NULL, NULL, error) == COPY_DONE;
    if (done && !restore_set_owner(restore, copy.file)) {
        snprintf(error, sizeof error, "cannot set the owner of its file: %s", strerror(errno));
        done = false;
    }
    done = done && inspect_discard_index(restore->options, error);
    if (done && restore->replaced >= 0) {
        inspect_end_readers(restore->replaced);
    }
    done = done && copy_finish(&copy, error);
    copy_abandon(&copy);
    return done ? 0 : restore_refuse(restore, error);
}

int restore_run(const struct target *target, const struct config_pool *pool, const char *from,
                const struct invocation *invocation) {
    struct restore restore = {.target = target,
                              .options = &pool->options,
                              .from = from,
                              .yes = invocation->yes,
                              .replaced = -1};
    if (!pool->options.persist) {
        return restore_refuse(&restore, "it keeps no file (persist = no)");
    }
    if (!paths_data(&pool->options, restore.path)) {
        return restore_refuse(&restore, "the path of data_dir is too long");
    }
    int result = restore_check_source(&restore);
    result = result != 0 ? result : restore_check_size(&restore);
    result = result != 0 ? result : restore_check_place(&restore);
    result = result != 0 ? result : restore_copy(&restore);
    if (result == 0 && invocation->json) {
        result = words_print_json(json_pack("{s:s, s:s}", "pool", pool->options.name, "file", from))
                     ? 0
                     : EXIT_FAULT;
    } else if (result == 0) {
        printf("pool %s is restored from %s\n", pool->options.name, from);
    }
    inspect_close(restore.source);
    if (restore.replaced >= 0) {
        close(restore.replaced);
    }
    return result;
}
