/* A cluster, for its own files only:
 *
 *     cluster.c         opens and closes it; what the parts tell each other
 *     cluster_thread.c  its thread: joins, watches how the reader catches up, checks the logs
 *     cluster_state.c   how it is, for monitoring
 */
#ifndef STAYD_CLUSTER_CLUSTER_PRIVATE_H
#define STAYD_CLUSTER_CLUSTER_PRIVATE_H

#include "cluster/cluster.h"
#include "cluster/engine_module.h"
#include "cluster/flusher.h"
#include "cluster/gate.h"
#include "cluster/reader.h"
#include "cluster/writes.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    CLUSTER_BEACON_MS = 10000,
    CLUSTER_LEADERLESS_MS = 10000, /* an election takes up to 9 s */
};

/* What the last check of a partition's log has found. */
struct cluster_log {
    struct engine_log log;
    bool failed;           /* the last check found no leader */
    uint64_t led_ms;       /* when a leader was found last */
    unsigned short_checks; /* so often in a row the log ended before the pool's position */
};

struct cluster {
    struct cluster_options options;
    struct pool *pool;
    struct subjects subjects;
    engine_open *open_engine;
    struct gate gate;
    struct engine engine; /* through the gate */
    struct own_writes own;
    struct writes *writes;
    struct flusher *flusher;
    struct accesses *accesses;       /* NULL: the pool has no idle timeout */
    _Atomic(struct reader *) reader; /* NULL before the logs were checked */
    uint64_t host;
    _Atomic uint64_t flushes[POOL_PARTITIONS_MAX]; /* reader_options.flushes */

    pthread_t thread;
    bool has_thread;
    _Atomic bool stopping;
    _Atomic enum replication_stage stage;
    _Atomic bool serves;
    _Atomic bool tried;       /* a first try to join has ended */
    _Atomic uint64_t lost_ms; /* when the connection was found to be lost; 0: it is not */
    bool is_cut_off;          /* used by the thread: it is behind max_lag */

    pthread_mutex_t lock; /* of the fields below; the thread writes them */
    struct cluster_log logs[POOL_PARTITIONS_MAX];
    struct engine_nodes nodes;
    char wrong[ENGINE_ERROR_MAX]; /* replication_state.wrong */
};

/* cluster_thread.c */
void *cluster_main(void *argument);

/* cluster_state.c; functions of pool_replication */
void cluster_visit_stats(void *context, void (*visit)(void *, const char *, const char *),
                         void *visitor);
void cluster_get_state(void *context, struct replication_state *state);
void cluster_get_partition(void *context, uint32_t partition, struct replication_partition *state);

#endif
