#include "store/janitor.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/compaction.h"
#include "store/flush.h"
#include "store/header_notes.h"
#include "store/memory_limit.h"
#include "store/reclaim.h"

#include <errno.h>
#include <sched.h>

enum {
    JANITOR_TICK_MS = 100,
    JANITOR_SWEEP_NS = 4000000,  /* how long a pass sweeps, while there is no hurry, */
    JANITOR_HURRY_NS = 20000000, /* and while segments are few */
    JANITOR_LOOK = 8192,         /* segments that a pass checks, in turn, while there is no hurry */
    JANITOR_QUIET_MS = 1000,
    JANITOR_RATE_MS = 60000,
};

/* Frees the segments from which no record has to be moved: those whose records have all expired,
 * and those without a live record. Checks the next `looks` segments. */
static unsigned janitor_free_dead(struct pool *pool, uint32_t looks, uint32_t now_s) {
    struct janitor *janitor = &pool->janitor;
    uint32_t chosen[COMPACTION_BATCH];
    unsigned count = 0;
    for (uint32_t look = 0; look < looks && count < COMPACTION_BATCH; look++) {
        uint32_t segment = janitor->looked++ % pool->view.segment_count;
        struct layout_segment *info = &pool->view.segments[segment];
        uint32_t state = atomic_load(&info->state);
        bool due = atomic_load(&info->last_expiry_s) <= now_s;
        bool dead = segments_needed_bytes(&pool->segments, segment) == 0;
        bool used = atomic_load(&info->fill) > sizeof(struct layout_segment_header);
        if (state == LAYOUT_SEGMENT_OPEN && due && used) {
            segments_seal(&pool->segments, segment);
            state = LAYOUT_SEGMENT_SEALED;
        }
        if (state == LAYOUT_SEGMENT_SEALED && (due || dead)) {
            chosen[count++] = segment;
        }
    }
    if (count == 0) {
        return 0;
    }
    compaction_begin(pool);
    unsigned emptied = 0;
    for (unsigned i = 0; i < count; i++) {
        if (compaction_empty(pool, chosen[i], 0, now_s)) {
            chosen[emptied++] = chosen[i];
        }
    }
    return compaction_free(pool, chosen, emptied) ? emptied : 0;
}

/* If a flush was performed since the last pass: marks every segment in use to be swept. */
static void janitor_begin_flush(struct pool *pool) {
    uint64_t flushed = item_flush_sequence(&pool->view);
    if (flushed == pool->janitor.flush_begun || flushed == LAYOUT_FLUSHING) {
        return;
    }
    pool->janitor.flush_begun = flushed;
    pool->janitor.clean = 0;
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        atomic_store(&pool->view.segments[segment].first_expiry_s, 0);
    }
}

/* All items that the last flush deleted have been removed: resets their sum, unless another flush
 * came since. */
static void janitor_end_flush(struct pool *pool) {
    struct janitor *janitor = &pool->janitor;
    if (janitor->flush_ended == janitor->flush_begun) {
        return;
    }
    janitor->flush_ended = janitor->flush_begun;
    pthread_mutex_lock(&pool->flush_lock);
    if (item_flush_sequence(&pool->view) == janitor->flush_begun) {
        atomic_store(&pool->view.index->flushed_bytes, 0);
    }
    pthread_mutex_unlock(&pool->flush_lock);
}

/* Removes expired and flushed items from segments that also hold live items. Checks the next
 * `looks` segments, and stops after `most_ns`. Returns true if no segment has anything left to
 * sweep. */
static bool janitor_sweep(struct pool *pool, uint64_t most_ns, uint32_t looks, uint32_t now_s) {
    struct janitor *janitor = &pool->janitor;
    uint64_t began_ns = clock_monotonic_ns();
    for (uint32_t look = 0; janitor->clean < pool->view.segment_count; look++) {
        uint32_t segment = (janitor->swept + 1) % pool->view.segment_count;
        struct layout_segment *info = &pool->view.segments[segment];
        bool due = atomic_load(&info->state) != LAYOUT_SEGMENT_FREE &&
                   atomic_load(&info->first_expiry_s) <= now_s;
        if (look >= looks || (due && clock_monotonic_ns() - began_ns > most_ns)) {
            return false;
        }
        if (due) {
            compaction_sweep(pool, segment, now_s);
            janitor->clean = 0;
        } else {
            janitor->clean++;
        }
        janitor->swept = segment;
    }
    janitor->clean = 0;
    janitor_end_flush(pool);
    return true;
}

