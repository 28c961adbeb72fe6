/* A full pool (evict = no): what it refuses, and what it still accepts. */
#include "store_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static struct store store;

static void a_full_pool_refuses_new_keys_and_drops_none(void **state) {
    (void)state;
    enum { SIZE = 200 };
    unsigned stored = store_fill(&store, 0, SIZE, CLOCK_START_S + 86400);
    assert_true((uint64_t)stored * (SIZE + 32) > store_stats_now(&store).capacity_bytes * 4 / 10);
    assert_true(store_stats_now(&store).full);
    for (unsigned number = stored; number < stored + 100; number++) {
        EXPECT(store_set_number(&store, number, 0, SIZE, 0) == STATUS_NO_MEMORY);
        EXPECT(!store_has_number(&store, number, 0, SIZE));
    }
    store_run_janitor(&store, 5);
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_has_number(&store, number, 0, SIZE));
    }
    assert_true(store_stats_now(&store).counters[POOL_STORE_NO_MEMORY] > 100);
    assert_int_equal(store_stats_now(&store).counters[POOL_EVICTIONS], 0);
}

static void items_in_a_full_pool_can_be_updated_for_ever(void **state) {
    (void)state;
    enum { SIZE = 300 };
    unsigned stored = store_fill(&store, 0, SIZE, CLOCK_START_S + 86400);
    unsigned *versions = calloc(stored, sizeof *versions);
    uint64_t random = 5;
    for (unsigned i = 0; i < scaled(3 * stored); i++) {
        unsigned number = random_below(&random, stored);
        EXPECT(store_set_number(&store, number, i + 1, SIZE, CLOCK_START_S + 86400) == STATUS_OK);
        versions[number] = i + 1;
    }
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_has_number(&store, number, versions[number], SIZE));
    }
    free(versions);
}

/* The life of a login session in a full pool: each request moves its expiry, sometimes later,
 * sometimes sooner. */
static void items_in_a_full_pool_can_be_touched_for_ever(void **state) {
    (void)state;
    enum { SIZE = 300 };
    unsigned stored = store_fill(&store, 0, SIZE, CLOCK_START_S + 86400);
    uint64_t random = 6;
    char key[POOL_KEY_MAX];
    for (unsigned i = 0; i < scaled(3 * stored); i++) {
        number_key(key, random_below(&random, stored));
        uint32_t expiry_s = CLOCK_START_S + 20000 + random_below(&random, 100000);
        EXPECT(store_touch(&store, key, expiry_s) == STATUS_OK);
    }
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_has_number(&store, number, 0, SIZE));
    }
}

static void everything_in_a_full_pool_can_be_deleted_and_stored_again(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 100, 2000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned stored = store_fill(&store, 0, sizes[i], 0);
        for (unsigned number = 0; number < stored; number++) {
            EXPECT(store_delete_number(&store, number) == STATUS_OK);
        }
        for (unsigned number = 0; number < stored; number++) {
            EXPECT(!store_has_number(&store, number, 0, sizes[i]));
        }
        assert_int_equal(store_stats_now(&store).items, 0);
        unsigned again = store_fill(&store, 0, sizes[i], CLOCK_START_S + 1000);
        assert_true(again > stored / 2); /* tombstones that are still needed take the rest */
        clock_advance_s(1000);           /* now all items expire */
        store_run_janitor(&store, 40);
        for (unsigned number = 0; number < again; number++) {
            EXPECT(!store_has_number(&store, number, 0, sizes[i]));
        }
        clock_set_s(CLOCK_START_S);
    }
}

/* Updates that make items larger can fill the pool to its end. Even then users can log out. */
static void deletes_work_when_growing_items_have_taken_the_last_room(void **state) {
    (void)state;
    enum { SIZE = 500, GROWN = 900 };
    unsigned stored = store_fill(&store, 0, SIZE, 0);
    unsigned grown = 0;
    while (grown < stored && store_set_number(&store, grown, 1, GROWN, 0) == STATUS_OK) {
        grown++;
    }
    assert_true(grown > 0 && grown < stored);
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    assert_int_equal(store_stats_now(&store).items, 0);
}

