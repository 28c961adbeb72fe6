#include "store/grace.h"

#include "base/clock.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { GRACE_OFFLINE = 0, GRACE_WAIT_NS = 50000 };

struct grace_mark {
    /* The period in which the thread last was quiescent, or GRACE_OFFLINE. A cache line each. */
    _Alignas(64) _Atomic uint64_t seen;
};

struct grace {
    unsigned threads;
    _Atomic uint64_t period; /* from 1 on */
    struct grace_mark marks[];
};

struct grace *grace_create(unsigned threads) {
    size_t bytes = sizeof(struct grace) + threads * sizeof(struct grace_mark);
    struct grace *grace = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (grace == NULL) {
        return NULL;
    }
    grace->threads = threads;
    atomic_init(&grace->period, 1);
    for (unsigned i = 0; i < threads; i++) {
        atomic_init(&grace->marks[i].seen, GRACE_OFFLINE);
    }
    return grace;
}

void grace_destroy(struct grace *grace) {
    free(grace);
}

/* Whether this thread is in a batch of requests, so that clients wait for it. */
static _Thread_local bool serving;

void store_assert_may_wait(void) {
    assert(!serving);
}

unsigned grace_threads(const struct grace *grace) {
    return grace->threads;
}

void store_thread_init(struct store_thread *thread, struct grace *grace, unsigned index) {
    assert(index < grace->threads);
    *thread = (struct store_thread){.grace = grace, .index = index, .now_s = clock_unix_s()};
}

void store_thread_refresh(struct store_thread *thread) {
    struct grace *grace = thread->grace;
    /* The thread stores that it is online and then loads slots; the janitor has emptied slots and
     * then loads which threads are online. At least one of them must see what the other stored, so
     * both sides need a fence between store and load (grace_wait has the other fence). A seq_cst
     * store is not enough: slots are loaded with acquire, and an acquire load of ARM's RCpc kind
     * (ldapr) may overtake it. release: all reads of the batch before are done (pairs with the load
     * in grace_wait). */
    atomic_store_explicit(&grace->marks[thread->index].seen, atomic_load(&grace->period),
                          memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    thread->now_s = clock_unix_s();
    serving = thread->room_policy != STORE_WAITS;
}

void store_thread_leave(struct store_thread *thread) {
    serving = false;
    /* release: all reads of segments are done (pairs with the load in grace_wait) */
    atomic_store_explicit(&thread->grace->marks[thread->index].seen, GRACE_OFFLINE,
                          memory_order_release);
}

uint64_t grace_begin(struct grace *grace) {
    uint64_t period = atomic_fetch_add(&grace->period, 1) + 1;
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the fence in store_thread_refresh */
    return period;
}

static bool grace_has_seen(struct grace *grace, unsigned thread, uint64_t period) {
    uint64_t seen = atomic_load(&grace->marks[thread].seen);
    return seen == GRACE_OFFLINE || seen >= period;
}

bool grace_has_passed(struct grace *grace, uint64_t period) {
    for (unsigned i = 0; i < grace->threads; i++) {
        if (!grace_has_seen(grace, i, period)) {
            return false;
        }
    }
    return true;
}

void grace_wait(struct grace *grace) {
    store_assert_may_wait();
    uint64_t period = grace_begin(grace);
    for (unsigned i = 0; i < grace->threads; i++) {
        while (!grace_has_seen(grace, i, period)) {
            struct timespec wait = {.tv_nsec = GRACE_WAIT_NS};
            nanosleep(&wait, NULL);
        }
    }
}
