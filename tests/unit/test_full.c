/* A full pool: what it does not forget, what it still takes, and that it comes back. */
#include "store_support.h"

#include "base/hash.h"
#include "store/pool_private.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct store store;

static void begin(unsigned segments, bool evict, bool persist) {
    struct pool_options options = store_options(segments);
    options.evict = evict;
    options.persist = persist;
    store_begin(&store, options);
}

static int setup_volatile(void **state) {
    (void)state;
    begin(32, false, false);
    return 0;
}

static int setup_persistent(void **state) {
    (void)state;
    begin(32, false, true);
    return 0;
}

static int setup_small_volatile(void **state) {
    (void)state;
    begin(8, false, false);
    return 0;
}

static int setup_small_persistent(void **state) {
    (void)state;
    begin(8, false, true);
    return 0;
}

static int setup_small_cache(void **state) {
    (void)state;
    begin(8, true, false);
    return 0;
}

static int setup_persistent_cache(void **state) {
    (void)state;
    begin(64, true, true);
    return 0;
}

static int setup_small_persistent_cache(void **state) {
    (void)state;
    begin(8, true, true);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    store_end(&store);
    return 0;
}

static struct pool_stats stats_now(void) {
    struct pool_stats stats;
    store_stats(&store, &stats);
    return stats;
}

/* Stores items from `number` on until one is refused; returns the number of that one. */
static unsigned fill(unsigned number, size_t size, uint32_t expiry_s) {
    enum status status;
    while ((status = store_set_number(&store, number, 0, size, expiry_s)) == STATUS_OK) {
        number++;
        EXPECT(number < 1000000);
    }
    EXPECT(status == STATUS_NO_MEMORY);
    return number;
}

/* ---- evict = no ---- */

static void a_full_pool_refuses_new_keys_and_drops_none(void **state) {
    (void)state;
    enum { SIZE = 200 };
    unsigned stored = fill(0, SIZE, CLOCK_START_S + 86400);
    assert_true((uint64_t)stored * (SIZE + 32) > stats_now().capacity_bytes * 4 / 10);
    assert_true(stats_now().full);
    for (unsigned number = stored; number < stored + 100; number++) {
        EXPECT(store_set_number(&store, number, 0, SIZE, 0) == STATUS_NO_MEMORY);
        EXPECT(!store_has_number(&store, number, 0, SIZE));
    }
    store_run_janitor(&store, 5);
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_has_number(&store, number, 0, SIZE));
    }
    assert_true(stats_now().counters[POOL_STORE_NO_MEMORY] > 100);
    assert_int_equal(stats_now().counters[POOL_EVICTIONS], 0);
}

static void items_in_a_full_pool_can_be_updated_for_ever(void **state) {
    (void)state;
    enum { SIZE = 300 };
    unsigned stored = fill(0, SIZE, CLOCK_START_S + 86400);
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

/* A login session's life in a full pool: each request moves its expiry, now later, now sooner. */
static void items_in_a_full_pool_can_be_touched_for_ever(void **state) {
    (void)state;
    enum { SIZE = 300 };
    unsigned stored = fill(0, SIZE, CLOCK_START_S + 86400);
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
        unsigned stored = fill(0, sizes[i], 0);
        for (unsigned number = 0; number < stored; number++) {
            EXPECT(store_delete_number(&store, number) == STATUS_OK);
        }
        for (unsigned number = 0; number < stored; number++) {
            EXPECT(!store_has_number(&store, number, 0, sizes[i]));
        }
        assert_int_equal(stats_now().items, 0);
        unsigned again = fill(0, sizes[i], CLOCK_START_S + 1000);
        assert_true(again > stored / 2); /* some tombstones are still needed */
        clock_advance_s(1000);           /* and all of it expires */
        store_run_janitor(&store, 40);
        for (unsigned number = 0; number < again; number++) {
            EXPECT(!store_has_number(&store, number, 0, sizes[i]));
        }
        clock_set_s(CLOCK_START_S);
    }
}

