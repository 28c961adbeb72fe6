#include "admin/history.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { HISTORY_TICK_S = 1 /* the interval at which the sync lag is read */ };

static const struct {
    unsigned step_s;
    unsigned samples;
} spans[HISTORY_SPANS] = {
    [HISTORY_HOUR] = {10, 361},
    [HISTORY_DAY] = {120, 721},
};

static const char *const names[HISTORY_COLUMNS] = {
    [HISTORY_LIVE_BYTES] = "live_bytes",
    [HISTORY_DEAD_BYTES] = "dead_bytes",
    [HISTORY_FREE_BYTES] = "free_bytes",
    [HISTORY_ITEMS] = "items",
    [HISTORY_CONNECTIONS] = "connections",
    [HISTORY_SYNC_LAG_MS] = "sync_lag_ms",
    [HISTORY_GETS] = "gets",
    [HISTORY_HITS] = "hits",
    [HISTORY_STORES] = "stores",
    [HISTORY_DELETES] = "deletes",
    [HISTORY_TOUCHES] = "touches",
    [HISTORY_EVICTIONS] = "evictions",
    [HISTORY_EVICTED_UNREAD] = "evicted_unread",
    [HISTORY_EXPIRATIONS] = "expirations",
    [HISTORY_REFUSED] = "refused",
    [HISTORY_CONFLICTS] = "conflicts",
};

struct history_sample {
    uint32_t time_s;
    uint64_t at_ms; /* monotonic: rates do not depend on the wall clock */
    uint64_t columns[HISTORY_COLUMNS];
};

/* A ring: the newest sample is the one before `next`. */
struct history_ring {
    struct history_sample *samples;
    unsigned next;
    unsigned count;
    uint64_t sync_lag_ms; /* the largest since the last sample */
};

struct history {
    const struct admin_options *options;
    pthread_t thread;
    pthread_mutex_t lock; /* protects the fields below */
    pthread_cond_t wake;
    bool stop;
    uint64_t taken_ms[HISTORY_SPANS];          /* when the last samples were taken; 0: never */
    struct history_ring *rings[HISTORY_SPANS]; /* of each pool */
    struct history_row *rows; /* returned by history_read; used by the reading thread only */
};

enum { HISTORY_ROWS = 721 /* the largest number of samples of a span */ };

unsigned history_step_s(enum history_span span) {
    return spans[span].step_s;
}

const char *history_column_name(enum history_column column) {
    return names[column];
}

static void history_fill(struct history_sample *sample, const struct pool_stats *stats,
                         const struct proto_service *service) {
    const uint64_t *counters = stats->counters;
    *sample = (struct history_sample){
        .time_s = clock_unix_s(),
        .at_ms = clock_monotonic_ms(),
        .columns =
            {
                [HISTORY_LIVE_BYTES] = stats->live_bytes,
                [HISTORY_DEAD_BYTES] = stats->dead_bytes + stats->tombstone_bytes,
                [HISTORY_FREE_BYTES] = stats->free_bytes,
                [HISTORY_ITEMS] = stats->items,
                [HISTORY_CONNECTIONS] = atomic_load(&service->connections.used),
                [HISTORY_SYNC_LAG_MS] = stats->sync_lag_ms,
                [HISTORY_GETS] = counters[POOL_CMD_GET],
                [HISTORY_HITS] = counters[POOL_GET_HITS],
                [HISTORY_STORES] = counters[POOL_TOTAL_ITEMS],
                [HISTORY_DELETES] = counters[POOL_DELETE_HITS],
                [HISTORY_TOUCHES] = counters[POOL_TOUCH_HITS],
                [HISTORY_EVICTIONS] = counters[POOL_EVICTIONS],
                [HISTORY_EVICTED_UNREAD] = counters[POOL_EVICTED_UNFETCHED],
                [HISTORY_EXPIRATIONS] = counters[POOL_EXPIRED_RECLAIMED],
                [HISTORY_REFUSED] = counters[POOL_STORE_NO_MEMORY],
                [HISTORY_CONFLICTS] = counters[POOL_CAS_BADVAL],
            },
    };
}

static void history_add(struct history_ring *ring, enum history_span span,
                        const struct history_sample *sample) {
    struct history_sample *place = &ring->samples[ring->next];
    *place = *sample;
    place->columns[HISTORY_SYNC_LAG_MS] = ring->sync_lag_ms;
    ring->sync_lag_ms = 0;
    ring->next = (ring->next + 1) % spans[span].samples;
    ring->count = ring->count < spans[span].samples ? ring->count + 1 : ring->count;
}

