/* A clustered pool: a pool whose changes go through a log that is replicated between machines.
 *
 *     workers --proposals--> writes --conditional writes--> gate -> engine (NATS JetStream)
 *        ^                      ^                                      |
 *        '------ the pool <--- reader <------------ all records -------'
 *
 *     opened     a thread tries to reach the engine and checks the logs
 *     joined     they are right: the reader follows them, writes pass
 *     caught up  the pool has all that was acknowledged when it joined: clients are served
 *
 * docs/scaling.md has the design. This layer knows the store and no protocol. */
#ifndef STAYD_CLUSTER_CLUSTER_H
#define STAYD_CLUSTER_CLUSTER_H

#include "cluster/engine.h"
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
    bool serve_while_catching_up;
    uint32_t max_lag_ms; /* a host that is further behind serves no clients; 0: it always does */
    /* Called by the cluster's thread when cluster_may_serve may say something else. */
    void (*changed)(void *context);
    void *changed_context;
};

struct cluster;

/* Sets the pool's replication and starts to join; does not wait. NULL with the reason in `error`.
 */
struct cluster *cluster_open(const struct cluster_options *options, struct pool *pool,
                             char error[ENGINE_ERROR_MAX]);

/* Whether a first try to join has ended. */
bool cluster_has_tried(const struct cluster *cluster);

/* Whether the engine was reached and cannot be joined as it is: other settings, another log,
 * refused credentials. The reason is in `error`. */
bool cluster_is_refused(struct cluster *cluster, char error[ENGINE_ERROR_MAX]);

/* Whether clients may be served now. Any thread. */
bool cluster_may_serve(const struct cluster *cluster);

/* No connection uses the pool any more. Accepts NULL. */
void cluster_close(struct cluster *cluster);

#endif