/* Updates that grow can fill the pool to its very end; even then people can log out. */
static void deletes_work_when_growing_items_have_taken_the_last_room(void **state) {
    (void)state;
    enum { SIZE = 500, GROWN = 900 };
    unsigned stored = fill(0, SIZE, 0);
    unsigned grown = 0;
    while (grown < stored && store_set_number(&store, grown, 1, GROWN, 0) == STATUS_OK) {
        grown++;
    }
    assert_true(grown > 0 && grown < stored);
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    assert_int_equal(stats_now().items, 0);
}

static void a_flush_works_when_growing_items_have_taken_the_last_room(void **state) {
    (void)state;
    unsigned stored = fill(0, 500, 0);
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
    assert_true(fill(0, 500, 0) >= stored / 2); /* a small pool's janitor may keep a segment */
}

static void room_comes_back_when_items_are_deleted(void **state) {
    (void)state;
    enum { SIZE = 400 };
    unsigned stored = fill(0, SIZE, 0);
    for (unsigned number = 0; number < stored; number += 2) {
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    unsigned taken = fill(stored, SIZE, 0) - stored;
    assert_true(taken > stored / 5); /* of a small pool; of a large one, nearly half */
    for (unsigned number = 0; number < stored + taken; number++) {
        EXPECT(store_has_number(&store, number, 0, SIZE) == (number >= stored || number % 2 == 1));
    }
}

static void room_comes_back_when_items_expire_among_living_ones(void **state) {
    (void)state;
    enum { SIZE = 400, ONE_IN = 8 };
    unsigned number = 0;
    /* Every eighth expires: too few of each segment for the janitor to act unasked. */
    while (store_set_number(&store, number, 0, SIZE,
                            CLOCK_START_S + (number % ONE_IN ? 20 : 10) * 86400) == STATUS_OK) {
        number++;
    }
    unsigned stored = number;
    EXPECT(store_set_number(&store, stored, 0, SIZE, CLOCK_START_S + 86400) == STATUS_NO_MEMORY);
    clock_advance_s(10 * 86400);
    store_run_janitor(&store, 1); /* a second later, say */
    unsigned taken = fill(stored, SIZE, clock_now_s() + 86400) - stored;
    assert_true(taken > stored / ONE_IN / 2);
    for (number = 0; number < stored; number++) {
        EXPECT(store_has_number(&store, number, 0, SIZE) == (number % ONE_IN != 0));
    }
}

static void room_comes_back_when_items_in_open_segments_expire(void **state) {
    (void)state;
    /* In a small pool the open segments are most of it: each class has one. */
    static const uint32_t ttls_s[] = {200, 2000, 20000, 80000, 500000, 2000000};
    enum { TTLS = 6, SIZE = 1000 };
    unsigned number = 0;
    while (store_set_number(&store, number, 0, SIZE,
                            CLOCK_START_S + ttls_s[number % TTLS] / (number < 2 * TTLS ? 1 : 2)) ==
           STATUS_OK) {
        number++;
    }
    unsigned stored = number;
    assert_true(stored > 100);
    clock_advance_s(ttls_s[TTLS - 1] / 2); /* all but a few of the first twelve have expired */
    store_run_janitor(&store, 1);
    unsigned taken = fill(stored, SIZE, clock_now_s() + 500) - stored;
    assert_true(taken > stored / 2);
}

static void moving_an_item_changes_nothing_that_a_client_sees(void **state) {
    (void)state;
    enum { KEPT = 50, SIZE = 300 };
    struct item before[KEPT];
    char key[POOL_KEY_MAX];
    unsigned stored = fill(0, SIZE, 0);
    for (unsigned i = 0; i < KEPT; i++) {
        /* Spread over all segments, with everything that an item can have. */
        size_t key_size = number_key(key, i * (stored / KEPT));
        char value[SIZE];
        struct pool_store request = {
            .value = bytes_from(value, sizeof value),
            .client_flags = i % 2 ? 0xffffffff - i : 0,
            .expiry_s = i % 3 ? CLOCK_START_S + 100000 + i : 0,
            .set_cas = i % 5 == 0,
            .new_cas = UINT64_MAX - i,
        };
        number_value(value, sizeof value, i * (stored / KEPT), 1);
        store_thread_refresh(&store.thread);
        EXPECT(pool_store(store.pool, &store.thread, bytes_from(key, key_size), &request, NULL) ==
               STATUS_OK);
        if (i % 4 == 1) {
            struct pool_delete invalidation = {.invalidate = true};
            EXPECT(pool_delete(store.pool, &store.thread, bytes_from(key, key_size),
                               &invalidation) == STATUS_OK);
            struct pool_fetched fetched;
            struct pool_fetch won = {.win_stale = true};
            EXPECT(i % 8 == 1 || pool_fetch(store.pool, &store.thread, bytes_from(key, key_size),
                                            &won, &fetched) == STATUS_OK);
        }
        EXPECT(i % 7 != 0 || store_get(&store, key, &before[i]) == STATUS_OK); /* fetched */
        EXPECT(store_get(&store, key, &before[i]) == STATUS_OK);
        before[i].fetched = true; /* by this */
    }
    clock_advance_s(10);
    uint64_t moved = stats_now().counters[POOL_BYTES_MOVED];
    for (unsigned number = 0; number < stored; number++) {
        if (number % (stored / KEPT) != 0 || number / (stored / KEPT) >= KEPT) {
            EXPECT(store_delete_number(&store, number) == STATUS_OK);
        }
    }
    fill(stored, SIZE, 0); /* over everything that was there */
    assert_true(stats_now().counters[POOL_BYTES_MOVED] >= moved + KEPT * SIZE);
    for (unsigned i = 0; i < KEPT; i++) {
        struct item after;
        unsigned number = i * (stored / KEPT);
        number_key(key, number);
        EXPECT(store_has_number(&store, number, 1, SIZE));
        EXPECT(store_get(&store, key, &after) == STATUS_OK);
        assert_int_equal(after.client_flags, before[i].client_flags);
        assert_int_equal(after.expiry_s, before[i].expiry_s);
        assert_true(after.cas == before[i].cas);
        assert_int_equal(after.stale, before[i].stale);
        assert_int_equal(after.token_sent, before[i].token_sent);
        assert_int_equal(after.fetched, before[i].fetched);
    }
}

static void items_as_large_as_item_max_come_and_go(void **state) {
    (void)state;
    size_t largest = store.options.item_max_bytes - 20;
    uint64_t random = 7;
    unsigned stored = fill(0, largest, 0);
    unsigned *versions = calloc(stored, sizeof *versions);
    assert_true(stored >= 9);
    for (unsigned round = 1; round < 300; round++) { /* what is there can always be updated */
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
    for (unsigned round = 0; round < 300; round++) { /* and new keys come when others have gone */
        unsigned number = random_below(&random, stored) | 1;
        if (store_delete_number(&store, number) == STATUS_OK) {
            EXPECT(store_set_number(&store, number + 100000, round, largest, 0) == STATUS_OK);
            EXPECT(store_delete_number(&store, number + 100000) == STATUS_OK);
            EXPECT(store_set_number(&store, number, round, largest, 0) == STATUS_OK);
            EXPECT(store_has_number(&store, number, round, largest));
        }
    }
}

static void a_mix_of_sizes_does_not_wear_the_pool_out(void **state) {
    (void)state;
    enum { KEYS = 400 };
    uint64_t random = 8;
    size_t sizes[KEYS] = {0};
    unsigned versions[KEYS] = {0};
    uint64_t live = 0;
    uint64_t limit = stats_now().capacity_bytes * 6 / 10;
    unsigned refused = 0;
    for (unsigned round = 1; round < scaled(20000); round++) {
        unsigned number = random_below(&random, KEYS);
        size_t size = random_below(&random, 4) == 0 ? random_below(&random, 14000)
                                                    : random_below(&random, 400);
        if (versions[number] != 0 && (live > limit || random_below(&random, 4) == 0)) {
            EXPECT(store_delete_number(&store, number) == STATUS_OK);
            live -= sizes[number];
            versions[number] = 0;
        } else if (live + size < limit) {
            uint32_t expiry_s = random_below(&random, 3) == 0
                                    ? 0
                                    : clock_now_s() + 100 + random_below(&random, 3000000);
            enum status status = store_set_number(&store, number, round, size, expiry_s);
            EXPECT(status == STATUS_OK || status == STATUS_NO_MEMORY);
            if (status != STATUS_OK) {
                refused++; /* live bytes are far from the limit: this must be rare */
                continue;
            }
            live -= versions[number] != 0 ? sizes[number] : 0;
            live += size;
            sizes[number] = size;
            versions[number] = round;
        }
    }
    assert_int_equal(refused, 0);
    for (unsigned number = 0; number < KEYS; number++) {
        EXPECT(versions[number] == 0 ||
               store_has_number(&store, number, versions[number], sizes[number]));
    }
}

/* Records of a little more than half a segment: moving them gains nothing, and the janitor must
 * see that. */
static void a_fragmented_pool_comes_to_rest(void **state) {
    (void)state;
    struct pool_options options = store_options(32);
    options.item_max_bytes = 60 << 10;
    options.persist = *(bool *)*state;
    store_begin(&store, options);
    unsigned stored = fill(0, STORE_SEGMENT * 6 / 10, 0);
    assert_true(stored >= 16);
    for (unsigned number = stored; number < stored + 10; number++) {
        EXPECT(store_set_number(&store, number, 0, 100, 0) == STATUS_OK ||
               stats_now().full); /* small ones may find room beside them */
    }
    uint64_t before = stats_now().counters[POOL_BYTES_MOVED];
    store_run_janitor(&store, 20);
    uint64_t moved = stats_now().counters[POOL_BYTES_MOVED] - before;
    assert_true(moved <= stats_now().capacity_bytes); /* once through, and no more */
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_has_number(&store, number, 0, STORE_SEGMENT * 6 / 10));
    }
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    assert_true(fill(0, 100, 0) > 10000);
    store_end(&store);
}

