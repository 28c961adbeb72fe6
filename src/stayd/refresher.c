#include "stayd/refresher.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    REFRESHER_NICENESS = 5,             /* the thread's priority: clients come first */
    REFRESHER_PAUSE_NS = 100 * 1000000, /* the pause between two reloads */
};

struct refresher {
    struct certificates *certificates;
    struct proto_server *server;
    bool started;
    pthread_t thread;

    pthread_mutex_t lock; /* protects the fields below */
    pthread_cond_t changed;
    bool stopping;
    uint64_t wanted; /* the number of the latest reload that was asked for */
    uint64_t begun;
    uint64_t ended;
    bool well; /* whether the last reload succeeded; if not, `reason` says why */
    char reason[TLS_ERROR_MAX];
};

static uint64_t refresher_begin(void *keeper) {
    struct refresher *refresher = keeper;
    pthread_mutex_lock(&refresher->lock);
    uint64_t number = refresher->begun + 1;
    refresher->wanted = number;
    pthread_cond_broadcast(&refresher->changed);
    pthread_mutex_unlock(&refresher->lock);
    return number;
}

static bool refresher_has_ended(void *keeper, uint64_t number, bool *well, char *error,
                                size_t error_size) {
    struct refresher *refresher = keeper;
    pthread_mutex_lock(&refresher->lock);
    bool ended = refresher->ended >= number;
    *well = ended && refresher->well;
    if (ended) {
        snprintf(error, error_size, "%s", refresher->reason);
    } else if (refresher->stopping) {
        snprintf(error, error_size, "the daemon is stopping");
        ended = true;
    }
    pthread_mutex_unlock(&refresher->lock);
    return ended;
}

/* Waits until a reload is asked for and the pause after the last reload is over. The caller has the
 * lock. */
static void refresher_wait(struct refresher *refresher, const struct timespec *not_before) {
    int result = 0;
    while (!refresher->stopping && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&refresher->changed, &refresher->lock, not_before);
    }
    while (!refresher->stopping && refresher->wanted <= refresher->begun) {
        pthread_cond_wait(&refresher->changed, &refresher->lock);
    }
}

static void *refresher_main(void *argument) {
    struct refresher *refresher = argument;
    struct timespec not_before = clock_deadline(0);
    char reason[TLS_ERROR_MAX];
    setpriority(PRIO_PROCESS, (id_t)gettid(), REFRESHER_NICENESS); /* of this thread alone */
    pthread_mutex_lock(&refresher->lock);
    for (;;) {
        refresher_wait(refresher, &not_before);
        if (refresher->stopping) {
            break;
        }
        refresher->begun++;
        pthread_mutex_unlock(&refresher->lock);
        reason[0] = '\0';
        bool well = certificates_refresh(refresher->certificates, reason, sizeof reason);
        pthread_mutex_lock(&refresher->lock);
        refresher->ended = refresher->begun;
        refresher->well = well;
        snprintf(refresher->reason, sizeof refresher->reason, "%s", reason);
        pthread_cond_broadcast(&refresher->changed);
        pthread_mutex_unlock(&refresher->lock);
        refresher->server->network.wake_workers(refresher->server->network.network);
        not_before = clock_deadline(REFRESHER_PAUSE_NS);
        pthread_mutex_lock(&refresher->lock);
    }
    pthread_mutex_unlock(&refresher->lock);
    return NULL;
}

struct refresher *refresher_create(struct certificates *certificates, struct proto_server *server) {
    struct refresher *refresher = calloc(1, sizeof *refresher);
    if (refresher == NULL) {
        return NULL;
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&refresher->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&refresher->lock, NULL);
    refresher->certificates = certificates;
    refresher->server = server;
    server->reload = (struct proto_reload){refresher, refresher_begin, refresher_has_ended};
    return refresher;
}

bool refresher_start(struct refresher *refresher) {
    errno = pthread_create(&refresher->thread, NULL, refresher_main, refresher);
    if (errno != 0) {
        return false;
    }
    pthread_setname_np(refresher->thread, "certificates");
    refresher->started = true;
    return true;
}

void refresher_run(struct refresher *refresher) {
    uint64_t number = refresher_begin(refresher);
    pthread_mutex_lock(&refresher->lock);
    while (refresher->ended < number) {
        pthread_cond_wait(&refresher->changed, &refresher->lock);
    }
    pthread_mutex_unlock(&refresher->lock);
}

void refresher_stop(struct refresher *refresher) {
    if (refresher == NULL || !refresher->started) {
        return;
    }
    pthread_mutex_lock(&refresher->lock);
    refresher->stopping = true;
    pthread_cond_broadcast(&refresher->changed);
    pthread_mutex_unlock(&refresher->lock);
    pthread_join(refresher->thread, NULL);
    refresher->started = false;
    refresher->server->network.wake_workers(refresher->server->network.network);
}

void refresher_destroy(struct refresher *refresher) {
    if (refresher == NULL) {
        return;
    }
    refresher_stop(refresher);
    pthread_cond_destroy(&refresher->changed);
    pthread_mutex_destroy(&refresher->lock);
    free(refresher);
}