/* Takes the samples that are due. The caller has the lock. */
static void history_look(struct history *history) {
    const struct admin_options *options = history->options;
    uint64_t now_ms = clock_monotonic_ms();
    bool due[HISTORY_SPANS];
    for (unsigned span = 0; span < HISTORY_SPANS; span++) {
        due[span] = history->taken_ms[span] == 0 ||
                    now_ms - history->taken_ms[span] >= (uint64_t)spans[span].step_s * 1000;
        history->taken_ms[span] = due[span] ? now_ms : history->taken_ms[span];
    }
    for (unsigned pool = 0; pool < options->pool_count; pool++) {
        struct pool_stats stats;
        struct history_sample sample;
        pool_get_stats(options->pools[pool], &stats);
        history_fill(&sample, &stats, &options->services[pool]);
        for (unsigned span = 0; span < HISTORY_SPANS; span++) {
            struct history_ring *ring = &history->rings[span][pool];
            if (stats.sync_lag_ms > ring->sync_lag_ms) {
                ring->sync_lag_ms = stats.sync_lag_ms;
            }
            if (due[span]) {
                history_add(ring, (enum history_span)span, &sample);
            }
        }
    }
}

static void *history_main(void *context) {
    struct history *history = context;
    pthread_mutex_lock(&history->lock);
    while (!history->stop) {
        struct timespec until;
        history_look(history);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += HISTORY_TICK_S;
        pthread_cond_timedwait(&history->wake, &history->lock, &until);
    }
    pthread_mutex_unlock(&history->lock);
    return NULL;
}

static void history_free(struct history *history) {
    for (unsigned span = 0; span < HISTORY_SPANS; span++) {
        for (unsigned pool = 0; history->rings[span] != NULL && pool < history->options->pool_count;
             pool++) {
            free(history->rings[span][pool].samples);
        }
        free(history->rings[span]);
    }
    free(history->rows);
    free(history);
}

static bool history_allocate(struct history *history) {
    history->rows = calloc(HISTORY_ROWS, sizeof *history->rows);
    if (history->rows == NULL) {
        return false;
    }
    for (unsigned span = 0; span < HISTORY_SPANS; span++) {
        history->rings[span] =
            calloc(history->options->pool_count + 1, sizeof *history->rings[span]);
        for (unsigned pool = 0; history->rings[span] != NULL && pool < history->options->pool_count;
             pool++) {
            struct history_ring *ring = &history->rings[span][pool];
            ring->samples = calloc(spans[span].samples, sizeof *ring->samples);
            if (ring->samples == NULL) {
                return false;
            }
        }
        if (history->rings[span] == NULL) {
            return false;
        }
    }
    return true;
}

struct history *history_start(const struct admin_options *options) {
    struct history *history = calloc(1, sizeof *history);
    if (history == NULL) {
        return NULL;
    }
    history->options = options;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&history->lock, NULL);
    pthread_cond_init(&history->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (!history_allocate(history) ||
        pthread_create(&history->thread, NULL, history_main, history) != 0) {
        history_free(history);
        return NULL;
    }
    return history;
}

void history_stop(struct history *history) {
    if (history == NULL) {
        return;
    }
    pthread_mutex_lock(&history->lock);
    history->stop = true;
    pthread_cond_signal(&history->wake);
    pthread_mutex_unlock(&history->lock);
    pthread_join(history->thread, NULL);
    pthread_cond_destroy(&history->wake);
    pthread_mutex_destroy(&history->lock);
    history_free(history);
}

/* The sample at `place`; 0 is the oldest. */
static const struct history_sample *history_at(const struct history_ring *ring,
                                               enum history_span span, unsigned place) {
    unsigned first = ring->next + spans[span].samples - ring->count;
    return &ring->samples[(first + place) % spans[span].samples];
}

static struct history_row history_make_row(const struct history_sample *sample,
                                           const struct history_sample *before) {
    struct history_row row = {.time_s = sample->time_s};
    for (unsigned column = 0; column < HISTORY_COLUMNS; column++) {
        uint64_t value = sample->columns[column];
        if (column < HISTORY_COUNTERS) {
            row.columns[column] = (double)value;
        } else if (before == NULL || value < before->columns[column]) {
            row.columns[column] = -1;
        } else {
            row.columns[column] = (double)(value - before->columns[column]) * 1000 /
                                  (double)(sample->at_ms - before->at_ms);
        }
    }
    return row;
}

const struct history_row *history_read(struct history *history, enum history_span span,
                                       unsigned pool, uint32_t since_s, unsigned *count) {
    pthread_mutex_lock(&history->lock);
    const struct history_ring *ring = &history->rings[span][pool];
    const struct history_sample *before = NULL;
    *count = 0;
    for (unsigned place = 0; place < ring->count; place++) {
        const struct history_sample *sample = history_at(ring, span, place);
        if (sample->time_s > since_s) {
            history->rows[(*count)++] = history_make_row(sample, before);
        }
        before = sample;
    }
    pthread_mutex_unlock(&history->lock);
    return history->rows;
}

uint64_t history_get_growth(struct history *history, unsigned pool, enum history_column column) {
    pthread_mutex_lock(&history->lock);
    const struct history_ring *ring = &history->rings[HISTORY_HOUR][pool];
    uint64_t growth = 0;
    for (unsigned place = 1; place < ring->count; place++) {
        uint64_t before = history_at(ring, HISTORY_HOUR, place - 1)->columns[column];
        uint64_t value = history_at(ring, HISTORY_HOUR, place)->columns[column];
        growth += value > before ? value - before : 0;
    }
    pthread_mutex_unlock(&history->lock);
    return growth;
}