static void a_flush_works_when_growing_items_have_taken_the_last_room(void **state) {
    (void)state;
    unsigned stored = store_fill(&store, 0, 500, 0);
    for (unsigned number = 0; number < stored; number++) {
        if (store_set_number(&store, number, 1, 900, 0) != STATUS_OK) {
            break;
        }
    }
    store_thread_refresh(&store.thread);
    assert_int_equal(pool_flush(store.pool, &store.thread, 0), STATUS_OK);
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(!store_has_number(&store, number, 0, 500));
        EXPECT(!store_has_number(&store, number, 1, 900));
    }
    assert_true(store_fill(&store, 0, 500, 0) >=
                stored / 2); /* the janitor of a small pool may keep a segment free */
}

static void items_as_large_as_item_max_come_and_go(void **state) {
    (void)state;
    size_t largest = store.options.item_max_bytes - 20;
    uint64_t random = 7;
    unsigned stored = store_fill(&store, 0, largest, 0);
    unsigned *versions = calloc(stored, sizeof *versions);
    assert_true(stored >= 9);
    for (unsigned round = 1; round < 300; round++) { /* every existing item can be updated */
        unsigned number = random_below(&random, stored);
        EXPECT(store_set_number(&store, number, round, largest, 0) == STATUS_OK);
        versions[number] = round;
    }
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_has_number(&store, number, versions[number], largest));
    }
    free(versions);
    for (unsigned number = 0; number < stored; number += 2) {
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    for (unsigned round = 0; round < 300; round++) { /* new keys find room after deletes */
        unsigned number = random_below(&random, stored) | 1;
        if (store_delete_number(&store, number) == STATUS_OK) {
            EXPECT(store_set_number(&store, number + 100000, round, largest, 0) == STATUS_OK);
            EXPECT(store_delete_number(&store, number + 100000) == STATUS_OK);
            EXPECT(store_set_number(&store, number, round, largest, 0) == STATUS_OK);
            EXPECT(store_has_number(&store, number, round, largest));
        }
    }
}

/* An update of the largest item also needs room for its tombstone. One of these values of item_max
 * leaves the least room to spare in the segments. */
static void the_largest_item_can_be_given_a_sooner_expiry(void **state) {
    (void)state;
    struct pool_options options = store_options(16);
    char key[POOL_KEY_MAX];
    memset(key, 'k', sizeof key);
    options.persist = true;
    options.max_lifetime_s = 100000;
    options.memory_bytes = 16 * 3 * STORE_SEGMENT;
    alarm(60); /* so that a fault fails the test and does not hang it */
    for (uint32_t below = 0; below < 4096; below += 4096 / scaled(85)) {
        options.item_max_bytes = 2 * STORE_SEGMENT - below;
        store_begin(&store, options);
        char *value = calloc(1, options.item_max_bytes);
        struct pool_store request = {.value =
                                         bytes_from(value, options.item_max_bytes - sizeof key),
                                     .client_flags = 1,
                                     .set_cas = true,
                                     .new_cas = 7};
        struct pool_fetch sooner = {.touch = true, .touch_expiry_s = CLOCK_START_S + 9};
        struct pool_fetched fetched;
        EXPECT(pool_store(store.pool, &store.thread, bytes_from(key, sizeof key), &request, NULL) ==
               STATUS_OK);
        EXPECT(pool_fetch(store.pool, &store.thread, bytes_from(key, sizeof key), &sooner,
                          &fetched) == STATUS_OK);
        assert_int_equal(fetched.item.expiry_s, CLOCK_START_S + 9);
        free(value);
        store_end(&store);
    }
    alarm(0);
}

/* ---- several threads in a full pool ---- */

enum { THREADS = 4 };

