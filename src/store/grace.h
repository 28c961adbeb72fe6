/* Grace periods: how the store knows that no thread can still be reading a segment.
 *
 * A thread that looks items up is *online*: it may hold pointers into segments, from the moment it
 * looked them up until it passes its next quiescent point. Between two batches of requests, and
 * whenever it blocks, it holds none. A segment whose last slot is gone is reused only after a grace
 * period: every thread has been quiescent once since (invariant 4).
 *
 *     thread 0  --read--|----read----|--read--     | = store_thread_refresh
 *     thread 1  --read-----------|-----offline---
 *     janitor        ^ grace_wait     ^ returns: both have passed
 */
#ifndef STAYD_STORE_GRACE_H
#define STAYD_STORE_GRACE_H

#include <stdbool.h>
#include <stdint.h>

struct grace;

/* What becomes of a change that finds no room in a pool. */
enum store_patience {
    STORE_WAITS,       /* the thread waits: it serves nobody else */
    STORE_PARKS,       /* the thread must not wait: STATUS_NEEDS_ROOM */
    STORE_PARKS_AGAIN, /* as STORE_PARKS, and the request was parked before: it gets room first */
    STORE_REFUSES,     /* the request has been parked long enough: STATUS_NO_MEMORY */
};

/* What a thread that calls the store carries along: one for each thread, owned by that thread. */
struct store_thread {
    struct grace *grace;
    unsigned index;     /* 0 up to the number of threads, exclusive */
    uint32_t now_s;     /* unix seconds, as of the last refresh: all requests of a batch share it */
    uint32_t reads;     /* a running number, private to the store */
    uint32_t ttl_class; /* of the item that was changed or found last in a change; likewise */
    enum store_patience patience; /* STORE_WAITS at first; the thread's own to set */
    uint64_t room_turn;           /* after STATUS_NEEDS_ROOM: for pool_has_told */
    uint64_t work_bytes;          /* see store_thread_charge */
};

/* NULL if memory is short. `threads`: how many store_threads there will be, at most. */
struct grace *grace_create(unsigned threads);
void grace_destroy(struct grace *grace);
unsigned grace_threads(const struct grace *grace);

/* Begins offline. Each index may be used by one thread at a time. */
void store_thread_init(struct store_thread *thread, struct grace *grace, unsigned index);

/* What is charged for other work: it takes as long as to copy so many bytes. */
enum {
    STORE_LOOKUP_BYTES = 256,        /* a look-up */
    STORE_OVERVIEW_BYTES = 32 << 10, /* counting something over all threads and segments */
};

/* Charges work that was done for a client, in bytes that were copied, written or searched. Code
 * charges all work whose amount the client chooses; the event loop compares `work_bytes` before and
 * after, and so decides when a connection's turn ends. */
static inline void store_thread_charge(struct store_thread *thread, uint64_t bytes) {
    thread->work_bytes += bytes;
}

/* A quiescent point: the thread holds no pointer into any pool. Goes online; reads the clock.
 * Called before each batch of requests. */
void store_thread_refresh(struct store_thread *thread);

/* The thread is about to block, or to end: it holds no pointer into any pool. */
void store_thread_leave(struct store_thread *thread);

/* Fails in a thread that serves clients and has a batch of requests under way: it must not wait
 * for the disk, for the janitor or for another thread. Called by all in the store that does. */
void store_assert_may_wait(void);

/* Returns once every thread that was online has passed a quiescent point. Blocks for as long as
 * a batch of requests takes; never called by a thread that is online. */
void grace_wait(struct grace *grace);

/* The same without waiting: begins a period, and says later whether every thread that was online
 * then has passed a quiescent point. Any thread. */
uint64_t grace_begin(struct grace *grace);
bool grace_has_passed(struct grace *grace, uint64_t period);

#endif
