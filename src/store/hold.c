#include "store/hold.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/compaction.h"
#include "store/pool_private.h"

enum {
    HOLD_TICK_MS = 100,
    HOLD_ASKER_MS = 1000,         /* after this time another client may take the hold over */
    HOLD_WRITE_WAIT_MAX_MS = 250, /* a hold ends when writes have waited for room for this long */
    HOLD_FREE_SHARE = 4, /* before a hold, segments are freed until 1/4 of all segments is free, */
    HOLD_GAIN_SHARE = 4, /* as long as emptying a segment frees at least 1/4 of its bytes */
};

/* Notes since when a write waits for room, and returns whether that is too long. */
static bool hold_delays_writes(struct pool *pool, uint64_t now_ms) {
    struct hold *hold = &pool->hold;
    if (!room_is_asked_for(&pool->room)) {
        hold->write_waits_since_ms = 0;
    } else if (hold->write_waits_since_ms == 0) {
        hold->write_waits_since_ms = now_ms;
    }
    return hold->write_waits_since_ms != 0 &&
           now_ms - hold->write_waits_since_ms >= HOLD_WRITE_WAIT_MAX_MS;
}

static bool hold_is_over(struct pool *pool) {
    struct hold *hold = &pool->hold;
    uint64_t now_ms = clock_monotonic_ms();
    if (pool->room.stop || hold->state != HOLD_STILL || now_ms >= hold->until_ms) {
        return true;
    }
    if (hold_delays_writes(pool, now_ms)) {
        log_warning("pool %s: a backup has to begin again, because writes have waited too "
                    "long for room",
                    pool->options.name);
        return true;
    }
    return false;
}

static void hold_wait(struct room *room) {
    struct timespec until = clock_deadline(HOLD_TICK_MS * UINT64_C(1000000));
    pthread_cond_timedwait(&room->wake, &room->lock, &until);
}

void hold_prepare(struct pool *pool) {
    uint32_t wanted = pool->view.segment_count / HOLD_FREE_SHARE;
    uint32_t rounds = 0;
    uint32_t least_gain = segment_capacity(&pool->view) / HOLD_GAIN_SHARE;
    while (segments_free_count(&pool->segments) < wanted && rounds++ < wanted &&
           !room_is_stopping(&pool->room) &&
           compaction_run(pool, least_gain, false, expiry_clock_free_s(&pool->expiry_clock)) > 0) {
    }
}

/* Writes with a lower sequence than the hold's may still be under way. After the grace period none
 * is. */
static void hold_await_writes(struct pool *pool) {
    uint64_t sequence = pool->hold.sequence;
    pthread_mutex_unlock(&pool->room.lock);
    grace_wait(pool->grace);
    pthread_mutex_lock(&pool->room.lock);
    if (pool->hold.sequence == sequence) {
        pool->hold.writes_ended = true;
    }
}

void hold_keep(struct pool *pool) {
    struct hold *hold = &pool->hold;
    hold->state = HOLD_STILL;
    while (!hold_is_over(pool)) {
        if (hold->sequence != 0 && !hold->writes_ended) {
            hold_await_writes(pool);
        } else {
            hold_wait(&pool->room);
        }
    }
    /* Otherwise the client has ended the hold, and another hold may have been asked for. */
    if (hold->state == HOLD_STILL) {
        *hold = (struct hold){.state = HOLD_NONE};
    }
}

/* Under the room's lock. */
static void hold_wake(struct room *room) {
    atomic_store(&room->wanted, true);
    pthread_cond_signal(&room->wake);
}

void pool_end_hold_asker(struct pool *pool, uint64_t asker) {
    struct hold *hold = &pool->hold;
    pthread_mutex_lock(&pool->room.lock);
    if (hold->asker == asker && !hold->taken) {
        hold->asker = 0;
        hold->asked_ms = 0;
    }
    pthread_mutex_unlock(&pool->room.lock);
}

enum status pool_hold(struct pool *pool, uint64_t asker, uint32_t lease_ms, uint64_t *sequence) {
    if (pool->header == NULL) {
        return STATUS_INVALID;
    }
    struct hold *hold = &pool->hold;
    enum status status = STATUS_BUSY;
    uint64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&pool->room.lock);
    if (hold->taken) {
        goto out; /* another client has the hold */
    }
    if (hold->state != HOLD_STILL) {
        hold->state = HOLD_ASKED;
        hold->until_ms = now_ms + lease_ms;
        hold_wake(&pool->room);
    } else if (hold->asker == asker && hold->writes_ended) {
        hold->until_ms = now_ms + lease_ms;
        hold->taken = true;
        *sequence = hold->sequence;
        status = STATUS_OK;
    } else if (hold->asker != asker && now_ms >= hold->asked_ms + HOLD_ASKER_MS) {
        hold->until_ms = now_ms + lease_ms;
        hold->asker = asker;
        hold->asked_ms = now_ms;
        hold->sequence = pool_next_sequence(pool);
        hold->writes_ended = false;
        hold_wake(&pool->room);
    }
out:
    pthread_mutex_unlock(&pool->room.lock);
    return status;
}

enum status pool_extend_hold(struct pool *pool, uint64_t sequence, uint32_t lease_ms) {
    if (pool->header == NULL) {
        return STATUS_INVALID;
    }
    struct hold *hold = &pool->hold;
    enum status status = STATUS_END;
    pthread_mutex_lock(&pool->room.lock);
    if (hold->state == HOLD_STILL && hold->taken && hold->sequence == sequence) {
        if (lease_ms > 0) {
            hold->until_ms = clock_monotonic_ms() + lease_ms;
        } else {
            *hold = (struct hold){.state = HOLD_NONE};
            atomic_store(&pool->backup_s, clock_unix_s());
            hold_wake(&pool->room);
        }
        status = STATUS_OK;
    }
    pthread_mutex_unlock(&pool->room.lock);
    return status;
}
