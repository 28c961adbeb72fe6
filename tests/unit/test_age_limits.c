/* idle_timeout and max_lifetime that have another value at the next start: items that have expired
 * by the earlier limits stay expired; the new limits apply to all other items. */
#include "store_support.h"

enum { LIMIT_S = 100, LONGER_S = 1000 };

static struct store store;

enum limit { IDLE, LIFE };

static void set_limit(enum limit limit, uint32_t seconds) {
    store.options.idle_timeout_s = limit == IDLE ? seconds : 0;
    store.options.max_lifetime_s = limit == LIFE ? seconds : 0;
}

static void begin(enum limit limit, uint32_t seconds) {
    struct pool_options options = store_options(16);
    options.persist = true;
    options.idle_timeout_s = limit == IDLE ? seconds : 0;
    options.max_lifetime_s = limit == LIFE ? seconds : 0;
    clock_set_s(CLOCK_START_S);
    store_begin(&store, options);
}

/* Stores "old" twice, so that an earlier version lies behind it; later stores "young". */
static void fill(struct store *filled, void *unused) {
    (void)unused;
    store_set(filled, "old", "1", 0);
    store_set(filled, "old", "2", 0);
    clock_advance_s(LIMIT_S - 20);
    store_set(filled, "young", "1", 0);
}

static void do_nothing(struct store *unused, void *unused_too) {
    (void)unused;
    (void)unused_too;
}

static void expect_old_gone(void) {
    expect_gone(&store, "old");
    expect_there(&store, "young", "1");
    store_survive(&store, do_nothing, NULL); /* recovery from the data alone has the same result */
    expect_gone(&store, "old");
    expect_there(&store, "young", "1");
}

/* The shorter limit runs out while no daemon runs, so that nobody reclaims anything. */
static void check_idle(uint32_t longer_s, bool crash) {
    begin(IDLE, LIMIT_S);
    if (crash) {
        store_crash(&store, fill, NULL);
        clock_set_s(CLOCK_START_S + LIMIT_S - 20); /* the child set only its own clock */
    } else {
        fill(&store, NULL);
        store_close(&store);
    }
    clock_advance_s(30);
    set_limit(IDLE, longer_s);
    store_open(&store);
    expect_old_gone();
    clock_advance_s(LIMIT_S - 40); /* now young is idle for longer than the shorter limit */
    store_set(&store, "other", "1", 0);
    clock_advance_s(LIMIT_S - 40);
    expect_there(&store, "young", "1");
    store_reopen(&store);
    expect_there(&store, "young", "1");
    store_end(&store);
}

/* An item that is stored now would get an expiry at the limit. These items are older than the
 * shorter limit. */
static void check_life(uint32_t longer_s, bool crash) {
    begin(LIFE, LONGER_S);
    fill(&store, NULL);
    store_close(&store);
    clock_advance_s(30);
    set_limit(LIFE, LIMIT_S);
    if (crash) {
        store_crash(&store, do_nothing, NULL);
    } else {
        store_open(&store);
        expect_gone(&store, "old");
        store_close(&store);
    }
    set_limit(LIFE, longer_s);
    store_open(&store);
    expect_old_gone();
    store_end(&store);
}

static void a_longer_limit_brings_back_nothing_that_the_shorter_one_ended(void **state) {
    (void)state;
    for (int crash = 0; crash < 2; crash++) {
        check_idle(LONGER_S, crash);
        check_idle(0, crash);
        check_life(LONGER_S, crash);
        check_life(0, crash);
    }
}

static void a_shorter_limit_is_noted_too(void **state) {
    (void)state;
    begin(IDLE, LONGER_S);
    fill(&store, NULL);
    store_close(&store);
    set_limit(IDLE, LIMIT_S);
    clock_advance_s(30);
    store_open(&store);
    store_close(&store);
    set_limit(IDLE, LONGER_S);
    store_open(&store);
    expect_old_gone();
    store_end(&store);
}

static void a_start_with_a_longer_limit_may_die_at_any_sync(void **state) {
    (void)state;
    for (int sync = 1; sync < 5; sync++) {
        begin(IDLE, LIMIT_S);
        fill(&store, NULL);
        store_close(&store);
        clock_advance_s(30);
        set_limit(IDLE, LONGER_S);
        fault_die_at_sync(sync);
        store_survive(&store, do_nothing, NULL);
        expect_old_gone();
        store_end(&store);
    }
}

static void a_failed_sync_leaves_the_old_limit_noted(void **state) {
    (void)state;
    begin(IDLE, LIMIT_S);
    fill(&store, NULL);
    store_close(&store);
    clock_advance_s(30);
    set_limit(IDLE, LONGER_S);
    fault_fail_syncs(true);
    assert_non_null(strstr(store_open_error(&store), "cannot write"));
    fault_none();
    clock_advance_s(60); /* young is idle for 90 s, and under no limit that was ever in force */
    store_open(&store);
    expect_old_gone();
    store_end(&store);
}

/* As after a boot with a wrong clock: such a clock must not end an item for good, and no expired
 * item may come back. */
static void a_clock_in_doubt_leaves_the_shorter_limit_in_force(void **state) {
    (void)state;
    begin(IDLE, LIMIT_S);
    fill(&store, NULL);
    store_close(&store);
    set_limit(IDLE, LONGER_S);
    clock_step_s(10 * LONGER_S);
    store_open(&store);
    assert_int_equal(pool_get_options(store.pool)->idle_timeout_s, LIMIT_S);
    expect_gone(&store, "young");
    store_close(&store);
    clock_step_s(-10 * LONGER_S);
    clock_advance_s(30);
    store_open(&store);
    assert_int_equal(pool_get_options(store.pool)->idle_timeout_s, LONGER_S);
    expect_old_gone();
    store_end(&store);
}

static void the_memory_of_what_had_ended_comes_back(void **state) {
    (void)state;
    struct pool_stats stats;
    begin(LIFE, LIMIT_S);
    for (unsigned number = 0; number < 200; number++) {
        store_set_number(&store, number, 0, 1000, 0);
    }
    store_close(&store);
    clock_advance_s(LIMIT_S);
    set_limit(LIFE, 0);
    store_open(&store); /* with the index that the stop left */
    store_run_janitor(&store, 2);
    store_stats(&store, &stats);
    assert_int_equal(stats.items, 0);
    assert_int_equal(stats.live_bytes, 0);
    store_end(&store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_longer_limit_brings_back_nothing_that_the_shorter_one_ended),
        cmocka_unit_test(a_shorter_limit_is_noted_too),
        cmocka_unit_test(a_start_with_a_longer_limit_may_die_at_any_sync),
        cmocka_unit_test(a_failed_sync_leaves_the_old_limit_noted),
        cmocka_unit_test(a_clock_in_doubt_leaves_the_shorter_limit_in_force),
        cmocka_unit_test(the_memory_of_what_had_ended_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
