/* Functions that write the responses of the admin server, as text, into a stream. Called by the
 * HTTP thread. */
#ifndef STAYD_ADMIN_PAGE_H
#define STAYD_ADMIN_PAGE_H

#include "admin/admin.h"
#include "admin/advice.h"
#include "admin/history.h"
#include "store/replication.h"

#include <stdbool.h>
#include <stdio.h>

/* The Prometheus text format, version 0.0.4. */
void metrics_write(const struct admin_options *options, FILE *stream);

/* The facts about the pool with this index. They may point into `replication`. */
struct advice_facts pool_facts(const struct admin_options *options, unsigned pool,
                               const struct pool_stats *stats,
                               struct replication_state *replication);

/* The metrics of clustered pools; nothing if there are none. */
void metrics_write_clusters(const struct admin_options *options, FILE *stream);

/* JSON: the figures of a clustered pool and its partitions; null for another one. */
void api_write_cluster(const struct pool *pool, FILE *stream);

/* Writes "ok", or a line for each fault. A client that may not read the faults (`may_read` false)
 * gets one line that says only that there are faults. False if there is a fault. */
bool health_write(const struct admin_options *options, bool may_read, FILE *stream);

/* JSON: each pool's figures, warnings, counters and expiry. */
void api_write_stats(const struct admin_options *options, struct history *history, FILE *stream);

/* JSON: columns of samples that are newer than `since_s`, for each pool. */
void api_write_history(const struct admin_options *options, struct history *history,
                       enum history_span span, uint32_t since_s, FILE *stream);

/* The name of a counter in the metrics and in the JSON, without the prefix. */
const char *metrics_counter_name(enum pool_counter counter);

#endif
