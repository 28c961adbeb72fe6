#include "store/room.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/pool_private.h"

enum {
    ROOM_ROUNDS_NEW = 100,  /* evict = no: the most passes that a new key waits for */
    ROOM_ROUNDS_MAX = 1000, /* the most passes that any wait takes */
    ROOM_CLAIM_MS = 1000,
};

void room_init(struct room *room) {
    pthread_condattr_t monotonic;
    pthread_mutex_init(&room->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&room->wake, &monotonic);
    pthread_cond_init(&room->done, NULL);
    pthread_condattr_destroy(&monotonic);
}

void room_finish(struct room *room) {
    pthread_cond_destroy(&room->wake);
    pthread_cond_destroy(&room->done);
    pthread_mutex_destroy(&room->lock);
}

void room_wake(struct room *room) {
    if (!atomic_exchange(&room->wanted, true)) {
        pthread_mutex_lock(&room->lock);
        pthread_cond_signal(&room->wake);
        pthread_mutex_unlock(&room->lock);
    }
}

bool room_is_stopping(struct room *room) {
    pthread_mutex_lock(&room->lock);
    bool stop = room->stop;
    pthread_mutex_unlock(&room->lock);
    return stop;
}

void room_wake_parked(struct room *room) {
    if (!atomic_exchange(&room->parked, false)) {
        return;
    }
    atomic_fetch_add(&room->turn, 1);
    pthread_mutex_lock(&room->lock);
    if (room->notify != NULL) {
        room->notify(room->notify_context);
    }
    pthread_mutex_unlock(&room->lock);
}

bool room_is_claimed(const struct room *room, const struct store_thread *thread) {
    /* relaxed: a thread that does not see the claim takes the segment, and the other thread claims
     * the next one */
    uint64_t claim = atomic_load_explicit(&room->claim, memory_order_relaxed);
    return claim != 0 && !room_claim_is_of(claim, thread) &&
           clock_monotonic_ms() < room_claim_end_ms(claim);
}

/* Called when other requests took the room that the thread's request had waited for. Claims the
 * segment that is freed next, unless another thread has claimed it. */
static void room_make_claim(struct room *room, const struct store_thread *thread) {
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t claim = atomic_load(&room->claim);
    if (claim == 0 || now_ms >= room_claim_end_ms(claim)) {
        atomic_compare_exchange_strong(&room->claim, &claim,
                                       room_claim(now_ms + ROOM_CLAIM_MS, thread));
    }
}

static enum status room_refuse(const struct pool *pool) {
    return pool_is_read_only(pool) ? STATUS_READ_ONLY : STATUS_NO_MEMORY;
}

static enum status room_park(struct pool *pool, struct store_thread *thread) {
    struct room *room = &pool->room;
    thread->room_turn = atomic_load(&room->turn);
    atomic_store(&room->asked, true);
    atomic_store(&room->parked, true);
    if (thread->room_policy == STORE_PARKS_AGAIN) {
        room_make_claim(room, thread);
    }
    room_wake(room);
    return STATUS_NEEDS_ROOM;
}

/* Waits until a pass that has not begun yet has ended, or the janitor stops. Under the lock. */
static void room_await_pass(struct room *room) {
    uint64_t awaited = room->begun + 1;
    while (room->ended < awaited && !room->stop) {
        pthread_cond_wait(&room->done, &room->lock);
    }
}

static enum status room_await(struct pool *pool, struct store_thread *thread,
                              enum segment_purpose purpose) {
    struct room *room = &pool->room;
    bool may_refuse = purpose == SEGMENT_FOR_NEW && !pool->options.evict;
    int rounds_max = may_refuse ? ROOM_ROUNDS_NEW : ROOM_ROUNDS_MAX;
    store_assert_may_wait();
    store_thread_leave(thread); /* the janitor waits for every thread to be quiescent */
    pthread_mutex_lock(&room->lock);
    bool available = segments_available(&pool->segments, purpose);
    for (int rounds = 0; !available && rounds < rounds_max; rounds++) {
        atomic_store(&room->asked, true);
        atomic_store(&room->wanted, true);
        pthread_cond_signal(&room->wake);
        room_await_pass(room);
        available = segments_available(&pool->segments, purpose);
        if (room->stop || (!available && room_is_exhausted(room, &pool->segments))) {
            break;
        }
    }
    pthread_mutex_unlock(&room->lock);
    store_thread_refresh(thread);
    return available ? STATUS_OK : room_refuse(pool);
}

enum status room_ask(struct pool *pool, struct store_thread *thread, enum segment_purpose purpose) {
    struct room *room = &pool->room;
    uint64_t given_up = atomic_load(&room->turn) + 1;
    if (thread->room_policy == STORE_REFUSES) {
        atomic_store(&room->given_up, given_up);
    }
    /* Another thread has claimed the free segment. The claim ends soon, whatever the janitor found.
     */
    bool claimed = segments_available(&pool->segments, purpose) && room_is_claimed(room, thread);
    if (claimed && thread->room_policy != STORE_REFUSES && thread->room_policy != STORE_WAITS) {
        return room_park(pool, thread);
    }
    if (room_is_exhausted(room, &pool->segments)) {
        return room_refuse(pool);
    }
    if (atomic_load(&room->given_up) == given_up) {
        /* Asks for a pass even if no connection is parked any more: the pass ends the turn. */
        atomic_store(&room->asked, true);
        atomic_store(&room->parked, true);
        room_wake(room);
        return room_refuse(pool);
    }
    return thread->room_policy == STORE_WAITS ? room_await(pool, thread, purpose)
                                              : room_park(pool, thread);
}

void room_note_full(struct pool *pool) {
    struct room *room = &pool->room;
    atomic_store_explicit(&room->refused_ms, clock_monotonic_ms(), memory_order_relaxed);
    if (!atomic_load_explicit(&room->full, memory_order_relaxed) &&
        !atomic_exchange(&room->full, true)) {
        log_error("pool %s is full: new keys are refused (updates of existing items go on). "
                  "Raise its memory, or shorten how long items live",
                  pool->options.name);
    }
}

bool pool_should_retry(const struct pool *pool, uint64_t room_turn) {
    return atomic_load(&pool->room.turn) != room_turn;
}

void pool_set_room_notify(struct pool *pool, void (*notify)(void *context), void *context) {
    struct room *room = &pool->room;
    pthread_mutex_lock(&room->lock);
    room->notify_context = context;
    room->notify = notify;
    pthread_mutex_unlock(&room->lock);
}
