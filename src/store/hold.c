#include "store/hold.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/compaction.h"
#include "store/pool_private.h"

enum {
    HOLD_TICK_MS = 100,
    HOLD_PATIENCE_MS = 250, /* that writes may wait for room on a backup's account */
    HOLD_FREE_SHARE = 4,    /* of the segments: so many should be free when a hold begins, */
    HOLD_GAIN = 25,         /* if emptying others gains this percentage of each */
};

/* Notes whether any write waits, and says whether one has for too long. */
static bool hold_is_pressed(struct janitor *janitor, uint64_t now_ms) {
    struct hold *hold = &janitor->hold;
    if (!janitor_is_waited_for(janitor)) {
        hold->pressed_ms = 0;
    } else if (hold->pressed_ms == 0) {
        hold->pressed_ms = now_ms;
    }
    return hold->pressed_ms != 0 && now_ms - hold->pressed_ms >= HOLD_PATIENCE_MS;
}

static bool hold_is_over(struct pool *pool) {
    struct janitor *janitor = &pool->janitor;
    struct hold *hold = &janitor->hold;
    uint64_t now_ms = clock_monotonic_ms();
    if (janitor->stop || hold->state != HOLD_STILL || now_ms >= hold->until_ms) {
        return true;
    }
    if (hold_is_pressed(janitor, now_ms)) {
        log_warning("pool %s: a backup has to begin again, because writes had to wait for room",
                    pool->options.name);
        return true;
    }
    return false;
}

static void hold_wait(struct janitor *janitor) {
    struct timespec until = clock_deadline(HOLD_TICK_MS * UINT64_C(1000000));
    pthread_cond_timedwait(&janitor->wake, &janitor->lock, &until);
}

void hold_prepare(struct pool *pool) {
    uint32_t wanted = pool->view.segment_count / HOLD_FREE_SHARE;
    uint32_t rounds = 0;
    uint64_t moved_bytes = pool->janitor.moved_bytes; /* is about what writes have brought about */
    while (atomic_load(&pool->segments.free_count) < wanted && rounds++ < wanted &&
           compaction_run(pool, HOLD_GAIN, expiry_clock_free_s(&pool->expiry_clock)) > 0) {
    }
    pool->janitor.moved_bytes = moved_bytes;
}

void hold_keep(struct pool *pool) {
    struct janitor *janitor = &pool->janitor;
    janitor->hold.state = HOLD_STILL;
    while (!hold_is_over(pool)) {
        hold_wait(janitor);
    }
    if (janitor->hold.state == HOLD_STILL) { /* else it was ended, and maybe asked for anew */
        janitor->hold = (struct hold){.state = HOLD_NONE};
    }
}

static void hold_wake(struct janitor *janitor) {
    atomic_store(&janitor->wanted, true);
    pthread_cond_signal(&janitor->wake);
}

enum status pool_hold(struct pool *pool, struct store_thread *thread, uint32_t lease_ms,
                      uint64_t *sequence) {
    if (pool->header == NULL) {
        return STATUS_INVALID;
    }
    struct janitor *janitor = &pool->janitor;
    struct hold *hold = &janitor->hold;
    enum status status = STATUS_NOT_FOUND;
    pthread_mutex_lock(&janitor->lock);
    if (hold->sequence == 0) { /* else it is somebody else's */
        hold->until_ms = clock_monotonic_ms() + lease_ms;
        if (hold->state == HOLD_STILL) {
            hold->sequence = *sequence = pool_next_sequence(pool);
            status = STATUS_OK;
        } else {
            hold->state = HOLD_ASKED;
            hold_wake(janitor);
        }
    }
    pthread_mutex_unlock(&janitor->lock);
    if (status == STATUS_OK) {
        /* Writes that took a lower number may still be under way. */
        store_thread_leave(thread);
        grace_wait(pool->grace);
        store_thread_refresh(thread);
    }
    return status;
}

enum status pool_extend_hold(struct pool *pool, uint64_t sequence, uint32_t lease_ms) {
    if (pool->header == NULL) {
        return STATUS_INVALID;
    }
    struct janitor *janitor = &pool->janitor;
    struct hold *hold = &janitor->hold;
    enum status status = STATUS_NOT_FOUND;
    pthread_mutex_lock(&janitor->lock);
    if (hold->state == HOLD_STILL && sequence != 0 && hold->sequence == sequence) {
        if (lease_ms > 0) {
            hold->until_ms = clock_monotonic_ms() + lease_ms;
        } else {
            *hold = (struct hold){.state = HOLD_NONE};
            hold_wake(janitor);
        }
        status = STATUS_OK;
    }
    pthread_mutex_unlock(&janitor->lock);
    return status;
}
