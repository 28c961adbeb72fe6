/* Reads the log and writes its records to the pool: one thread for all partitions of a pool.
 *
 *     start     check each partition's log; follow it from the pool's position on; write a beacon
 *     ...       apply records
 *     beacon    the partition is caught up: all that was acknowledged anywhere before the beacon
 * was written stands before it in the log
 *
 * A beacon is a record that this host writes and waits for. It is safer than to ask a node how long
 * the log is: a node that has lost its connection to the others may still answer that. A host that
 * is caught up writes one now and then, which measures how far it is behind.
 *
 * A partition whose position is not known, in a pool that has items, is *compared*: read from the
 * log's start, and when it is caught up, the pool's items that the log did not have are removed. */
#ifndef STAYD_CLUSTER_READER_H
#define STAYD_CLUSTER_READER_H

#include "cluster/accesses.h"
#include "cluster/engine.h"
#include "cluster/own_writes.h"
#include "cluster/subjects.h"
#include "cluster/writes.h"
#include "store/replication.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct reader_options {
    const struct subjects *subjects; /* these live longer */
    struct engine *engine;
    struct pool *pool;
    struct own_writes *own;
    struct writes *writes;
    /* One for each partition: the sequence of the last flush that the pool has applied. Written by
     * the reader and by reader_check_logs. */
    _Atomic uint64_t *flushes;
    struct engine_log *logs; /* one for each partition: what reader_check_logs has found */
    /* Called before the pool's items are dropped, to be read from a log that was filled anew: no
     * client may be served until the pool is caught up. */
    void (*before_drop)(void *context);
    void *drop_context;
    struct accesses *accesses; /* written by the reader's thread; NULL: there are none */
    struct grace *grace;
    unsigned thread_index; /* of the reader's store_thread */
    uint64_t host;
    uint32_t beacon_ms; /* between two beacons of a partition */
    uint32_t keep_s;    /* as message_life.keep_s */
};

struct reader_stats {
    uint32_t caught_up; /* partitions */
    uint64_t applied;   /* records, since the start */
    uint64_t foreign;   /* records that no stayd of this cluster has written, or damaged ones */
    uint64_t refused;   /* how often a record found no room in the pool */
    uint32_t lag_ms;    /* of the last beacon: from its writing to its arrival; the longest */
    uint32_t oldest_ms; /* since when a beacon is missing; 0: none is */
};

struct reader_partition_stats {
    bool caught_up;
    uint64_t pending;   /* records that are still to come, when the last one came */
    uint32_t lag_ms;    /* as in reader_stats */
    uint32_t silent_ms; /* since when its beacon is missing; 0: it is not */
};

struct reader;

/* Checks the logs of all partitions; waits some seconds at most. AWAY: nothing is known, try again.
 */
enum engine_check reader_check_logs(const struct reader_options *options,
                                    char error[ENGINE_ERROR_MAX]);

/* Starts the thread. NULL if memory or threads are short. */
struct reader *reader_start(const struct reader_options *options);

/* Accepts NULL. */
void reader_stop(struct reader *reader);

void reader_get_stats(const struct reader *reader, struct reader_stats *stats);
void reader_get_partition(const struct reader *reader, uint32_t partition,
                          struct reader_partition_stats *stats);

/* The answer to a beacon's write: whether it was stored does not matter, its arrival does. Tokens
 * of beacons have this bit. */
#define READER_TOKEN (UINT64_C(1) << 63)

#endif
