/* Expiry: exact to the second for readers; the memory of expired items is freed. */
#include "store_support.h"

#include "store/pool_private.h"

#include <time.h>

static struct store store;

static uint64_t counted(enum pool_counter counter) {
    struct pool_stats stats;
    store_stats(&store, &stats);
    return stats.counters[counter];
}

static void an_item_is_there_to_its_last_second_and_not_one_more(void **state) {
    (void)state;
    static const uint32_t ttls_s[] = {1, 2, 60, 300, 301, 3600, 86400, 14 * 86400, 400 * 86400};
    for (size_t i = 0; i < sizeof ttls_s / sizeof ttls_s[0]; i++) {
        clock_set_s(CLOCK_START_S);
        assert_int_equal(store_set(&store, "k", "v", CLOCK_START_S + ttls_s[i]), STATUS_OK);
        clock_set_s(CLOCK_START_S + ttls_s[i] - 1);
        store_run_janitor(&store, 2); /* nor does the janitor remove it earlier */
        expect_there(&store, "k", "v");
        clock_set_s(CLOCK_START_S + ttls_s[i]);
        expect_gone(&store, "k");
        store_run_janitor(&store, 2);
        expect_gone(&store, "k");
    }
}

static void an_item_without_an_expiry_stays(void **state) {
    (void)state;
    store_set(&store, "k", "v", 0);
    clock_set_s(UINT32_MAX - 1);
    store_run_janitor(&store, 2);
    expect_there(&store, "k", "v");
}

static void all_requests_of_a_batch_see_the_same_second(void **state) {
    (void)state;
    struct item item;
    store_set(&store, "k", "v", CLOCK_START_S + 1);
    store_thread_refresh(&store.thread);
    clock_advance_s(1); /* between two requests of one batch */
    assert_int_equal(pool_get(store.pool, &store.thread, bytes_from_string("k"), &item), STATUS_OK);
    store_thread_refresh(&store.thread);
    assert_int_equal(pool_get(store.pool, &store.thread, bytes_from_string("k"), &item),
                     STATUS_NOT_FOUND);
}

static void segments_that_fall_due_are_freed_whole(void **state) {
    (void)state;
    enum { ITEMS = 2000, SIZE = 500 };
    struct pool_stats stats;
    for (unsigned number = 0; number < ITEMS; number++) {
        store_set_number(&store, number, 0, SIZE, CLOCK_START_S + 100 + number % 50);
    }
    store_stats(&store, &stats);
    assert_true(stats.segments_free < 64 - 15);
    assert_true(store_has_number(&store, 0, 0, SIZE)); /* no other item is read */
    clock_advance_s(149);
    store_run_janitor(&store, 2);
    store_stats(&store, &stats);
    assert_int_equal(stats.segments_free, 64);
    assert_int_equal(stats.items, 0);
    assert_int_equal(stats.live_bytes, 0);
    assert_int_equal(stats.counters[POOL_EXPIRED_RECLAIMED], ITEMS);
    assert_int_equal(stats.counters[POOL_EXPIRED_UNFETCHED], ITEMS - 1);
    assert_int_equal(stats.counters[POOL_BYTES_MOVED], 0);
    struct pool_class_stats classes[POOL_TTL_CLASSES];
    pool_get_class_stats(store.pool, classes);
    assert_int_equal(classes[0].reclaimed, ITEMS);
    assert_int_equal(classes[0].expired_unfetched, ITEMS - 1);
}

static void items_of_different_lifetimes_lie_in_different_segments(void **state) {
    (void)state;
    enum { ITEMS = 500, SIZE = 500 };
    struct pool_stats stats;
    for (unsigned number = 0; number < 2 * ITEMS; number++) {
        uint32_t ttl_s = number % 2 ? 60 : 14 * 86400;
        store_set_number(&store, number, 0, SIZE, CLOCK_START_S + ttl_s);
    }
    store_stats(&store, &stats);
    uint32_t free_before = stats.segments_free;
    clock_advance_s(60);
    store_run_janitor(&store, 2);
    store_stats(&store, &stats);
    assert_true(stats.segments_free >= free_before + ITEMS * SIZE / STORE_SEGMENT);
    assert_int_equal(stats.items, ITEMS);
    assert_int_equal(stats.counters[POOL_BYTES_MOVED], 0);
    for (unsigned number = 0; number < 2 * ITEMS; number++) {
        EXPECT(store_has_number(&store, number, 0, SIZE) == (number % 2 == 0));
    }
}