/* Notes whether waiting for room can help, after a pass that freed `freed` segments. `tried`: a
 * change waits for room, and the pass did all that it could. */
static void janitor_note_exhausted(struct pool *pool, bool tried, unsigned freed) {
    struct room *room = &pool->room;
    uint32_t free_count = segments_free_count(&pool->segments);
    if (tried || freed > 0) {
        room_note_exhausted(room, free_count, tried && reclaim_is_exhausted(pool, freed));
    }
    /* The pass may have missed records that became dead during it. A record that becomes dead after
     * this load resets what was stored above. */
    if (atomic_load(&room->has_new_dead)) {
        room_note_exhausted(room, free_count, false);
    }
}

static void janitor_note_room(struct pool *pool) {
    struct room *room = &pool->room;
    /* Logs this only after a while: a pool that stays nearly full would fill the log. */
    bool quiet = clock_monotonic_ms() - atomic_load(&room->refused_ms) >= JANITOR_QUIET_MS;
    if (atomic_load(&room->full) && quiet && segments_available(&pool->segments, SEGMENT_FOR_NEW) &&
        segment_table_needed_bytes(&pool->view) < atomic_load(&pool->live_limit_bytes) / 100 * 99) {
        atomic_store(&room->full, false);
        log_info("pool %s has room for new keys again", pool->options.name);
    }
}

/* After the memory limit was lowered: makes freed segments spare, and asks for another pass while
 * the pool is still too large. If nothing more can be freed, the segments kept for new keys become
 * spare too. */
static void janitor_note_limit(struct pool *pool, bool too_large, unsigned freed) {
    memory_limit_follow(pool,
                        freed > 0 || !too_large
                            ? segments_low_water(&pool->segments)
                            : segments_reserved_from(&pool->segments, SEGMENT_FOR_UPDATE) + 1);
    if (freed > 0 && memory_limit_exceeded(pool)) {
        atomic_store(&pool->room.wanted, true);
    }
}

/* When the pool will be full at the rate of the last minute. */
static void janitor_note_full_in(struct pool *pool, uint64_t bytes) {
    struct janitor *janitor = &pool->janitor;
    uint64_t limit = atomic_load(&pool->live_limit_bytes);
    uint64_t full_in_s = UINT64_MAX;
    if (janitor->rate > 0) {
        uint64_t left = limit > bytes ? limit - bytes : 0;
        full_in_s = (uint64_t)((double)left / janitor->rate);
    }
    janitor->rate_limit_bytes = limit;
    atomic_store(&janitor->full_in_s, full_in_s);
}

/* Estimates when the pool will be full from its growth in the last minute. */
static void janitor_note_rate(struct pool *pool) {
    struct janitor *janitor = &pool->janitor;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t bytes = segment_table_needed_bytes(&pool->view);
    uint64_t elapsed_ms = now_ms - janitor->rate_since_ms;
    if (janitor->rate_since_ms != 0 && elapsed_ms < JANITOR_RATE_MS) {
        if (janitor->rate_limit_bytes != atomic_load(&pool->live_limit_bytes)) {
            janitor_note_full_in(pool, bytes);
        }
        return;
    }
    bool grew = janitor->rate_since_ms != 0 && bytes > janitor->rate_from_bytes;
    janitor->rate =
        grew ? (double)(bytes - janitor->rate_from_bytes) * 1000 / (double)elapsed_ms : 0;
    janitor_note_full_in(pool, bytes);
    janitor->rate_since_ms = now_ms;
    janitor->rate_from_bytes = bytes;
}