static void tombstones_do_not_pile_up_beside_an_item_that_stays(void **state) {
    (void)state;
    /* It stays, in the oldest segment, and never expires: all tombstones are younger. */
    assert_int_equal(store_set(&store, "stays", "v", 0), STATUS_OK);
    uint64_t most = 0;
    for (unsigned number = 0; number < scaled(40000); number++) {
        EXPECT(store_set_number(&store, number, 0, 30, 0) == STATUS_OK);
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
        uint64_t bytes = store_tombstone_bytes(&store);
        most = bytes > most ? bytes : most;
    }
    assert_true(most < stats_now().capacity_bytes / 2);
    expect_there(&store, "stays", "v");
}

static void tombstones_do_not_pile_up_beside_a_segment_that_stays_open(void **state) {
    (void)state;
    /* Alone in its class: its segment is never full. */
    assert_int_equal(store_set(&store, "stays", "v", CLOCK_START_S + 80000), STATUS_OK);
    for (unsigned number = 0; number < scaled(40000); number++) {
        EXPECT(store_set_number(&store, number, 0, 30, 0) == STATUS_OK);
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    expect_there(&store, "stays", "v");
}

static void updates_with_sooner_expiries_do_not_pile_tombstones_up(void **state) {
    (void)state;
    char key[POOL_KEY_MAX];
    for (unsigned number = 0; number < 100; number++) {
        store_set_number(&store, number, 0, 100, 0);
    }
    for (unsigned round = 0; round < scaled(60000); round++) {
        number_key(key, round % 100);
        /* Never, then in two days, then never again: every second one writes a tombstone. */
        EXPECT(store_touch(&store, key, round / 100 % 2 ? 0 : CLOCK_START_S + 170000) == STATUS_OK);
    }
    for (unsigned number = 0; number < 100; number++) {
        EXPECT(store_has_number(&store, number, 0, 100));
    }
}

/* An update of the largest item needs room for its tombstone as well, however tight the segments
 * are for this item_max: for one in these they are as tight as can be. */
static void the_largest_item_can_be_given_a_sooner_expiry(void **state) {
    (void)state;
    struct pool_options options = store_options(16);
    char key[POOL_KEY_MAX];
    memset(key, 'k', sizeof key);
    options.persist = true;
    options.max_lifetime_s = 100000;
    options.memory_bytes = 16 * 3 * STORE_SEGMENT;
    alarm(60); /* better an end than a test that hangs */
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
    struct store store; /* shares the pool of the test's store */
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
    unsigned stored = fill(0, 300, CLOCK_START_S + 86400);
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

/* ---- evict = yes ---- */

static void evicted_segments_share_their_syncs(void **state) {
    (void)state;
    enum { ITEMS = 30000, SIZE = 500 }; /* several times what fits */
    unsigned syncs = fault_syncs();
    for (unsigned number = 0; number < ITEMS; number++) {
        EXPECT(store_set_number(&store, number, 0, SIZE, 0) == STATUS_OK);
    }
    store_run_janitor(&store, 1);
    uint64_t freed = stats_now().counters[POOL_SEGMENTS_COMPACTED];
    assert_true(freed > 100);
    assert_true(fault_syncs() - syncs < freed); /* alone, each takes two */
    EXPECT(store_has_number(&store, ITEMS - 1, 0, SIZE));
}

static uint32_t any_expiry(uint64_t *random) {
    static const uint32_t ttls_s[] = {10, 1000, 10000, 50000, 300000, 2000000, 9000000};
    unsigned class = random_below(random, 8);
    return class == 7 ? 0 : clock_now_s() + ttls_s[class] + random_below(random, 100);
}

static void a_cache_takes_every_key(void **state) {
    (void)state;
    uint64_t random = 9;
    unsigned missed = 0; /* evicted at once: with eight segments for eight classes it happens */
    size_t largest = store.options.item_max_bytes - 20;
    for (unsigned number = 0; number < scaled(20000); number++) {
        size_t size = random_below(&random, 8) == 0 ? random_below(&random, (uint32_t)largest + 1)
                                                    : random_below(&random, 600);
        EXPECT(store_set_number(&store, number, 0, size, any_expiry(&random)) == STATUS_OK);
        missed += !store_has_number(&store, number, 0, size);
        if (number % 50 == 0) {
            clock_advance_s(1);
        }
        if (number % 7 == 0) {
            enum status status = store_delete_number(&store, number);
            EXPECT(status == STATUS_OK || status == STATUS_NOT_FOUND); /* evicted already */
        }
    }
    assert_true(missed < 200);
    assert_true(stats_now().counters[POOL_EVICTIONS] > 0);
    assert_int_equal(stats_now().counters[POOL_STORE_NO_MEMORY], 0);
}

static void a_cache_of_largest_items_takes_every_key(void **state) {
    (void)state;
    size_t largest = store.options.item_max_bytes - 20;
    uint64_t random = 10;
    unsigned missed = 0;
    for (unsigned number = 0; number < scaled(1000) + 100; number++) {
        size_t size = largest - random_below(&random, 4000);
        EXPECT(store_set_number(&store, number, 0, size, any_expiry(&random)) == STATUS_OK);
        missed += !store_has_number(&store, number, 0, size);
    }
    assert_true(missed < 10);
}

static void a_cache_keeps_what_is_read_often(void **state) {
    (void)state;
    enum { HOT = 100, SIZE = 200 };
    for (unsigned number = 0; number < HOT; number++) {
        EXPECT(store_set_number(&store, number, 0, SIZE, 0) == STATUS_OK);
    }
    unsigned all = scaled(30000) + 5000; /* several times what fits */
    for (unsigned number = HOT; number < all; number++) {
        EXPECT(store_set_number(&store, number, 0, SIZE, 0) == STATUS_OK);
        if (number % 10 == 0) {
            for (unsigned hot = 0; hot < HOT; hot += 10) {
                store_has_number(&store, hot + number / 10 % 10, 0, SIZE);
            }
        }
    }
    unsigned kept = 0;
    for (unsigned number = 0; number < HOT; number++) {
        kept += store_has_number(&store, number, 0, SIZE);
    }
    assert_int_equal(kept, HOT);
    unsigned cold = 0;
    for (unsigned number = HOT; number < all - 3000; number++) {
        cold += store_has_number(&store, number, 0, SIZE);
    }
    assert_true(cold < 1000);
}

static void a_cache_keeps_what_is_touched_often(void **state) {
    (void)state;
    enum { SIZE = 200 };
    char key[POOL_KEY_MAX];
    number_key(key, 0);
    EXPECT(store_set_number(&store, 0, 0, SIZE, clock_now_s() + 600) == STATUS_OK);
    for (unsigned number = 1; number < scaled(30000) + 5000; number++) {
        EXPECT(store_set_number(&store, number, 0, SIZE, clock_now_s() + 600) == STATUS_OK);
        struct pool_fetched fetched;
        struct pool_fetch request = {.recache = true, .recache_s = 5};
        store_thread_refresh(&store.thread);
        EXPECT(number % 100 != 0 || pool_fetch(store.pool, &store.thread, bytes_from_string(key),
                                               &request, &fetched) == STATUS_OK);
    }
    EXPECT(store_has_number(&store, 0, 0, SIZE));
}

static void an_idle_cache_keeps_what_it_has(void **state) {
    (void)state;
    for (unsigned number = 0; number < 5000; number++) {
        EXPECT(store_set_number(&store, number, 0, 200, 0) == STATUS_OK);
    }
    store_run_janitor(&store, 5);
    uint64_t items = stats_now().items;
    store_run_janitor(&store, 20);
    assert_int_equal(stats_now().items, items);
    /* A pool with a file has one of its eight segments for the tombstones of what it evicted; of
     * the others at least two are full. */
    assert_true(items > (store.options.persist ? 500 : 1000));
}

#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define BOTH(test) WITH(setup_volatile, test), WITH(setup_persistent, test)
#define SMALL(test) WITH(setup_small_volatile, test), WITH(setup_small_persistent, test)
#define CACHES(test) WITH(setup_small_cache, test), WITH(setup_small_persistent_cache, test)

int main(void) {
    static bool volatile_pool = false;
    static bool persistent_pool = true;
    const struct CMUnitTest tests[] = {
        BOTH(a_full_pool_refuses_new_keys_and_drops_none),
        SMALL(a_full_pool_refuses_new_keys_and_drops_none),
        BOTH(items_in_a_full_pool_can_be_updated_for_ever),
        SMALL(items_in_a_full_pool_can_be_updated_for_ever),
        BOTH(items_in_a_full_pool_can_be_touched_for_ever),
        SMALL(items_in_a_full_pool_can_be_touched_for_ever),
        BOTH(everything_in_a_full_pool_can_be_deleted_and_stored_again),
        SMALL(everything_in_a_full_pool_can_be_deleted_and_stored_again),
        BOTH(deletes_work_when_growing_items_have_taken_the_last_room),
        SMALL(deletes_work_when_growing_items_have_taken_the_last_room),
        BOTH(a_flush_works_when_growing_items_have_taken_the_last_room),
        SMALL(a_flush_works_when_growing_items_have_taken_the_last_room),
        BOTH(room_comes_back_when_items_are_deleted),
        SMALL(room_comes_back_when_items_are_deleted),
        BOTH(room_comes_back_when_items_expire_among_living_ones),
        SMALL(room_comes_back_when_items_in_open_segments_expire),
        BOTH(moving_an_item_changes_nothing_that_a_client_sees),
        BOTH(items_as_large_as_item_max_come_and_go),
        SMALL(items_as_large_as_item_max_come_and_go),
        BOTH(a_mix_of_sizes_does_not_wear_the_pool_out),
        cmocka_unit_test_prestate(a_fragmented_pool_comes_to_rest, &volatile_pool),
        cmocka_unit_test_prestate(a_fragmented_pool_comes_to_rest, &persistent_pool),
        SMALL(tombstones_do_not_pile_up_beside_an_item_that_stays),
        SMALL(tombstones_do_not_pile_up_beside_a_segment_that_stays_open),
        SMALL(updates_with_sooner_expiries_do_not_pile_tombstones_up),
        cmocka_unit_test(the_largest_item_can_be_given_a_sooner_expiry),
        cmocka_unit_test_prestate(threads_can_update_a_full_pool_all_at_once, &volatile_pool),
        cmocka_unit_test_prestate(threads_can_update_a_full_pool_all_at_once, &persistent_pool),
        CACHES(a_cache_takes_every_key),
        CACHES(a_cache_of_largest_items_takes_every_key),
        CACHES(a_cache_keeps_what_is_read_often),
        CACHES(a_cache_keeps_what_is_touched_often),
        CACHES(an_idle_cache_keeps_what_it_has),
        cmocka_unit_test_setup_teardown(evicted_segments_share_their_syncs, setup_persistent_cache,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
