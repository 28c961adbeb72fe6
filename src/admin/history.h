/* The figures that the dashboard draws: some of each pool, over the last hour and the last day.
 *
 *     hour   a sample each 10 s, 361 of them
 *     day    a sample each 2 min, 721 of them
 *
 * The memory is allocated at the start and does not grow: some 140 KB a pool. A restart loses the
 * history; Prometheus (/metrics) keeps a longer one.
 *
 * A thread of its own takes the samples; one other thread, the HTTP server's, reads them. */
#ifndef STAYD_ADMIN_HISTORY_H
#define STAYD_ADMIN_HISTORY_H

#include "admin/admin.h"

enum history_span { HISTORY_HOUR, HISTORY_DAY, HISTORY_SPANS };

enum history_column {
    /* as they are at the moment of the sample */
    HISTORY_LIVE_BYTES,
    HISTORY_DEAD_BYTES,
    HISTORY_FREE_BYTES,
    HISTORY_ITEMS,
    HISTORY_CONNECTIONS,
    HISTORY_SYNC_LAG_MS, /* the largest since the last sample */
    /* counted since the start; reported as so many a second */
    HISTORY_COUNTERS,
    HISTORY_GETS = HISTORY_COUNTERS,
    HISTORY_HITS,
    HISTORY_STORES,
    HISTORY_DELETES,
    HISTORY_TOUCHES,
    HISTORY_EVICTIONS,
    HISTORY_EVICTED_UNREAD,
    HISTORY_EXPIRATIONS,
    HISTORY_REFUSED,
    HISTORY_CONFLICTS,
    HISTORY_COLUMNS
};

struct history;

/* NULL if there is no memory or no thread. `options` must stay valid until history_destroy. */
struct history *history_start(const struct admin_options *options);

/* Accepts NULL. */
void history_stop(struct history *history);

/* The seconds between two samples of this span. */
unsigned history_step_s(enum history_span span);

const char *history_column_name(enum history_column column);

/* A sample as it is reported. */
struct history_row {
    uint32_t time_s;                 /* unix seconds */
    double columns[HISTORY_COLUMNS]; /* negative: not known, as after `stats reset` */
};

/* The samples of a pool that are newer than `since_s`, oldest first; valid until the next call. */
const struct history_row *history_read(struct history *history, enum history_span span,
                                       unsigned pool, uint32_t since_s, unsigned *count);

/* By how much a counter has grown in the last hour. */
uint64_t history_get_growth(struct history *history, unsigned pool, enum history_column column);

#endif
