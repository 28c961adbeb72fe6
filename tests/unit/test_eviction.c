/* A full cache (evict = yes): it accepts every key, and evicts the items that are read least. */
#include "store_support.h"

static struct store store;

static void evicted_segments_share_their_syncs(void **state) {
    (void)state;
    enum { ITEMS = 30000, SIZE = 500 }; /* several times the number that fits */
    unsigned syncs = fault_syncs();
    for (unsigned number = 0; number < ITEMS; number++) {
        EXPECT(store_set_number(&store, number, 0, SIZE, 0) == STATUS_OK);
    }
    store_run_janitor(&store, 1);
    uint64_t freed = store_stats_now(&store).counters[POOL_SEGMENTS_COMPACTED];
    assert_true(freed > 100);
    assert_true(fault_syncs() - syncs < freed); /* freeing one segment alone takes two syncs */
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
    unsigned missed = 0; /* evicted at once: this happens with eight segments for eight classes */
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
    assert_true(store_stats_now(&store).counters[POOL_EVICTIONS] > 0);
    assert_int_equal(store_stats_now(&store).counters[POOL_STORE_NO_MEMORY], 0);
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
    unsigned all = scaled(30000) + 5000; /* several times the number that fits */
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
    uint64_t items = store_stats_now(&store).items;
    store_run_janitor(&store, 20);
    assert_int_equal(store_stats_now(&store).items, items);
    /* A pool with a file uses one of its eight segments for the tombstones of evicted items. At
     * least two of the other segments are full. */
    assert_true(items > (store.options.persist ? 500 : 1000));
}

#define CACHES(test)                                                                               \
    STORE_TEST(test, .segments = 8, .evict = true),                                                \
        STORE_TEST(test, .segments = 8, .evict = true, .persist = true)

int main(void) {
    const struct CMUnitTest tests[] = {
        CACHES(a_cache_takes_every_key),
        CACHES(a_cache_of_largest_items_takes_every_key),
        CACHES(a_cache_keeps_what_is_read_often),
        CACHES(a_cache_keeps_what_is_touched_often),
        CACHES(an_idle_cache_keeps_what_it_has),
        STORE_TEST(evicted_segments_share_their_syncs, .segments = 64, .evict = true,
                   .persist = true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
