/* Room: how changes wait for a free segment, and when waiting cannot help.
 *
 *     change: no room --room_ask--> asked --janitor's pass--> freed, or exhausted
 *        ^                                                       |
 *        '------- the request is run again <-- room_wake_parked -'
 *
 * A thread that serves clients (store_thread.room_policy) never waits here: its change does nothing
 * and ends with STATUS_NEEDS_ROOM, and the connection is parked. The pool keeps no list of parked
 * requests, so a parked connection may end at any time: each pass of the janitor clears the `asked`
 * flag and wakes all parked connections; each runs its request again, and a request that still
 * finds no room asks again.
 *
 *     no wake-up is lost    a thread reads the turn before it asks for room, and the pool raises
 *                           the turn before it wakes connections; a connection stays parked only
 *                           while the pool still has the turn that was read
 *     no starvation         a request that finds no room a second time claims the next freed
 *                           segment for its thread; the claim ends with its use, or after a second
 *
 * Any thread may call, unless said otherwise.
 */
#ifndef STAYD_STORE_ROOM_H
#define STAYD_STORE_ROOM_H

#include "base/status.h"
#include "store/grace.h"
#include "store/segment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pool;

struct room {
    /* private to the store */
    pthread_mutex_t lock;          /* held for some hundred nanoseconds, or while `notify` runs */
    pthread_cond_t wake;           /* wakes the janitor; under lock */
    pthread_cond_t done;           /* a pass has ended; under lock */
    bool stop;                     /* under lock */
    uint64_t begun;                /* passes; under lock */
    uint64_t ended;                /* under lock */
    void (*notify)(void *context); /* under lock, also while it runs */
    void *notify_context;          /* under lock */
    _Atomic bool wanted;           /* a pass was asked for since the last pass began */
    _Atomic bool asked;            /* room was asked for since the last pass began */
    _Atomic bool parked;           /* connections are parked */
    _Atomic uint64_t turn;         /* raised when parked connections are woken */
    _Atomic uint64_t given_up;  /* 1 + the turn in which a request was refused because it had waited
                                   too long: until the next turn, other requests that find no free
                                   segment are refused too; 0: none */
    _Atomic uint64_t claim;     /* see room_claim; 0: none */
    _Atomic bool has_new_dead;  /* a record became dead since the last pass began */
    _Atomic uint32_t exhausted; /* 1 + the number of free segments after a pass that could gain
                                   nothing (reclaim.h); 0: waiting may help, or a record became dead
                                   since. See room_is_exhausted */
    _Atomic bool full;          /* new keys are refused, or were a second ago */
    _Atomic uint64_t refused_ms; /* monotonic: when a new key was last refused */
};

void room_init(struct room *room);
void room_finish(struct room *room);

/* A change has found no free segment for this purpose. NEEDS_ROOM: run the request again when
 * pool_should_retry is true; NO_MEMORY: the pool is full; READ_ONLY. A thread with STORE_WAITS
 * (only tests and fuzzers have such threads) waits here and passes a quiescent point; then OK: try
 * again. */
enum status room_ask(struct pool *pool, struct store_thread *thread, enum segment_purpose purpose);

/* The word of a claim: when the claim ends, and which thread has it.
 *
 *     | end, monotonic ms | thread + 1 | */
enum { ROOM_CLAIM_THREAD_BITS = 16 };

static inline uint64_t room_claim(uint64_t end_ms, const struct store_thread *thread) {
    return end_ms << ROOM_CLAIM_THREAD_BITS | (thread->index + 1U);
}

static inline uint64_t room_claim_end_ms(uint64_t claim) {
    return claim >> ROOM_CLAIM_THREAD_BITS;
}

static inline bool room_claim_is_of(uint64_t claim, const struct store_thread *thread) {
    return (claim & ((1U << ROOM_CLAIM_THREAD_BITS) - 1)) == thread->index + 1U;
}

/* Whether waiting for room cannot help. A segment that was opened since the last pass changes what
 * compaction can gain, so the answer holds only while as many segments are free as after the pass.
 */
static inline bool room_is_exhausted(const struct room *room, const struct segments *segments) {
    return atomic_load(&room->exhausted) == segments_free_count(segments) + 1;
}

/* Called by the janitor at the end of a pass. `free_count`: counted before the janitor judged, so
 * that the judgement does not hold if a segment was opened since. */
static inline void room_note_exhausted(struct room *room, uint32_t free_count, bool exhausted) {
    atomic_store(&room->exhausted, exhausted ? free_count + 1 : 0);
}

/* Whether the free segments are claimed by another thread, whose request has waited longer: then
 * this thread must not open one. */
bool room_is_claimed(const struct room *room, const struct store_thread *thread);

/* Ends the thread's claim, if it has one: its change has found room. */
static inline void room_end_claim(struct room *room, const struct store_thread *thread) {
    /* relaxed: the exchange below compares again; usually there is no claim */
    uint64_t claim = atomic_load_explicit(&room->claim, memory_order_relaxed);
    if (claim != 0 && room_claim_is_of(claim, thread)) {
        atomic_compare_exchange_strong(&room->claim, &claim, 0);
    }
}

/* Asks for a pass of the janitor. */
void room_wake(struct room *room);

/* Wakes all parked connections, so that they try again. Called by the janitor's thread. */
void room_wake_parked(struct room *room);

/* Whether the janitor is to end. The caller does not hold the lock. */
bool room_is_stopping(struct room *room);

/* Logs that new keys are refused because the pool is full: once, until there is room again.
 */
void room_note_full(struct pool *pool);

/* A record became dead: a change that was refused for lack of memory may now find room. */
static inline void room_note_dead_record(struct room *room) {
    if (!atomic_load_explicit(&room->has_new_dead, memory_order_relaxed)) {
        atomic_store(&room->has_new_dead,
                     true); /* before `exhausted` is read: see janitor_note_exhausted */
    }
    /* relaxed: a hint; read before it is written, so that the line stays shared */
    if (atomic_load_explicit(&room->exhausted, memory_order_relaxed) != 0) {
        atomic_store_explicit(&room->exhausted, 0, memory_order_relaxed);
    }
}

/* Whether room has been asked for since the last pass began. */
static inline bool room_is_asked_for(const struct room *room) {
    return atomic_load(&room->asked);
}

#endif
