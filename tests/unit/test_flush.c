/* A flush while other threads change items. */
#include "store_support.h"

#include "store/pool_private.h"

#include <pthread.h>
#include <sched.h>

enum { THREADS = 3 };

static struct store store;

struct race {
    _Atomic unsigned begun;   /* the current round */
    _Atomic unsigned running; /* how often a thread has begun a round */
    _Atomic unsigned flushed; /* the round whose flush has returned */
    _Atomic unsigned done;    /* the number of threads that have ended the current round */
    unsigned rounds;
};

struct racer {
    struct race *race;
    struct store store; /* shares the pool */
    unsigned number;    /* of its key */
    unsigned survived;
};

/* Changes the item as fast as it can, until a change that began after the flush has ended. */
static void race_once(struct racer *racer, unsigned round) {
    char key[POOL_KEY_MAX];
    struct bytes text = bytes_from(key, number_key(key, racer->number));
    struct store_thread *thread = &racer->store.thread;
    for (unsigned i = 0;; i++) {
        bool after = atomic_load(&racer->race->flushed) == round;
        enum status status;
        store_thread_refresh(thread);
        if (racer->number % 2) {
            struct pool_fetched fetched;
            struct pool_fetch touch = {.touch = true, .touch_expiry_s = CLOCK_START_S + 100 + i};
            status = pool_fetch(racer->store.pool, thread, text, &touch, &fetched);
            EXPECT(status == STATUS_OK || status == STATUS_NOT_FOUND);
        } else {
            struct pool_store append = {.mode = POOL_APPEND, .value = bytes_from("", 0)};
            status = pool_store(racer->store.pool, thread, text, &append, NULL);
            EXPECT(status == STATUS_OK || status == STATUS_NOT_STORED);
        }
        if (after) {
            racer->survived += status == STATUS_OK;
            break;
        }
        if (i == 0) {
            atomic_fetch_add(&racer->race->running, 1);
        }
    }
    store_thread_leave(thread);
}

static void *race_all(void *argument) {
    struct racer *racer = argument;
    for (unsigned round = 1; round <= racer->race->rounds; round++) {
        while (atomic_load(&racer->race->begun) < round) {
            sched_yield();
        }
        race_once(racer, round);
        atomic_fetch_add(&racer->race->done, 1);
    }
    return NULL;
}

/* The same holds for the janitor: moving an item does not carry it across the flush. */
static void no_change_carries_an_item_across_a_flush(void **state) {
    struct pool_options options = store_options(16);
    options.persist = *(bool *)*state;
    store_begin_threads(&store, options, THREADS + 1);
    static struct race race;
    static struct racer racers[THREADS];
    pthread_t threads[THREADS];
    race = (struct race){.rounds = 30 + scaled(40)};
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.race = &race, .store = store, .number = i};
        store_thread_init(&racers[i].store.thread, store.grace, i + 1);
        EXPECT(pthread_create(&threads[i], NULL, race_all, &racers[i]) == 0);
    }
    for (unsigned round = 1; round <= race.rounds; round++) {
        for (unsigned number = 0; number < THREADS; number++) {
            EXPECT(store_set_number(&store, number, round, 200, 0) == STATUS_OK);
        }
        store_thread_leave(&store.thread);
        atomic_store(&race.begun, round);
        while (atomic_load(&race.running) < round * THREADS) {
            sched_yield();
        }
        store_thread_refresh(&store.thread);
        EXPECT(pool_flush(store.pool, &store.thread, 0) == STATUS_OK);
        store_thread_leave(&store.thread);
        atomic_store(&race.flushed, round);
        while (atomic_load(&race.done) < round * THREADS) {
            sched_yield();
        }
    }
    unsigned survived = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        survived += racers[i].survived;
    }
    assert_int_equal(survived, 0);
    store_end(&store);
}

/* ---- items that are stored during a flush ---- */

enum { CROWD = 20000, CROWD_ROUNDS = 60 }; /* so many buckets that a flush takes a while */

static _Atomic unsigned flushes_ended;
static _Atomic unsigned flushes_wanted;

static void *flush_when_asked(void *argument) {
    struct store_thread *thread = argument;
    for (unsigned round = 1; round <= CROWD_ROUNDS; round++) {
        while (atomic_load(&flushes_wanted) < round) {
            sched_yield();
        }
        store_thread_refresh(thread);
        EXPECT(pool_flush(store.pool, thread, 0) == STATUS_OK);
        store_thread_leave(thread);
        atomic_store(&flushes_ended, round);
    }
    return NULL;
}

/* A client that no longer sees the item stores it anew. That item stays, even if the flush has not
 * returned yet.
 */
static void what_is_stored_when_a_flush_has_begun_to_hide_is_not_flushed(void **state) {
    struct pool_options options = store_options(256);
    options.persist = *(bool *)*state;
    store_begin_threads(&store, options, 2);
    static struct store_thread flusher;
    pthread_t thread;
    for (unsigned number = 1; number < CROWD; number++) {
        EXPECT(store_set_number(&store, number, 0, 10, 0) == STATUS_OK);
    }
    atomic_store(&flushes_ended, 0);
    atomic_store(&flushes_wanted, 0);
    store_thread_init(&flusher, store.grace, 1);
    EXPECT(pthread_create(&thread, NULL, flush_when_asked, &flusher) == 0);
    unsigned lost = 0;
    for (unsigned round = 1; round <= CROWD_ROUNDS; round++) {
        struct item item;
        EXPECT(store_set(&store, "k", "before", 0) == STATUS_OK);
        atomic_store(&flushes_wanted, round);
        while (store_get(&store, "k", &item) == STATUS_OK) {
            sched_yield();
        }
        EXPECT(store_set(&store, "k", "after", 0) == STATUS_OK);
        store_thread_leave(&store.thread);
        while (atomic_load(&flushes_ended) < round) {
            sched_yield();
        }
        lost += store_get(&store, "k", &item) != STATUS_OK;
        store_thread_leave(&store.thread);
    }
    pthread_join(thread, NULL);
    assert_int_equal(lost, 0);
    store_end(&store);
}

int main(void) {
    static bool volatile_pool = false;
    static bool persistent_pool = true;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(no_change_carries_an_item_across_a_flush, &volatile_pool),
        cmocka_unit_test_prestate(no_change_carries_an_item_across_a_flush, &persistent_pool),
        cmocka_unit_test_prestate(what_is_stored_when_a_flush_has_begun_to_hide_is_not_flushed,
                                  &volatile_pool),
        cmocka_unit_test_prestate(what_is_stored_when_a_flush_has_begun_to_hide_is_not_flushed,
                                  &persistent_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
