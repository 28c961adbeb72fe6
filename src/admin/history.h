/* The figures of each pool that the dashboard draws, over the last hour and the last day.
 *
 *     hour   a sample every 10 s, 361 samples
 *     day    a sample every 2 min, 721 samples
 *
 * The memory is allocated at the start and does not grow: about 156 KB for each pool. A restart
 * loses the history; Prometheus (/metrics) can keep a longer history.
 *
 * A thread of its own takes the samples; one other thread, the HTTP server's, reads them. */
#ifndef STAYD_ADMIN_HISTORY_H
#define STAYD_ADMIN_HISTORY_H

#include "admin/admin.h"

enum history_span { HISTORY_HOUR, HISTORY_DAY, HISTORY_SPANS };

enum history_column {
    /* values at the time of the sample */
    HISTORY_LIVE_BYTES,
    HISTORY_DEAD_BYTES,
    HISTORY_FREE_BYTES,
    HISTORY_ITEMS,
    HISTORY_CONNECTIONS,
    HISTORY_SYNC_LAG_MS, /* the largest since the last sample */
    /* counters since the start, reported as rates per second */
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

/* NULL if there is no memory, or the thread cannot be started. `options` must stay valid until
 * history_stop. */
struct history *history_start(const struct admin_options *options);

/* Accepts NULL. */
void history_stop(struct history *history);

/* The seconds between two samples of this span. */
unsigned history_step_s(enum history_span span);

const char *history_column_name(enum history_column column);

/* One sample, for the reader. */
struct history_row {
    uint32_t time_s;                 /* unix seconds */
    double columns[HISTORY_COLUMNS]; /* negative: unknown, such as a rate after `stats reset` */
};

/* The samples of a pool that are newer than `since_s`, oldest first; valid until the next call. */
const struct history_row *history_read(struct history *history, enum history_span span,
                                       unsigned pool, uint32_t since_s, unsigned *count);

/* The growth of a counter in the last hour. */
uint64_t history_get_growth(struct history *history, unsigned pool, enum history_column column);

#endif
