#include "cluster/cluster.h"

#include "base/clock.h"
#include "base/log.h"
#include "cluster/engine_module.h"
#include "cluster/flusher.h"
#include "cluster/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
    CLUSTER_BEACON_MS = 10000,
    CLUSTER_NAP_MS = 5,
    CLUSTER_AGAIN_MS = 500, /* between two tries to reach the engine */
    CLUSTER_TELL_MS = 10000,
    CLUSTER_STOP_MS = 1000,
};

struct cluster {
    struct cluster_options options;
    struct pool *pool;
    struct subjects subjects;
    struct engine engine;
    struct own_writes own;
    struct writes *writes;
    struct reader *reader;
    struct flusher *flusher;
    _Atomic uint64_t flushes[POOL_PARTITIONS_MAX]; /* reader_options.flushes */
};

static void cluster_nap(uint32_t ms) {
    nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000}, NULL);
}

static void cluster_written(void *context, uint64_t token, enum engine_outcome outcome,
                            uint64_t sequence) {
    struct cluster *cluster = context;
    if ((token & FLUSHER_TOKEN) != 0 && cluster->flusher != NULL) {
        flusher_take_outcome(cluster->flusher, token, outcome, sequence);
    } else if ((token & (READER_TOKEN | FLUSHER_TOKEN)) != 0) {
        return; /* a beacon's arrival matters, not its answer */
    } else if ((token & WRITES_CONFIRMATION_TOKEN) != 0) {
        writes_take_confirmation_outcome(cluster->writes, token, outcome, sequence);
    } else {
        writes_take_outcome(cluster->writes, token, outcome, sequence);
    }
}

static void cluster_found(void *context, uint64_t token, const struct engine_found *found) {
    struct cluster *cluster = context;
    writes_take_found(cluster->writes, token, found);
}

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

/* The pool's `stats`. */
static void cluster_visit_stats(void *context, void (*visit)(void *, const char *, uint64_t),
                                void *visitor) {
    struct cluster_stats stats;
    cluster_get_stats(context, &stats);
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {
        {"cluster_connected", stats.connected},
        {"cluster_partitions", stats.partitions},
        {"cluster_caught_up", stats.reader.caught_up},
        {"cluster_lag_ms", stats.reader.lag_ms},
        {"cluster_silent_ms", stats.reader.oldest_ms},
        {"cluster_applied", stats.reader.applied},
        {"cluster_left_out", stats.reader.foreign},
        {"cluster_no_room", stats.reader.refused},
        {"cluster_in_flight", stats.writes.in_flight},
        {"cluster_acknowledged", stats.writes.acknowledged},
        {"cluster_conflicts", stats.writes.conflicts},
        {"cluster_lost_answers", stats.writes.lost_answers},
        {"cluster_failed", stats.writes.failed},
        {"cluster_confirmed", stats.writes.confirmed},
        {"cluster_confirmations", stats.writes.confirmations},
        {"cluster_lost_logs", stats.writes.lost_logs},
        {"cluster_longest_write_ms", stats.writes.longest_ms},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        visit(visitor, numbers[i].name, numbers[i].number);
    }
}

static bool cluster_is_stopping(const struct cluster *cluster, char *error) {
    if (cluster->options.is_stopping == NULL || !cluster->options.is_stopping()) {
        return false;
    }
    snprintf(error, ENGINE_ERROR_MAX, "the start was ended");
    return true;
}

/* Waits until the logs of all partitions were checked. */
static bool cluster_check_logs(const struct cluster *cluster, const struct reader_options *reader,
                               char *error) {
    uint64_t told_ms = 0;
    for (;;) {
        switch (reader_check_logs(reader, error)) {
        case ENGINE_RIGHT:
            return true;
        case ENGINE_WRONG:
            return false;
        case ENGINE_AWAY:
            break;
        }
        uint64_t now_ms = clock_monotonic_ms();
        if (now_ms >= told_ms + CLUSTER_TELL_MS) {
            told_ms = now_ms;
            log_warning("pool %s waits for its cluster: %s", cluster->subjects.pool, error);
        }
        for (uint32_t ms = 0; ms < CLUSTER_AGAIN_MS; ms += CLUSTER_NAP_MS) {
            if (cluster_is_stopping(cluster, error)) {
                return false;
            }
            cluster_nap(CLUSTER_NAP_MS);
        }
    }
}

/* Waits until the reader has caught up, and says how it goes. */
static bool cluster_catch_up(const struct cluster *cluster, char *error) {
    struct reader_stats stats;
    uint64_t began_ms = clock_monotonic_ms();
    uint64_t told_ms = began_ms;
    while (!reader_is_caught_up(cluster->reader)) {
        if (cluster_is_stopping(cluster, error) ||
            cluster->engine.is_refused(cluster->engine.self, error)) {
            return false;
        }
        cluster_nap(CLUSTER_NAP_MS);
        if (clock_monotonic_ms() >= told_ms + CLUSTER_TELL_MS) {
            told_ms = clock_monotonic_ms();
            reader_get_stats(cluster->reader, &stats);
            log_info("pool %s catches up: %llu records applied, %u of %u partitions are done",
                     cluster->subjects.pool, (unsigned long long)stats.applied, stats.caught_up,
                     cluster->subjects.partitions);
        }
    }
    reader_get_stats(cluster->reader, &stats);
    log_info("pool %s has caught up with its cluster: %llu records in %llu ms",
             cluster->subjects.pool, (unsigned long long)stats.applied,
             (unsigned long long)(clock_monotonic_ms() - began_ms));
    return true;
}

