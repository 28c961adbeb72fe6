#include "store/janitor.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/compaction.h"
#include "store/eviction.h"
#include "store/header_notes.h"
#include "store/memory_limit.h"

#include <assert.h>
#include <errno.h>

enum {
    JANITOR_TICK_MS = 100,
    JANITOR_SWEEP_NS = 4000000,  /* of each tick, while there is no hurry, */
    JANITOR_HURRY_NS = 20000000, /* and while segments are few */
    JANITOR_LOOK = 8192, /* segments that a pass looks at, in turn, while there is no hurry */
    JANITOR_QUIET_MS = 1000,
    JANITOR_RATE_MS = 60000,
    JANITOR_TOMBSTONE_SHARE = 32, /* 1/32 of the pool in tombstones is too much */
    JANITOR_BACKOFF_AFTER = 2,    /* pools' worth moved without gaining a segment */
    JANITOR_GAIN_CACHE = 50, /* percent of a segment that compaction must gain before evicting */
};

/* How urgently segments are needed: the more urgent, the smaller the gain for which a segment is
 * compacted. */
enum janitor_urgency {
    JANITOR_AHEAD,   /* nobody waits */
    JANITOR_FOR_NEW, /* a new key, which may be refused */
    JANITOR_FOR_KEPT /* an update or a removal of an existing item */
};

/* Percent of a segment, evict = no. */
static const unsigned janitor_gains[] = {
    [JANITOR_AHEAD] = 25, [JANITOR_FOR_NEW] = 5, [JANITOR_FOR_KEPT] = 0};

/* Frees what needs no moving: segments that have fallen due as a whole, and those without a live
 * record; of `looks` segments, in turn. */
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
    uint64_t flushed = pool_flush_sequence(pool);
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
    if (pool_flush_sequence(pool) == janitor->flush_begun) {
        atomic_store(&pool->view.index->flushed_bytes, 0);
    }
    pthread_mutex_unlock(&pool->flush_lock);
}

/* Removes expired and flushed items from segments that others keep alive: looks at `looks`
 * segments, in turn, and sweeps for so long. Returns whether no segment has anything left to sweep.
 */
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

/* Gives up the open segment with the most to gain, if that is more than so many bytes. */
static bool janitor_seal_one(struct pool *pool, uint32_t gain_bytes) {
    int64_t best = SEGMENT_NONE;
    uint32_t header_bytes = (uint32_t)sizeof(struct layout_segment_header);
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        struct layout_segment *info = &pool->view.segments[segment];
        uint32_t fill = atomic_load(&info->fill);
        uint32_t kept = header_bytes;
        if (!pool->options.evict) {
            kept += segments_needed_bytes(&pool->segments, segment);
        }
        if (atomic_load(&info->state) == LAYOUT_SEGMENT_OPEN && fill > kept &&
            fill - kept > gain_bytes) {
            best = segment;
            gain_bytes = fill - kept;
        }
    }
    if (best == SEGMENT_NONE) {
        return false;
    }
    segments_seal(&pool->segments, (uint32_t)best);
    return true;
}

/* Whether compaction moved so much without gaining a segment that it should wait until more records
 * are dead: large items may be such that they cannot be packed any better. */
static bool janitor_backs_off(struct pool *pool) {
    struct janitor *janitor = &pool->janitor;
    uint64_t capacity = segment_capacity(&pool->segments);
    if (janitor->moved_bytes <=
        JANITOR_BACKOFF_AFTER * capacity * segments_in_force(&pool->segments)) {
        return false;
    }
    uint64_t gain = compaction_gain_bytes(pool);
    if (janitor->backoff_gain == 0) {
        janitor->backoff_gain = gain + 1;
    }
    if (gain < janitor->backoff_gain + capacity / 4) {
        return true;
    }
    janitor->backoff_gain = 0;
    janitor->moved_bytes = 0;
    janitor->balance = 0;
    return false;
}

static unsigned janitor_reclaim_by_eviction(struct pool *pool, enum janitor_urgency urgency,
                                            uint32_t now_s) {
    unsigned freed = compaction_run(pool, JANITOR_GAIN_CACHE, now_s);
    freed = freed > 0 ? freed : eviction_run(pool, now_s);
    if (freed == 0 && urgency != JANITOR_AHEAD && janitor_seal_one(pool, 0)) {
        freed = eviction_run(pool, now_s);
    }
    /* Tombstones of what was evicted: they can go once the oldest segment has, which is open for
     * ever where few items are of its class. */
    uint64_t tombstones = atomic_load(&pool->view.index->tombstone_bytes);
    if (tombstones > segment_capacity(&pool->segments) &&
        tombstones > (uint64_t)segment_capacity(&pool->segments) * pool->view.segment_count /
                         JANITOR_TOMBSTONE_SHARE) {
        freed += compaction_run_oldest(pool, now_s);
    }
    return freed;
}

static unsigned janitor_reclaim_by_compaction(struct pool *pool, enum janitor_urgency urgency,
                                              uint32_t now_s) {
    if (janitor_backs_off(pool)) {
        return 0;
    }
    unsigned least_gain = janitor_gains[urgency];
    if (urgency != JANITOR_AHEAD) {
        uint32_t least_bytes = segment_capacity(&pool->segments) / 100 * least_gain;
        uint32_t sealed_bytes = compaction_best_gain_bytes(pool);
        janitor_seal_one(pool, sealed_bytes > least_bytes ? sealed_bytes : least_bytes);
    }
    unsigned freed = compaction_run(pool, least_gain, now_s);
    uint64_t tombstones = atomic_load(&pool->view.index->tombstone_bytes);
    if (tombstones > segment_capacity(&pool->segments) &&
        (freed == 0 ||
         tombstones > atomic_load(&pool->live_limit_bytes) / JANITOR_TOMBSTONE_SHARE)) {
        freed += compaction_run_oldest(pool, now_s);
    }
    return freed;
}

