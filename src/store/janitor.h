/* The janitor: the pool's own thread, which frees segments ahead of need.
 *
 *     what falls due    -> the segment is freed, whole
 *     what is dead      -> compaction: live records move, the segment is freed     (compaction.h)
 *     what is hardly read (evict = yes) -> eviction: the rest moves, several segments become one
 *
 * Clients take free segments; when none may be taken, janitor_make_room waits for the janitor.
 */
#ifndef STAYD_STORE_JANITOR_H
#define STAYD_STORE_JANITOR_H

#include "base/status.h"
#include "store/grace.h"
#include "store/hold.h"
#include "store/segment.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct pool;

struct janitor {
    /* private */
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t wake;                  /* something to do; under lock */
    pthread_cond_t done;                  /* a pass has ended; under lock */
    bool stop;                            /* under lock */
    uint64_t begun;                       /* passes; under lock */
    uint64_t ended;                       /* under lock */
    unsigned waiting[SEGMENT_PURPOSES];   /* threads, by what they wait for; under lock */
    struct hold hold;                     /* under lock */
    _Atomic uint64_t flushes;             /* so far */
    _Atomic uint64_t flushes_swept;       /* of these: what they flushed is not counted live */
    _Atomic bool died;                    /* something has died since the last pass began */
    _Atomic bool wanted;                  /* somebody has asked since the last pass began */
    _Atomic bool full;                    /* new keys are being refused, or were a second ago */
    _Atomic uint64_t refused_ms;          /* monotonic: when one was refused last */
    _Atomic bool stuck[SEGMENT_PURPOSES]; /* no use to wait: nothing has died since a pass failed */
    _Atomic uint64_t full_in_s; /* at the rate of the last minute; UINT64_MAX: not in sight */

    /* only the janitor's thread touches these */
    uint64_t rate_since_ms; /* monotonic: when the measured minute began */
    uint64_t rate_from_bytes;
    double rate;               /* bytes a second that were added in the last one, less what went */
    uint64_t rate_limit_bytes; /* the live limit that full_in_s is about */
    int64_t balance;           /* segments freed less segments taken, since moved_bytes was 0 */
    uint64_t moved_bytes;      /* since it last freed more than it took */
    uint64_t tired_gain;       /* bytes that could be gained when moving had gained nothing; or 0 */
    uint32_t swept;            /* the segment that was swept last */
    unsigned usual_threshold;  /* of eviction, see eviction.c */
    bool pairs_synced;         /* what lies in the segments of this batch is on the disk */
};

/* Starts the thread. False if the system refuses. */
bool janitor_start(struct pool *pool);

/* Ends it, after the pass that it is in. Accepts one that never started. */
void janitor_stop(struct pool *pool);

/* Waits until a segment can be opened for this purpose: OK, NO_MEMORY when the pool is full and
 * may not forget anything, or READ_ONLY. The thread is quiescent meanwhile: its items are no longer
 * valid. */
enum status janitor_make_room(struct pool *pool, struct store_thread *thread,
                              enum segment_purpose purpose);

/* Waits for a whole pass from now on, if a flush has left something to be swept: false if not. The
 * thread is quiescent meanwhile. */
bool janitor_await_flush(struct pool *pool, struct store_thread *thread);

/* Tells the janitor that there is something to do. Never blocks long; any thread. */
void janitor_wake(struct pool *pool);

/* Wakes the janitor if free segments are getting few. Called after each write. */
void janitor_check(struct pool *pool);

/* New keys are refused because the pool is full: said once in the log, until there is room again.
 */
void janitor_note_full(struct pool *pool);

/* Something has died: what was refused for want of memory may now find room. */
static inline void janitor_note_death(struct janitor *janitor) {
    if (!atomic_load_explicit(&janitor->died, memory_order_relaxed)) {
        atomic_store(&janitor->died, true); /* before `stuck` is read: see janitor_note_stuck */
    }
    for (int purpose = 0; purpose < SEGMENT_PURPOSES; purpose++) {
        /* relaxed: a hint; read before it is written, so that the line stays shared */
        if (atomic_load_explicit(&janitor->stuck[purpose], memory_order_relaxed)) {
            atomic_store_explicit(&janitor->stuck[purpose], false, memory_order_relaxed);
        }
    }
}

/* Whether a thread waits for room. Under its lock. */
static inline bool janitor_is_waited_for(const struct janitor *janitor) {
    unsigned waiting = 0;
    for (int purpose = 0; purpose < SEGMENT_PURPOSES; purpose++) {
        waiting += janitor->waiting[purpose];
    }
    return waiting > 0;
}

#endif