/* One pass. `stalled`: a change waits for room. */
static void janitor_pass(struct pool *pool, bool stalled) {
    struct janitor *janitor = &pool->janitor;
    expiry_clock_observe(&pool->expiry_clock);
    uint32_t now_s = expiry_clock_free_s(&pool->expiry_clock);
    uint32_t opened_before = segments_opened_for_janitor(&pool->segments);
    uint64_t moved_before = janitor->moved_bytes;
    atomic_store(&pool->room.has_new_dead, false);
    if (pool_is_read_only(pool)) {
        /* Freeing needs a sync, which fails: moving or evicting records would be useless. */
        janitor_note_exhausted(pool, true, 0);
        return;
    }
    flush_run_due(pool, now_s);
    memory_limit_follow(pool, segments_low_water(&pool->segments));
    janitor_begin_flush(pool);
    bool hurry = segments_are_few(&pool->segments) || memory_limit_exceeded(pool);
    uint32_t looks = pool->view.segment_count;
    looks = looks < JANITOR_LOOK || hurry ? looks : JANITOR_LOOK;
    unsigned freed = janitor_free_dead(pool, looks, now_s);
    bool more = freed == COMPACTION_BATCH;
    bool too_large = memory_limit_exceeded(pool);
    bool tried = !more && (segments_are_few(&pool->segments) || too_large);
    bool swept = true;
    if (tried) {
        freed += reclaim_run(pool, stalled || too_large, now_s);
    }
    if (!more) {
        swept = janitor_sweep(pool, tried ? JANITOR_HURRY_NS : JANITOR_SWEEP_NS, 2 * looks, now_s);
    }
    janitor_note_limit(pool, too_large, freed);
    reclaim_note_progress(&janitor->reclaim, freed,
                          segments_opened_for_janitor(&pool->segments) - opened_before,
                          janitor->moved_bytes - moved_before);
    header_notes_update(pool);
    index_look_for_room(&pool->index, &pool->options);
    if (more) {
        atomic_store(&pool->room.wanted, true);
    }
    janitor_note_exhausted(pool, stalled && tried && swept, freed);
    janitor_note_room(pool);
    janitor_note_rate(pool);
}

static void janitor_wait_for_work(struct room *room) {
    struct timespec until = clock_deadline(JANITOR_TICK_MS * UINT64_C(1000000));
    while (!room->stop && !atomic_load(&room->wanted)) {
        if (pthread_cond_timedwait(&room->wake, &room->lock, &until) == ETIMEDOUT) {
            return;
        }
    }
}

static void *janitor_main(void *argument) {
    struct pool *pool = argument;
    struct room *room = &pool->room;
    heartbeat_begin(&pool->heartbeat, pool->view.index);
    pthread_mutex_lock(&room->lock);
    for (;;) {
        janitor_wait_for_work(room);
        heartbeat_beat(&pool->heartbeat);
        if (room->stop) {
            break;
        }
        bool hold_asked = pool->hold.state == HOLD_ASKED;
        room->begun++;
        atomic_store(&room->wanted, false);
        bool stalled = atomic_exchange(&room->asked, false);
        pthread_mutex_unlock(&room->lock);
        janitor_pass(pool, stalled);
        if (hold_asked) {
            hold_prepare(pool);
        }
        room_wake_parked(room);
        pthread_mutex_lock(&room->lock);
        room->ended = room->begun;
        pthread_cond_broadcast(&room->done);
        if (hold_asked) {
            hold_keep(pool);
        }
    }
    pthread_mutex_unlock(&room->lock);
    return NULL;
}

bool janitor_start(struct pool *pool) {
    struct janitor *janitor = &pool->janitor;
    atomic_store(&janitor->full_in_s, UINT64_MAX);
    janitor->running = pthread_create(&janitor->thread, NULL, janitor_main, pool) == 0;
    while (janitor->running && !heartbeat_has_begun(&pool->heartbeat)) {
        sched_yield(); /* no process may map the pool before it has a keeper */
    }
    return janitor->running;
}

void janitor_stop(struct pool *pool) {
    struct janitor *janitor = &pool->janitor;
    struct room *room = &pool->room;
    if (!janitor->running) {
        return;
    }
    pthread_mutex_lock(&room->lock);
    room->stop = true;
    pthread_cond_signal(&room->wake);
    pthread_cond_broadcast(&room->done);
    pthread_mutex_unlock(&room->lock);
    pthread_join(janitor->thread, NULL);
    janitor->running = false;
}