struct worker {
    struct store store; /* uses the pool of the test's store */
    unsigned first;
    unsigned count;
    unsigned rounds;
    unsigned *versions;
};

static void *update_own_items(void *argument) {
    enum { SIZE = 300 };
    struct worker *worker = argument;
    uint64_t random = worker->first;
    for (unsigned round = 1; round <= worker->rounds; round++) {
        unsigned i = random_below(&random, worker->count);
        EXPECT(store_set_number(&worker->store, worker->first + i, round, SIZE,
                                CLOCK_START_S + 86400) == STATUS_OK);
        worker->versions[i] = round;
        i = random_below(&random, worker->count);
        EXPECT(store_has_number(&worker->store, worker->first + i, worker->versions[i], SIZE));
    }
    store_thread_leave(&worker->store.thread);
    return NULL;
}

static void threads_can_update_a_full_pool_all_at_once(void **state) {
    struct pool_options options = store_options(32);
    options.persist = *(bool *)*state;
    store_begin_threads(&store, options, THREADS + 1);
    unsigned stored = store_fill(&store, 0, 300, CLOCK_START_S + 86400);
    store_thread_leave(&store.thread);
    pthread_t threads[THREADS];
    static struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.store = store,
                                     .first = i * (stored / THREADS),
                                     .count = stored / THREADS,
                                     .rounds = scaled(4000)};
        workers[i].versions = calloc(stored, sizeof(unsigned));
        store_thread_init(&workers[i].store.thread, store.grace, i + 1);
        EXPECT(pthread_create(&threads[i], NULL, update_own_items, &workers[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    store_thread_refresh(&store.thread);
    for (unsigned i = 0; i < THREADS; i++) {
        for (unsigned j = 0; j < workers[i].count; j++) {
            EXPECT(store_has_number(&store, workers[i].first + j, workers[i].versions[j], 300));
        }
        free(workers[i].versions);
    }
    store_end(&store);
}

int main(void) {
    static bool volatile_pool = false;
    static bool persistent_pool = true;
    const struct CMUnitTest tests[] = {
        VOLATILE_AND_PERSISTENT(32, a_full_pool_refuses_new_keys_and_drops_none),
        VOLATILE_AND_PERSISTENT(8, a_full_pool_refuses_new_keys_and_drops_none),
        VOLATILE_AND_PERSISTENT(32, items_in_a_full_pool_can_be_updated_for_ever),
        VOLATILE_AND_PERSISTENT(8, items_in_a_full_pool_can_be_updated_for_ever),
        VOLATILE_AND_PERSISTENT(32, items_in_a_full_pool_can_be_touched_for_ever),
        VOLATILE_AND_PERSISTENT(8, items_in_a_full_pool_can_be_touched_for_ever),
        VOLATILE_AND_PERSISTENT(32, everything_in_a_full_pool_can_be_deleted_and_stored_again),
        VOLATILE_AND_PERSISTENT(8, everything_in_a_full_pool_can_be_deleted_and_stored_again),
        VOLATILE_AND_PERSISTENT(32, deletes_work_when_growing_items_have_taken_the_last_room),
        VOLATILE_AND_PERSISTENT(8, deletes_work_when_growing_items_have_taken_the_last_room),
        VOLATILE_AND_PERSISTENT(32, a_flush_works_when_growing_items_have_taken_the_last_room),
        VOLATILE_AND_PERSISTENT(8, a_flush_works_when_growing_items_have_taken_the_last_room),
        VOLATILE_AND_PERSISTENT(32, items_as_large_as_item_max_come_and_go),
        VOLATILE_AND_PERSISTENT(8, items_as_large_as_item_max_come_and_go),
        cmocka_unit_test(the_largest_item_can_be_given_a_sooner_expiry),
        cmocka_unit_test_prestate(threads_can_update_a_full_pool_all_at_once, &volatile_pool),
        cmocka_unit_test_prestate(threads_can_update_a_full_pool_all_at_once, &persistent_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
