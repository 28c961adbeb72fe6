#include "store/sync.h"

#include "base/log.h"
#include "store/pool_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SYNC_INTERVAL_S = 1 };

void pool_set_read_only(struct pool *pool, const char *why) {
    if (!atomic_exchange(&pool->read_only, true)) {
        log_error("pool %s is read-only from now on: %s. Mend the disk, then restart stayd",
                  pool->options.name, why);
    }
}

bool pool_sync(struct pool *pool) {
    if (atomic_load(&pool->read_only)) {
        return false;
    }
    if (fdatasync(pool->data_mapping.file) != 0) {
        /* What the kernel could not write it may have forgotten: a second try would lie. */
        char why[128];
        snprintf(why, sizeof why, "its file could not be written to the disk (%s)",
                 strerror(errno));
        pool_set_read_only(pool, why);
        return false;
    }
    return true;
}

/* Waits for a second or the stop; true: go on. Under sync->lock. */
static bool sync_wait(struct sync *sync) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SYNC_INTERVAL_S;
    while (!sync->stop) {
        if (pthread_cond_timedwait(&sync->wake, &sync->lock, &until) == ETIMEDOUT) {
            return true;
        }
    }
    return false;
}

static void *sync_main(void *argument) {
    struct pool *pool = argument;
    struct sync *sync = &pool->sync;
    pthread_mutex_lock(&sync->lock);
    while (sync_wait(sync)) {
        pthread_mutex_unlock(&sync->lock);
        bool synced = pool_sync(pool);
        pthread_mutex_lock(&sync->lock);
        if (!synced) {
            break; /* read-only: there is nothing more to sync */
        }
    }
    pthread_mutex_unlock(&sync->lock);
    return NULL;
}

bool sync_start(struct pool *pool) {
    struct sync *sync = &pool->sync;
    if (!pool->options.persist || pool->options.fsync != POOL_FSYNC_EVERYSEC) {
        return true;
    }
    pthread_condattr_t monotonic;
    pthread_mutex_init(&sync->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sync->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sync->running = pthread_create(&sync->thread, NULL, sync_main, pool) == 0;
    return sync->running;
}

void sync_stop(struct pool *pool) {
    struct sync *sync = &pool->sync;
    if (!sync->running) {
        return;
    }
    pthread_mutex_lock(&sync->lock);
    sync->stop = true;
    pthread_cond_signal(&sync->wake);
    pthread_mutex_unlock(&sync->lock);
    pthread_join(sync->thread, NULL);
    pthread_cond_destroy(&sync->wake);
    pthread_mutex_destroy(&sync->lock);
    sync->running = false;
}
