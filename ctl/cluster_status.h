/* The output of `stayctl cluster status` for one pool. */
#ifndef STAYD_CTL_CLUSTER_STATUS_H
#define STAYD_CTL_CLUSTER_STATUS_H

#include "cluster/engine.h"
#include "command.h"

/* Asks the daemon and the engine, and prints what both say. Returns the exit status: EXIT_FAULT if
 * a partition is not there, is not right or has no leader, if a node does not sync its writes, or
 * if the daemon refuses writes of a partition, because its log was made anew. A daemon that does
 * not answer is no fault of the cluster. */
int cluster_status_show(const struct config_pool *pool, const struct target *target,
                        const struct engine *engine, bool json);

#endif
