/* A clustered pool: a pool whose changes go through a log that is replicated between machines.
 *
 *     workers --proposals--> writes --conditional writes--> engine (NATS JetStream)
 *        ^                      ^                               |
 *        '------ the pool <--- reader <------ all records ------'
 *
 * docs/scaling.md has the design. This layer knows the store and no protocol. */
#ifndef STAYD_CLUSTER_CLUSTER_H
#define STAYD_CLUSTER_CLUSTER_H

#include "cluster/engine.h"
#include "cluster/reader.h"
#include "cluster/writes.h"
#include "store/pool.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    CLUSTER_PARTITIONS = 16,          /* by default */
    CLUSTER_REPLICAS = 3,             /* the same */
    CLUSTER_KEEP_S = 7 * 24 * 60 * 60 /* how long the log keeps what is deleted or expired */
};

#define CLUSTER_PREFIX "stayd" /* by default */

struct cluster_options {
    struct engine_options engine; /* all strings live longer */
    struct grace *grace;
    unsigned thread_index; /* of a store_thread that no other thread uses */
    /* Called often while the cluster is opened; true: it is to fail. May be NULL. */
    bool (*is_stopping)(void);
};

struct cluster;

/* Joins the pool to its cluster and waits until it is caught up: until then no client must be
 * served. While the engine is away, it waits. NULL with the reason in `error`. */
struct cluster *cluster_open(const struct cluster_options *options, struct pool *pool,
                             char error[ENGINE_ERROR_MAX]);

/* No connection uses the pool any more. Accepts NULL. */
void cluster_close(struct cluster *cluster);

struct cluster_stats {
    struct writes_stats writes;
    struct reader_stats reader;
    uint32_t partitions;
    bool connected;
};

void cluster_get_stats(struct cluster *cluster, struct cluster_stats *stats);

#endif
