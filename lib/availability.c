#include "availability.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

enum {
    /* The pause between two tries during a restart: a quarter of the time waited so far, but within
     * these limits. */
    RETRY_MIN_MS = 5,
    RETRY_MAX_MS = 50,
    PAUSE_MIN_MS = 20,
    PAUSE_MAX_MS = 10000,
    PAUSE_MAX_REFUSED_MS = 100, /* after a refused connect the pause is short: such a connect costs
                                   almost nothing, and the server should be found again soon */
    SILENCES = 2, /* so many requests in a row without an answer are an outage; a single one may be
                     due to a slow disk */
    DOUBLINGS_MAX = 16
};

void availability_init(struct availability *availability, int restart_wait_ms, int probe_limit_ms) {
    *availability =
        (struct availability){.restart_wait_ms = restart_wait_ms, .probe_limit_ms = probe_limit_ms};
    pthread_mutex_init(&availability->lock, NULL);
}

static void availability_begin_outage(struct availability *availability) {
    availability->restart_began_ms = 0;
    availability->restart_by_ms = 0;
    availability->failures = 0;
    availability->silences = 0;
    availability->counted_ms = 0;
    availability->until_ms = 0;
    availability->reason[0] = '\0';
    atomic_store(&availability->has_outage, true);
}

bool availability_may_try(struct availability *availability, uint64_t *probe,
                          char reason[AVAILABILITY_REASON_MAX]) {
    *probe = 0;
    if (!atomic_load_explicit(&availability->has_outage, memory_order_relaxed)) {
        return true; /* relaxed: a request that begins at the same time as a failure may try */
    }
    pthread_mutex_lock(&availability->lock);
    bool may_try = true;
    if (availability->has_outage && availability->failures > 0) {
        uint64_t now_ms = clock_exact_ms();
        may_try = now_ms >= availability->until_ms;
        if (may_try) {
            *probe = availability->until_ms = now_ms + (uint64_t)availability->probe_limit_ms;
        } else {
            memcpy(reason, availability->reason, sizeof availability->reason);
        }
    }
    pthread_mutex_unlock(&availability->lock);
    return may_try;
}

bool availability_is_down(struct availability *availability) {
    if (!atomic_load_explicit(&availability->has_outage, memory_order_relaxed)) {
        return false;
    }
    pthread_mutex_lock(&availability->lock);
    bool is_down = availability->has_outage && availability->failures > 0 &&
                   clock_exact_ms() < availability->until_ms;
    pthread_mutex_unlock(&availability->lock);
    return is_down;
}

void availability_answered(struct availability *availability) {
    if (atomic_load_explicit(&availability->has_outage, memory_order_relaxed)) {
        pthread_mutex_lock(&availability->lock);
        availability->has_outage = false;
        pthread_mutex_unlock(&availability->lock);
    }
}

void availability_release_probe(struct availability *availability, uint64_t *probe) {
    if (*probe != 0) {
        pthread_mutex_lock(&availability->lock);
        if (availability->until_ms == *probe) { /* no other request is the probe */
            availability->until_ms = 0;
        }
        pthread_mutex_unlock(&availability->lock);
        *probe = 0;
    }
}

int availability_find_retry_pause(struct availability *availability, uint64_t request_began_ms) {
    pthread_mutex_lock(&availability->lock);
    uint64_t now_ms = clock_exact_ms();
    /* An earlier wait for a restart may be left over, because all waiting requests were
     * interrupted. */
    bool is_over = availability->failures == 0 && availability->restart_began_ms != 0 &&
                   availability->restart_by_ms < request_began_ms;
    if (!availability->has_outage || is_over) {
        availability_begin_outage(availability);
    }
    if (availability->restart_began_ms == 0) {
        availability->restart_began_ms = now_ms;
        availability->restart_by_ms = now_ms + (uint64_t)availability->restart_wait_ms;
    }
    int pause_ms = -1;
    if (availability->failures == 0 && now_ms < availability->restart_by_ms) {
        uint64_t left_ms = availability->restart_by_ms - now_ms;
        uint64_t next_ms = (now_ms - availability->restart_began_ms) / 4;
        next_ms = next_ms < RETRY_MIN_MS   ? RETRY_MIN_MS
                  : next_ms > RETRY_MAX_MS ? RETRY_MAX_MS
                                           : next_ms;
        pause_ms = (int)(next_ms < left_ms ? next_ms : left_ms);
    }
    pthread_mutex_unlock(&availability->lock);
    return pause_ms;
}

static void availability_leave_alone(struct availability *availability, uint64_t try_began_ms,
                                     const char *reason, bool refused) {
    uint64_t now_ms = clock_exact_ms();
    uint64_t longest_ms = refused ? PAUSE_MAX_REFUSED_MS : PAUSE_MAX_MS;
    uint64_t pause_ms = now_ms - try_began_ms;
    pause_ms = pause_ms < PAUSE_MIN_MS ? PAUSE_MIN_MS : pause_ms;
    pause_ms <<= availability->failures < DOUBLINGS_MAX ? availability->failures : DOUBLINGS_MAX;
    availability->failures++;
    availability->counted_ms = now_ms;
    availability->until_ms = now_ms + (pause_ms < longest_ms ? pause_ms : longest_ms);
    snprintf(availability->reason, sizeof availability->reason, "%s", reason);
}

/* Begins an outage, if there is none. False if the failed try began before the last counted
 * failure, and is not counted. */
static bool availability_counts(struct availability *availability, uint64_t try_began_ms) {
    if (!availability->has_outage) {
        availability_begin_outage(availability);
    }
    return availability->counted_ms <= try_began_ms;
}

void availability_failed(struct availability *availability, uint64_t try_began_ms,
                         const char *reason, bool refused) {
    pthread_mutex_lock(&availability->lock);
    if (availability_counts(availability, try_began_ms)) {
        availability_leave_alone(availability, try_began_ms, reason, refused);
    }
    pthread_mutex_unlock(&availability->lock);
}

void availability_note_silence(struct availability *availability, uint64_t try_began_ms,
                               uint64_t answered_ms, const char *reason) {
    if (answered_ms > try_began_ms) {
        return; /* the server answers other requests: it is not down */
    }
    pthread_mutex_lock(&availability->lock);
    if (availability_counts(availability, try_began_ms)) {
        availability->silences++;
        availability->counted_ms = clock_exact_ms();
        if (availability->failures > 0 || availability->silences >= SILENCES) {
            availability_leave_alone(availability, try_began_ms, reason, false);
        }
    }
    pthread_mutex_unlock(&availability->lock);
}
