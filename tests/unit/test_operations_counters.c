/* The counters of a pool's operations, and the results of operations on a failing disk. */
#include "operations.h"

static void counters_count_what_happened(void **state) {
    struct store *store = *state;
    uint64_t number;
    store_set(store, "k", "1", LATER_S);
    get(store);
    expect_gone(store, "missing");
    store_touch(store, "k", LATER_S);
    store_touch(store, "missing", LATER_S);
    set_with(store, (struct pool_store){.compare_cas = true, .cas = 999}, "x", NULL);
    set_with(store, (struct pool_store){.compare_cas = true, .cas = store_cas(store, "k")}, "1",
             NULL);
    calculate(store, (struct pool_arithmetic){.delta = 1}, &number, NULL);
    calculate(store, (struct pool_arithmetic){.delta = 1, .decrement = true}, &number, NULL);
    assert_int_equal(delete_with(store, (struct pool_delete){.invalidate = true}), STATUS_OK);
    store_delete(store, "k");
    store_delete(store, "k");
    delete_with(store, (struct pool_delete){.uncounted = true});
    calculate(store, (struct pool_arithmetic){.delta = 1}, &number, NULL);
    store_set(store, "k", "1", clock_now_s() + 1);
    clock_advance_s(1);
    expect_gone(store, "k");
    pool_count(store->pool, &store->thread, POOL_CMD_META);
    struct pool_stats stats;
    store_stats(store, &stats);
    const uint64_t *counters = stats.counters;
    assert_int_equal(counters[POOL_CMD_GET], 4);
    assert_int_equal(counters[POOL_GET_HITS], 2);
    assert_int_equal(counters[POOL_GET_MISSES], 2);
    assert_true(counters[POOL_GET_EXPIRED] <= 1); /* unless the janitor was faster */
    assert_int_equal(counters[POOL_CMD_TOUCH], 2);
    assert_int_equal(counters[POOL_TOUCH_HITS], 1);
    assert_int_equal(counters[POOL_TOUCH_MISSES], 1);
    assert_int_equal(counters[POOL_CMD_SET], 4);
    assert_int_equal(counters[POOL_TOTAL_ITEMS], 3);
    assert_int_equal(counters[POOL_CAS_BADVAL], 1);
    assert_int_equal(counters[POOL_CAS_HITS], 1);
    assert_int_equal(counters[POOL_INCR_HITS], 1);
    assert_int_equal(counters[POOL_INCR_MISSES], 1);
    assert_int_equal(counters[POOL_DECR_HITS], 1);
    assert_int_equal(counters[POOL_DELETE_HITS], 1);
    assert_int_equal(counters[POOL_DELETE_MISSES], 1);
    assert_int_equal(counters[POOL_CMD_META], 1);
    pool_reset_counters(store->pool);
    store_stats(store, &stats);
    for (int counter = 0; counter < POOL_COUNTERS; counter++) {
        assert_int_equal(stats.counters[counter], 0);
    }
}

static void bytes_are_accounted_for(void **state) {
    struct store *store = *state;
    struct pool_stats stats;
    for (unsigned number = 0; number < 300; number++) {
        store_set_number(store, number, 0, 200, 0);
    }
    for (unsigned number = 0; number < 100; number++) {
        store_delete_number(store, number);
        store_set_number(store, 100 + number, 1, 100, 0);
    }
    store_stats(store, &stats);
    assert_int_equal(stats.items, 200);
    /* 24 bytes of header, a key of 7 bytes, and padding */
    assert_int_equal(stats.live_bytes, 100 * (24 + 8 + 200) + 100 * (24 + 8 + 104));
    assert_true(stats.dead_bytes >= 200 * (24 + 200));
    assert_int_equal(stats.live_bytes + stats.tombstone_bytes + stats.dead_bytes + stats.free_bytes,
                     stats.capacity_bytes);
    /* A tombstone has the key, and no value. */
    assert_int_equal(stats.tombstone_bytes, store->options.persist ? 100 * (24 + 8) : 0);
    assert_int_equal(stats.segments, 16);
    assert_int_equal(stats.segment_bytes, STORE_SEGMENT);
    assert_false(stats.read_only || stats.full);
}

static void after_a_failed_sync_the_pool_serves_and_takes_no_more_writes(void **state) {
    (void)state;
    struct store store;
    store_begin_persistent(&store, 16);
    assert_int_equal(store_set(&store, "k", "1", 0), STATUS_OK);
    fault_fail_syncs(true);
    assert_false(sync_now(&store.pool->sync));
    fault_fail_syncs(false);
    uint64_t number;
    struct pool_fetched fetched;
    assert_int_equal(store_set(&store, "k", "2", 0), STATUS_READ_ONLY);
    assert_int_equal(store_delete(&store, "k"), STATUS_READ_ONLY);
    assert_int_equal(store_touch(&store, "k", 0), STATUS_READ_ONLY);
    assert_int_equal(calculate(&store, (struct pool_arithmetic){.delta = 1}, &number, NULL),
                     STATUS_READ_ONLY);
    store_thread_refresh(&store.thread);
    assert_int_equal(pool_fetch(store.pool, &store.thread, bytes_from_string("missing"),
                                &(struct pool_fetch){.create = true}, &fetched),
                     STATUS_READ_ONLY);
    assert_int_equal(pool_flush(store.pool, &store.thread, 0), STATUS_READ_ONLY);
    expect_there(&store, "k", "1");
    struct pool_stats stats;
    store_stats(&store, &stats);
    assert_true(stats.read_only);
    store_reopen(&store); /* the disk works again */
    expect_there(&store, "k", "1");
    assert_int_equal(store_set(&store, "k", "2", 0), STATUS_OK);
    store_end(&store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(counters_count_what_happened),
        BOTH(bytes_are_accounted_for),
        cmocka_unit_test(after_a_failed_sync_the_pool_serves_and_takes_no_more_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