static void expired_items_among_living_ones_are_swept(void **state) {
    (void)state;
    enum { ITEMS = 1000, SIZE = 500 };
    struct pool_stats stats;
    for (unsigned number = 0; number < ITEMS; number++) {
        /* Both are of the class of up to a month. */
        uint32_t ttl_s = number % 2 ? 9 * 86400 : 20 * 86400;
        store_set_number(&store, number, 0, SIZE, CLOCK_START_S + ttl_s);
    }
    clock_advance_s(9 * 86400);
    store_run_janitor(&store, 20); /* one segment each while there is no need */
    store_stats(&store, &stats);
    /* All of them except those in the segment that is still open. */
    assert_true(stats.items >= ITEMS / 2 && stats.items <= ITEMS / 2 + STORE_SEGMENT / SIZE / 2);
    assert_true(stats.live_bytes < (ITEMS / 2 + STORE_SEGMENT / SIZE / 2) * (SIZE + 40));
    for (unsigned number = 0; number < ITEMS; number++) {
        EXPECT(store_has_number(&store, number, 0, SIZE) == (number % 2 == 0));
    }
}

static void a_touched_item_lives_to_its_new_expiry_though_its_segment_falls_due(void **state) {
    (void)state;
    enum { ITEMS = 1000, SIZE = 200 };
    for (unsigned number = 0; number < ITEMS; number++) {
        store_set_number(&store, number, 0, SIZE, CLOCK_START_S + 100);
    }
    char key[POOL_KEY_MAX];
    for (unsigned number = 0; number < ITEMS; number += 10) {
        number_key(key, number);
        assert_int_equal(store_touch(&store, key, CLOCK_START_S + 200), STATUS_OK);
    }
    clock_set_s(CLOCK_START_S + 100);
    store_run_janitor(&store, 3);
    for (unsigned number = 0; number < ITEMS; number++) {
        EXPECT(store_has_number(&store, number, 0, SIZE) == (number % 10 == 0));
    }
    clock_set_s(CLOCK_START_S + 199);
    store_run_janitor(&store, 3);
    EXPECT(store_has_number(&store, 0, 0, SIZE));
    clock_set_s(CLOCK_START_S + 200);
    EXPECT(!store_has_number(&store, 0, 0, SIZE));
}

static void a_miss_for_expiry_is_counted_as_one(void **state) {
    (void)state;
    store_thread_refresh(&store.thread);
    store_set(&store, "k", "v", CLOCK_START_S + 1);
    store.thread.now_s++; /* the janitor's clock stands still, so the janitor cannot be faster */
    struct item item;
    assert_int_equal(pool_get(store.pool, &store.thread, bytes_from_string("k"), &item),
                     STATUS_NOT_FOUND);
    assert_int_equal(counted(POOL_GET_EXPIRED), 1);
    assert_int_equal(counted(POOL_GET_FLUSHED), 0);
    assert_int_equal(pool_flush(store.pool, &store.thread, 0), STATUS_OK);
    store_thread_refresh(&store.thread);
}

static void an_old_item_that_expires_makes_way_for_a_new_one_at_once(void **state) {
    (void)state;
    struct pool_stats stats;
    for (unsigned round = 0; round < 100; round++) {
        assert_int_equal(store_set(&store, "k", "v", clock_now_s() + 1), STATUS_OK);
        expect_there(&store, "k", "v");
        clock_advance_s(1);
        expect_gone(&store, "k");
    }
    store_run_janitor(&store, 2);
    store_stats(&store, &stats);
    assert_int_equal(stats.items, 0);
    assert_int_equal(stats.live_bytes, 0);
}

#define BOTH(test)                                                                                 \
    STORE_TEST(test, .segments = 64), STORE_TEST(test, .segments = 64, .persist = true)

/* How many passes the janitor has made, and how many segments it has checked in them. */
static void count_looks(uint64_t *passes, uint32_t *looked) {
    bool between = false;
    while (!between) {
        pthread_mutex_lock(&store.pool->room.lock);
        between = store.pool->room.begun == store.pool->room.ended;
        if (between) {
            *passes = store.pool->room.ended;
            *looked = store.pool->janitor.looked;
        }
        pthread_mutex_unlock(&store.pool->room.lock);
    }
}

