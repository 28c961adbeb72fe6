/* Flushes and crashes: items that a flush removed stay removed, and a delayed flush is performed
 * once. */
#include "recovery_support.h"

#include "store/pool_private.h"

#include <unistd.h>

static struct store store;

static void flush_between(struct store *child, void *argument) {
    store_many(child, argument);
    flush(child, 0);
    EXPECT(store_set(child, "after", "v", 0) == STATUS_OK);
}

static void a_flushed_item_does_not_come_back(void **state) {
    (void)state;
    unsigned count = 700;
    unsigned rounds = 10;
    store_crash(&store, flush_between, &count);
    for (int crash = 0; crash < 4; crash++) {
        store_survive(&store, run_churn, &rounds);
        for (unsigned number = 0; number < count; number++) {
            EXPECT(!store_has_number(&store, number, number % 7, number % 900));
        }
        expect_there(&store, "after", "v");
    }
}

static void what_a_flush_took_is_not_counted_after_a_crash(void **state) {
    (void)state;
    unsigned count = 700;
    struct pool_stats stats;
    store_survive(&store, flush_between, &count);
    store_stats(&store, &stats);
    assert_int_equal(stats.items, 1);
    assert_int_equal(stats.live_bytes, 24 + 8); /* sizes of "after" and "v", and padding */
}

/* Stores items until the first segment has been freed, and is open again. */
static void open_first_segment_again(struct store *child) {
    const struct segments *segments = &child->pool->segments;
    unsigned number = 0;
    while (segments->heads[0][SEGMENT_CLASSES - 1].segment < 24) {
        EXPECT(store_set_number(child, number++, 0, 1000, 0) == STATUS_OK);
    }
    for (unsigned deleted = 0; deleted < 70; deleted++) {
        EXPECT(store_delete_number(child, deleted) == STATUS_OK);
    }
    store_run_janitor(child, 2);
    while (segments->heads[0][SEGMENT_CLASSES - 1].segment > 0) {
        EXPECT(store_set_number(child, number++, 0, 1000, 0) == STATUS_OK);
    }
}

static void flush_until_a_sync_kills(struct store *child, void *argument) {
    open_first_segment_again(child);
    fault_die_at_sync(*(int *)argument);
    flush(child, 0);
    store_run_janitor(child, 10);
    fault_none();
}

/* The janitor visits the segment with the flush's record first. The items that the flush removes
 * are in many segments. */
static void a_flush_lasts_as_long_as_anything_that_it_keeps_down(void **state) {
    (void)state;
    for (int step = 1; step < 8; step++) {
        store_survive(&store, flush_until_a_sync_kills, &step);
        for (unsigned number = 0; number < 2000; number++) {
            EXPECT(!store_has_number(&store, number, 0, 1000));
        }
        store_close(&store);
        EXPECT(unlink(store.data_path) == 0 && unlink(store.index_path) == 0);
        store_open(&store);
    }
}

static void set_and_flush_later(struct store *child, void *argument) {
    EXPECT(store_set(child, "before", "v", 0) == STATUS_OK);
    flush(child, *(uint32_t *)argument);
    EXPECT(store_set(child, "meanwhile", "v", 0) == STATUS_OK);
}

static void a_flush_that_falls_due_while_no_daemon_runs_is_performed_at_the_start(void **state) {
    (void)state;
    uint32_t when_s = CLOCK_START_S + 60;
    store_crash(&store, set_and_flush_later, &when_s);
    clock_set_s(when_s);
    store_open(&store);
    expect_gone(&store, "before");
    expect_gone(&store, "meanwhile");
    EXPECT(store_set(&store, "after", "v", 0) == STATUS_OK);
    store_survive(&store, do_nothing, NULL); /* the flush is not performed again */
    expect_there(&store, "after", "v");
    expect_gone(&store, "before");
}

static void a_flush_that_is_still_due_survives_a_crash(void **state) {
    (void)state;
    uint32_t when_s = CLOCK_START_S + 60;
    unsigned rounds = 30;
    store_crash(&store, set_and_flush_later, &when_s);
    store_survive(&store, run_churn, &rounds); /* the flush's record is moved meanwhile */
    store_survive(&store, do_nothing, NULL);
    expect_there(&store, "before", "v");
    clock_set_s(when_s);
    store_run_janitor(&store, 1);
    expect_gone(&store, "before");
    expect_gone(&store, "meanwhile");
}

static void replace_due_flush(struct store *child, void *argument) {
    (void)argument;
    EXPECT(store_set(child, "k", "v", 0) == STATUS_OK);
    flush(child, CLOCK_START_S + 60);
    flush(child, CLOCK_START_S + 600);
}

static void cancel_due_flush(struct store *child, void *argument) {
    (void)argument;
    flush(child, 0);
    EXPECT(store_set(child, "k", "v", 0) == STATUS_OK);
}

static void a_flush_that_was_replaced_is_not_performed_after_a_crash(void **state) {
    (void)state;
    store_crash(&store, replace_due_flush, NULL);
    clock_set_s(CLOCK_START_S + 100);
    store_open(&store);
    expect_there(&store, "k", "v");
    store_crash(&store, cancel_due_flush, NULL);
    clock_set_s(CLOCK_START_S + 1000);
    store_open(&store);
    expect_there(&store, "k", "v");
}

#define PERSISTENT(test) STORE_TEST(test, .segments = 32, .persist = true)
#define BOTH(test)                                                                                 \
    STORE_TEST(test, .segments = 32, .persist = true),                                             \
        STORE_TEST(test, .segments = 12, .persist = true)

int main(void) {
    const struct CMUnitTest tests[] = {
        PERSISTENT(a_flushed_item_does_not_come_back),
        PERSISTENT(what_a_flush_took_is_not_counted_after_a_crash),
        PERSISTENT(a_flush_lasts_as_long_as_anything_that_it_keeps_down),
        PERSISTENT(a_flush_that_falls_due_while_no_daemon_runs_is_performed_at_the_start),
        BOTH(a_flush_that_is_still_due_survives_a_crash),
        PERSISTENT(a_flush_that_was_replaced_is_not_performed_after_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