struct cluster *cluster_open(const struct cluster_options *options, struct pool *pool,
                             char error[ENGINE_ERROR_MAX]) {
    struct cluster *cluster = calloc(1, sizeof *cluster);
    engine_open *open = engine_module_load(error);
    uint64_t host;
    if (cluster == NULL || open == NULL) {
        free(cluster);
        return NULL;
    }
    cluster->options = *options;
    cluster->pool = pool;
    cluster->subjects = (struct subjects){options->engine.prefix, pool_get_options(pool)->name,
                                          options->engine.partitions};
    own_writes_init(&cluster->own);
    snprintf(error, ENGINE_ERROR_MAX, "no memory or no threads");
    if (getrandom(&host, sizeof host, 0) != (ssize_t)sizeof host) {
        goto fail;
    }
    cluster->writes = writes_create(&(struct writes_options){
        .subjects = &cluster->subjects,
        .engine = &cluster->engine,
        .pool = pool,
        .own = &cluster->own,
        .flushes = cluster->flushes,
        .host = host,
        .keep_s = CLUSTER_KEEP_S,
    });
    struct engine_options engine_options = options->engine;
    engine_options.payload_max_bytes = pool_get_options(pool)->item_max_bytes + MESSAGE_HEAD_BYTES;
    const struct engine_callbacks callbacks = {cluster, cluster_written, cluster_found, log_write};
    if (cluster->writes == NULL || !open(&engine_options, &callbacks, &cluster->engine, error)) {
        goto fail;
    }
    const struct reader_options reader = {
        .subjects = &cluster->subjects,
        .engine = &cluster->engine,
        .pool = pool,
        .own = &cluster->own,
        .writes = cluster->writes,
        .flushes = cluster->flushes,
        .grace = options->grace,
        .thread_index = options->thread_index,
        .host = host,
        .beacon_ms = CLUSTER_BEACON_MS,
        .keep_s = CLUSTER_KEEP_S,
    };
    const struct pool_replication replication = {
        .context = cluster,
        .create = cluster_create_proposal,
        .release = writes_release_proposal,
        .get_flush = cluster_get_flush,
        .submit = writes_submit,
        .confirm = writes_confirm,
        .submit_flush = writes_submit_flush,
        .visit_stats = cluster_visit_stats,
        .settle = writes_settle,
        .admits_own = cluster_admits_own,
        .admits_read = cluster_admits_read,
    };
    if (!cluster_check_logs(cluster, &reader, error)) {
        goto fail;
    }
    pool_set_replication(pool, &replication); /* before the reader applies records */
    cluster->reader = reader_start(&reader);
    if (cluster->reader == NULL || !cluster_catch_up(cluster, error)) {
        goto fail;
    }
    cluster->flusher = flusher_start(&(struct flusher_options){
        .subjects = &cluster->subjects,
        .engine = &cluster->engine,
        .pool = pool,
        .writes = cluster->writes,
    });
    if (cluster->flusher == NULL) {
        goto fail;
    }
    pool_admit_readers(pool, true);
    return cluster;

fail:
    cluster_close(cluster);
    return NULL;
}

/* Gives the reader a moment to come to the last own writes, so that the position in the file is
 * behind all that is in the pool. */
static void cluster_let_reader_pass(const struct cluster *cluster) {
    for (uint32_t ms = 0; ms < CLUSTER_STOP_MS && atomic_load(&cluster->own.count) > 0;
         ms += CLUSTER_NAP_MS) {
        cluster_nap(CLUSTER_NAP_MS);
    }
}

void cluster_close(struct cluster *cluster) {
    if (cluster == NULL) {
        return;
    }
    pool_admit_readers(cluster->pool, false);
    if (cluster->reader != NULL) {
        cluster_let_reader_pass(cluster);
        reader_stop(cluster->reader);
    }
    if (cluster->writes != NULL) {
        writes_stop(cluster->writes);
    }
    flusher_join(cluster->flusher);
    if (cluster->engine.close != NULL) {
        cluster->engine.close(cluster->engine.self);
    }
    flusher_destroy(cluster->flusher);
    writes_destroy(cluster->writes);
    own_writes_finish(&cluster->own);
    free(cluster);
}

void cluster_get_stats(struct cluster *cluster, struct cluster_stats *stats) {
    *stats = (struct cluster_stats){
        .partitions = cluster->subjects.partitions,
        .connected = cluster->engine.is_connected(cluster->engine.self),
    };
    writes_get_stats(cluster->writes, &stats->writes);
    reader_get_stats(cluster->reader, &stats->reader);
}