/* Frees segments by moving or evicting records. Returns how many. */
static unsigned janitor_reclaim(struct pool *pool, enum janitor_urgency urgency, uint32_t now_s) {
    return pool->options.evict ? janitor_reclaim_by_eviction(pool, urgency, now_s)
                               : janitor_reclaim_by_compaction(pool, urgency, now_s);
}

/* Whether another pass cannot free more. */
static bool janitor_can_free_no_more(struct pool *pool, unsigned freed) {
    if (pool->options.evict || freed == 0) {
        return freed == 0;
    }
    uint32_t capacity = segment_capacity(&pool->segments);
    bool tombstones = atomic_load(&pool->view.index->tombstone_bytes) > capacity;
    return janitor_backs_off(pool) || (compaction_gain_bytes(pool) < capacity && !tombstones);
}

/* Notes whether waiting for room can help, after a pass that freed so many segments. `tried`: the
 * pass did all that it could. */
static void janitor_note_use(struct pool *pool, const bool waited_for[SEGMENT_PURPOSES], bool tried,
                             unsigned freed) {
    struct janitor *janitor = &pool->janitor;
    struct room *room = &pool->room;
    for (int purpose = 0; purpose < SEGMENT_PURPOSES; purpose++) {
        bool available = segments_available(&pool->segments, (unsigned)purpose);
        if (available && waited_for[purpose]) {
            janitor->moved_bytes = 0; /* it was not for nothing */
            janitor->backoff_gain = 0;
        }
        if (available || waited_for[purpose]) {
            atomic_store(&room->of_no_use[purpose],
                         !available && tried && janitor_can_free_no_more(pool, freed));
        }
    }
    /* The pass may have missed records that became dead during it. A record that becomes dead after
     * this load clears the flags that were stored above. */
    if (atomic_load(&room->has_new_dead)) {
        for (int purpose = 0; purpose < SEGMENT_PURPOSES; purpose++) {
            atomic_store(&room->of_no_use[purpose], false);
        }
    }
}

static void janitor_note_room(struct pool *pool) {
    struct room *room = &pool->room;
    /* Not at once: in a pool that stays about full, the log would say nothing else. */
    bool quiet = clock_monotonic_ms() - atomic_load(&room->refused_ms) >= JANITOR_QUIET_MS;
    if (atomic_load(&room->full) && quiet && segments_available(&pool->segments, SEGMENT_FOR_NEW) &&
        pool_needed_bytes(pool) < atomic_load(&pool->live_limit_bytes) / 100 * 99) {
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

/* Tells from how the pool grew lately when it will be full. */
static void janitor_note_rate(struct pool *pool) {
    struct janitor *janitor = &pool->janitor;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t bytes = pool_needed_bytes(pool);
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

/* One pass; `waited_for`: by purpose, whether anybody waits. */
static void janitor_pass(struct pool *pool, const bool waited_for[SEGMENT_PURPOSES]) {
    struct janitor *janitor = &pool->janitor;
    expiry_clock_observe(&pool->expiry_clock);
    uint32_t now_s = expiry_clock_free_s(&pool->expiry_clock);
    uint32_t opened_before = atomic_load(&pool->segments.opened_for_janitor);
    atomic_store(&pool->room.has_new_dead, false);
    if (atomic_load(&pool->read_only)) {
        /* Freeing needs a sync, which fails: moving or evicting records would be useless. */
        janitor_note_use(pool, waited_for, true, 0);
        return;
    }
    pool_flush_due(pool, now_s);
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
        bool for_kept =
            too_large || waited_for[SEGMENT_FOR_UPDATE] || waited_for[SEGMENT_FOR_REMOVAL];
        freed += janitor_reclaim(pool,
                                 for_kept                      ? JANITOR_FOR_KEPT
                                 : waited_for[SEGMENT_FOR_NEW] ? JANITOR_FOR_NEW
                                                               : JANITOR_AHEAD,
                                 now_s);
    }
    if (!more) {
        swept = janitor_sweep(pool, tried ? JANITOR_HURRY_NS : JANITOR_SWEEP_NS, 2 * looks, now_s);
    }
    janitor_note_limit(pool, too_large, freed);
    janitor->balance +=
        (int64_t)freed - (atomic_load(&pool->segments.opened_for_janitor) - opened_before);
    if (janitor->balance > 0) {
        janitor->balance = 0;
        janitor->moved_bytes = 0;
        janitor->backoff_gain = 0;
    }
    header_notes_update(pool);
    index_look_for_room(&pool->index, &pool->options);
    if (more) {
        atomic_store(&pool->room.wanted, true);
    }
    janitor_note_use(pool, waited_for, tried && swept, freed);
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
    if (pool->header == NULL) {
        heartbeat_begin(&pool->heartbeat, pool->view.index);
    }
    pthread_mutex_lock(&room->lock);
    for (;;) {
        janitor_wait_for_work(room);
        heartbeat_beat(&pool->heartbeat);
        if (room->stop) {
            break;
        }
        bool waited_for[SEGMENT_PURPOSES];
        bool hold_asked = pool->hold.state == HOLD_ASKED;
        room->begun++;
        atomic_store(&room->wanted, false);
        for (int purpose = 0; purpose < SEGMENT_PURPOSES; purpose++) {
            waited_for[purpose] = atomic_exchange(&room->asked[purpose], false);
        }
        pthread_mutex_unlock(&room->lock);
        janitor_pass(pool, waited_for);
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