/* In a pool as large as this, a pass of the janitor checks only a part of the segments. */
static void a_pool_of_many_segments_is_looked_at_in_turn(void **state) {
    (void)state;
    enum { ITEMS = 1000, SIZE = 500, PASSES = 20 };
    store_close(&store);
    store.options.memory_bytes = UINT64_C(64) << 30; /* memory is allocated only when it is used */
    store_open(&store);
    uint32_t segments = store.pool->view.segment_count;
    uint64_t passes_before;
    uint64_t passes;
    uint32_t looked_before;
    uint32_t looked;
    count_looks(&passes_before, &looked_before);
    store_run_janitor(&store, 3);
    count_looks(&passes, &looked);
    assert_true(looked - looked_before <= (passes - passes_before) * (segments / 4));
    for (unsigned number = 0; number < ITEMS; number++) {
        store_set_number(&store, number, 0, SIZE, CLOCK_START_S + 100 + number % 2 * 86400);
    }
    clock_advance_s(100);
    store_run_janitor(&store, PASSES);
    struct pool_stats stats;
    store_stats(&store, &stats);
    assert_int_equal(stats.items, ITEMS / 2);
    clock_advance_s(86400);
    store_run_janitor(&store, PASSES);
    store_stats(&store, &stats);
    assert_int_equal(stats.items, 0);
    assert_int_equal(stats.segments_free, stats.segments);
}

/* Counts the segments with an expired item, and the janitor's passes. False: a pass has not ended.
 */
static bool count_due(uint64_t *passes, uint32_t *due) {
    pthread_mutex_lock(&store.pool->room.lock);
    bool between = store.pool->room.begun == store.pool->room.ended;
    *passes = store.pool->room.ended;
    *due = 0;
    for (uint32_t segment = 0; segment < store.pool->view.segment_count; segment++) {
        const struct layout_segment *info = &store.pool->view.segments[segment];
        *due += atomic_load(&info->state) != LAYOUT_SEGMENT_FREE &&
                atomic_load(&info->first_expiry_s) <= clock_now_s();
    }
    pthread_mutex_unlock(&store.pool->room.lock);
    return between;
}

/* Writes that wait for room must not wait until the janitor has swept all segments. A sweep is slow
 * here, because it waits until this thread is between two batches. */
static void a_pass_sweeps_for_a_bounded_time(void **state) {
    (void)state;
    enum { SEGMENTS = 64, SIZE = 1000, DAY_S = 86400, MOST = 20, BATCH_NS = 4000000 };
    store_close(&store);
    store.options.memory_bytes = SEGMENTS * STORE_SEGMENT;
    store_open(&store);
    for (unsigned number = 0;
         store_set_number(&store, number, 0, SIZE, CLOCK_START_S + (number % 2 ? 3 : 5) * DAY_S) ==
         STATUS_OK;
         number++) {
    }
    store_thread_refresh(&store.thread);
    uint64_t passes_before;
    uint64_t passes;
    uint32_t due_before;
    uint32_t due;
    while (!count_due(&passes_before, &due_before)) {
    }
    clock_advance_s(3 * DAY_S);
    count_due(&passes, &due_before);
    assert_true(due_before > SEGMENTS / 2);
    while (due_before > SEGMENTS / 4) {
        if (count_due(&passes, &due)) {
            assert_true(due_before <= due + MOST * (passes - passes_before));
            passes_before = passes;
            due_before = due;
        }
        struct timespec batch = {.tv_nsec = BATCH_NS};
        nanosleep(&batch, NULL);
        store_thread_refresh(&store.thread);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(an_item_is_there_to_its_last_second_and_not_one_more),
        BOTH(an_item_without_an_expiry_stays),
        BOTH(all_requests_of_a_batch_see_the_same_second),
        BOTH(segments_that_fall_due_are_freed_whole),
        BOTH(items_of_different_lifetimes_lie_in_different_segments),
        BOTH(expired_items_among_living_ones_are_swept),
        BOTH(a_touched_item_lives_to_its_new_expiry_though_its_segment_falls_due),
        BOTH(a_miss_for_expiry_is_counted_as_one),
        BOTH(an_old_item_that_expires_makes_way_for_a_new_one_at_once),
        STORE_TEST(a_pool_of_many_segments_is_looked_at_in_turn, .segments = 64),
        STORE_TEST(a_pass_sweeps_for_a_bounded_time, .segments = 64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
