#include "cluster/cluster_private.h"

#include "base/log.h"
#include "cluster/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { CLUSTER_NAP_MS = 5, CLUSTER_STOP_MS = 1000 };

static struct proposal *cluster_create_proposal(void *context, void (*wake)(void *),
                                                void *wake_context) {
    struct cluster *cluster = context;
    return writes_create_proposal(cluster->writes, wake, wake_context);
}

static uint64_t cluster_get_flush(void *context, struct bytes key) {
    struct cluster *cluster = context;
    return atomic_load(&cluster->flushes[subjects_get_partition(&cluster->subjects, key)]);
}

static bool cluster_admits_own(void *context, struct bytes key, uint64_t sequence) {
    struct cluster *cluster = context;
    return own_writes_admit_writer(&cluster->own, key, sequence);
}

static bool cluster_admits_read(void *context, struct bytes key, uint64_t sequence) {
    struct cluster *cluster = context;
    return own_writes_admit_reader(&cluster->own, key, sequence);
}

static void cluster_note_access(void *context, struct bytes key) {
    struct cluster *cluster = context;
    accesses_note(cluster->accesses, key);
}

/* Makes the parts that do not need the engine yet. */
static bool cluster_make(struct cluster *cluster) {
    if (getrandom(&cluster->host, sizeof cluster->host, 0) != (ssize_t)sizeof cluster->host) {
        return false;
    }
    uint32_t idle_timeout_s = pool_get_options(cluster->pool)->idle_timeout_s;
    if (idle_timeout_s != 0) {
        cluster->accesses = accesses_create(&(struct accesses_options){
            .subjects = &cluster->subjects,
            .engine = &cluster->engine,
            .pool = cluster->pool,
            .flushes = cluster->flushes,
            .host = cluster->host,
            .life = {CLUSTER_KEEP_S, idle_timeout_s},
        });
        if (cluster->accesses == NULL) {
            return false;
        }
    }
    cluster->writes = writes_create(&(struct writes_options){
        .subjects = &cluster->subjects,
        .engine = &cluster->engine,
        .pool = cluster->pool,
        .own = &cluster->own,
        .flushes = cluster->flushes,
        .host = cluster->host,
        .life = {CLUSTER_KEEP_S, idle_timeout_s},
    });
    if (cluster->writes == NULL) {
        return false;
    }
    cluster->flusher = flusher_start(&(struct flusher_options){
        .subjects = &cluster->subjects,
        .engine = &cluster->engine,
        .pool = cluster->pool,
        .writes = cluster->writes,
    });
    return cluster->flusher != NULL;
}

struct cluster *cluster_open(const struct cluster_options *options, struct pool *pool,
                             char error[ENGINE_ERROR_MAX]) {
    struct cluster *cluster = calloc(1, sizeof *cluster);
    engine_open *open = engine_module_load(error);
    if (cluster == NULL || open == NULL) {
        free(cluster);
        return NULL;
    }
    cluster->options = *options;
    cluster->pool = pool;
    cluster->open_engine = open;
    cluster->subjects = (struct subjects){options->engine.prefix, pool_get_options(pool)->name,
                                          options->engine.partitions};
    cluster->options.engine.payload_max_bytes =
        pool_get_options(pool)->item_max_bytes + MESSAGE_HEAD_BYTES;
    pthread_mutex_init(&cluster->lock, NULL);
    own_writes_init(&cluster->own);
    gate_init(&cluster->gate, &cluster->engine);
    cluster->serves = options->serve_while_catching_up;
    snprintf(cluster->wrong, sizeof cluster->wrong, "there is no connection yet");
    if (cluster_make(cluster)) {
        const struct pool_replication replication = {
            .context = cluster,
            .create = cluster_create_proposal,
            .release = writes_release_proposal,
            .get_flush = cluster_get_flush,
            .submit = writes_submit,
            .confirm = writes_confirm,
            .submit_flush = writes_submit_flush,
            .visit_stats = cluster_visit_stats,
            .get_state = cluster_get_state,
            .get_partition = cluster_get_partition,
            .settle = writes_settle,
            .note_access = cluster->accesses != NULL ? cluster_note_access : NULL,
            .admits_own = cluster_admits_own,
            .admits_read = cluster_admits_read,
        };
        pool_set_replication(pool, &replication);
        pool_admit_readers(pool, options->serve_while_catching_up);
        cluster->has_thread = pthread_create(&cluster->thread, NULL, cluster_main, cluster) == 0;
    }
    if (!cluster->has_thread) {
        snprintf(error, ENGINE_ERROR_MAX, "no memory or no threads");
        cluster_close(cluster);
        return NULL;
    }
    pthread_setname_np(cluster->thread, "cluster");
    return cluster;
}

bool cluster_has_tried(const struct cluster *cluster) {
    return atomic_load(&cluster->tried);
}

bool cluster_is_refused(struct cluster *cluster, char error[ENGINE_ERROR_MAX]) {
    pthread_mutex_lock(&cluster->lock);
    bool refused = atomic_load(&cluster->stage) == REPLICATION_REFUSED;
    snprintf(error, ENGINE_ERROR_MAX, "%s", cluster->wrong);
    pthread_mutex_unlock(&cluster->lock);
    return refused;
}

bool cluster_may_serve(const struct cluster *cluster) {
    return atomic_load(&cluster->serves);
}

/* Gives the reader a moment to come to the last own writes, so that the position in the file is
 * behind all that is in the pool. */
static void cluster_let_reader_pass(const struct cluster *cluster) {
    for (uint32_t ms = 0; ms < CLUSTER_STOP_MS && atomic_load(&cluster->own.count) > 0;
         ms += CLUSTER_NAP_MS) {
        nanosleep(&(struct timespec){.tv_nsec = (long)CLUSTER_NAP_MS * 1000000}, NULL);
    }
}

void cluster_close(struct cluster *cluster) {
    if (cluster == NULL) {
        return;
    }
    atomic_store(&cluster->stopping, true);
    if (cluster->has_thread) {
        pthread_join(cluster->thread, NULL);
    }
    pool_admit_readers(cluster->pool, false);
    struct reader *reader = atomic_load(&cluster->reader);
    if (reader != NULL) {
        cluster_let_reader_pass(cluster);
        reader_stop(reader);
    }
    if (cluster->writes != NULL) {
        writes_stop(cluster->writes);
    }
    flusher_join(cluster->flusher);
    cluster->engine.close(cluster->engine.self);
    flusher_destroy(cluster->flusher);
    writes_destroy(cluster->writes);
    accesses_destroy(cluster->accesses);
    own_writes_finish(&cluster->own);
    pthread_mutex_destroy(&cluster->lock);
    free(cluster);
}
