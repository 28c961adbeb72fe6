/* Grace periods: how the store knows that no thread can still be reading a segment.
 *
 * A thread that looks items up is *online*: it may hold pointers into segments, from the moment it
 * looked them up until it passes its next quiescent point. It holds no pointer between two batches
 * of requests, or while it blocks. When no slot points into a segment any more, the segment is
 * reused only after a grace period, in which every thread has been quiescent once (invariant 4).
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

/* What a change does when the pool has no room for it. */
enum store_room_policy {
    STORE_WAITS,       /* waits. Only tests and fuzzers use this */
    STORE_PARKS,       /* returns STATUS_NEEDS_ROOM: the thread must not wait */
    STORE_PARKS_AGAIN, /* as STORE_PARKS; the request was parked before, and gets room first */
    STORE_REFUSES,     /* returns STATUS_NO_MEMORY: the request was parked for too long */
};

/* The state of a thread that calls the store. Each thread has its own. */
struct store_thread {
    struct grace *grace;
    unsigned index;     /* from 0 to the number of threads - 1 */
    uint32_t now_s;     /* unix seconds, as of the last refresh: all requests of a batch share it */
    uint32_t reads;     /* private to the store: a running number */
    uint32_t ttl_class; /* private to the store: of the item that the last change wrote or found */
    enum store_room_policy room_policy; /* STORE_WAITS at first; set by the thread */
    uint64_t room_turn;                 /* after STATUS_NEEDS_ROOM: for pool_should_retry */
    uint64_t work_bytes;                /* see store_thread_charge */
    struct proposal
        *proposal; /* of the connection whose requests are run (replication.h), or NULL */
};

/* NULL if memory is short. `threads`: how many store_threads there will be, at most. */
struct grace *grace_create(unsigned threads);
void grace_destroy(struct grace *grace);
unsigned grace_threads(const struct grace *grace);

/* Begins offline. Each index may be used by one thread at a time. */
void store_thread_init(struct store_thread *thread, struct grace *grace, unsigned index);

/* The charge for work other than copying, as the number of bytes that can be copied in the same
 * time. */
enum {
    STORE_LOOKUP_BYTES = 256,        /* a look-up */
    STORE_OVERVIEW_BYTES = 32 << 10, /* a sum over all threads and segments */
    STORE_FILE_FACTOR = 4, /* the charge for a byte written into a file: after each sync, the first
                              write into each page is a page fault */
};

/* Charges work that was done for a client, in bytes that were copied, written or searched. All work
 * whose amount the client chooses must be charged. The event loop compares `work_bytes` before and
 * after a request to decide when a connection's turn ends. */
static inline void store_thread_charge(struct store_thread *thread, uint64_t bytes) {
    thread->work_bytes += bytes;
}

/* A quiescent point: the thread holds no pointer into any pool. Goes online; reads the clock.
 * Called before each batch of requests. */
void store_thread_refresh(struct store_thread *thread);

/* The thread is about to block, or to end: it holds no pointer into any pool. */
void store_thread_leave(struct store_thread *thread);

/* Aborts if the thread serves clients and is in a batch of requests: such a thread must not wait
 * for the disk, for the janitor or for another thread. Every function of the store that waits calls
 * this first. */
void store_assert_may_wait(void);

/* Returns when every thread that was online has passed a quiescent point. Blocks for as long as
 * a batch of requests takes. An online thread must not call it. */
void grace_wait(struct grace *grace);

/* The same without waiting. grace_begin begins a period; grace_has_passed says whether every thread
 * that was online at that time has passed a quiescent point since. Any thread. */
uint64_t grace_begin(struct grace *grace);
bool grace_has_passed(struct grace *grace, uint64_t period);

#endif
