/* pool_delete and pool_flush with each option, as described in pool.h. */
#include "operations.h"

static void a_deleted_item_is_gone(void **state) {
    struct store *store = *state;
    assert_int_equal(store_delete(store, "k"), STATUS_NOT_FOUND);
    store_set(store, "k", "v", 0);
    assert_int_equal(store_delete(store, "k"), STATUS_OK);
    expect_gone(store, "k");
    assert_int_equal(store_delete(store, "k"), STATUS_NOT_FOUND);
    store_set(store, "k", "v", CLOCK_START_S + 1);
    clock_advance_s(1);
    assert_int_equal(store_delete(store, "k"), STATUS_NOT_FOUND);
}

static void a_delete_that_names_a_cas_wants_that_one(void **state) {
    struct store *store = *state;
    struct pool_delete request = {.compare_cas = true, .cas = 1};
    assert_int_equal(delete_with(store, request), STATUS_NOT_FOUND);
    store_set(store, "k", "v", 0);
    request.cas = get(store).cas + 1;
    assert_int_equal(delete_with(store, request), STATUS_EXISTS);
    expect_there(store, "k", "v");
    request.cas--;
    assert_int_equal(delete_with(store, request), STATUS_OK);
    expect_gone(store, "k");
}

static void an_invalidating_delete_keeps_the_item_as_stale(void **state) {
    struct store *store = *state;
    set_with(store, (struct pool_store){.client_flags = 4, .expiry_s = LATER_S}, "v", NULL);
    uint64_t cas = get(store).cas;
    assert_int_equal(delete_with(store, (struct pool_delete){.invalidate = true}), STATUS_OK);
    struct item item = get(store);
    expect_text(item.value, "v");
    assert_true(item.stale && !item.token_sent);
    assert_true(item.cas > cas);
    assert_int_equal(item.client_flags, 4);
    assert_int_equal(item.expiry_s, LATER_S);
    struct pool_delete request = {.invalidate = true,
                                  .touch = true,
                                  .touch_expiry_s = LATER_S - 900,
                                  .set_cas = true,
                                  .new_cas = 31};
    assert_int_equal(delete_with(store, request), STATUS_OK);
    item = get(store);
    assert_int_equal(item.expiry_s, LATER_S - 900);
    assert_true(item.cas == 31);
}

static void an_invalidation_frees_the_token_again(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    store_set(store, "k", "v", 0);
    for (int i = 0; i < 3; i++) {
        delete_with(store, (struct pool_delete){.invalidate = true});
        fetch(store, (struct pool_fetch){.win_stale = true}, &fetched);
        assert_true(fetched.won);
    }
}

static void a_flush_forgets_all_and_what_comes_after_it_stays(void **state) {
    struct store *store = *state;
    for (unsigned number = 0; number < 500; number++) {
        assert_int_equal(store_set_number(store, number, 0, 50, number % 2 ? LATER_S : 0),
                         STATUS_OK);
    }
    flush(store, 0);
    for (unsigned number = 0; number < 500; number++) {
        EXPECT(!store_has_number(store, number, 0, 50));
    }
    store_set(store, "k", "v", 0);
    store_run_janitor(store, 3);
    expect_there(store, "k", "v");
    struct pool_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.items, 1);
    assert_true(stats.segments_free >= stats.segments - 2);
}

static void a_flushed_item_is_missing_for_every_operation(void **state) {
    struct store *store = *state;
    uint64_t number;
    struct pool_fetched fetched;
    store_set(store, "k", "1", 0);
    flush(store, clock_now_s());
    expect_gone(store, "k");
    assert_int_equal(store_touch(store, "k", LATER_S), STATUS_NOT_FOUND);
    assert_int_equal(store_delete(store, "k"), STATUS_NOT_FOUND);
    assert_int_equal(calculate(store, (struct pool_arithmetic){.delta = 1}, &number, NULL),
                     STATUS_NOT_FOUND);
    assert_int_equal(set_with(store, (struct pool_store){.mode = POOL_APPEND}, "x", NULL),
                     STATUS_NOT_STORED);
    assert_int_equal(set_with(store, (struct pool_store){.mode = POOL_REPLACE}, "x", NULL),
                     STATUS_NOT_STORED);
    assert_int_equal(fetch(store, (struct pool_fetch){.create = true}, &fetched), STATUS_OK);
    assert_true(fetched.created);
}

static void a_delayed_flush_comes_when_it_is_due(void **state) {
    struct store *store = *state;
    store_set(store, "before", "v", 0);
    flush(store, CLOCK_START_S + 10);
    store_set(store, "meanwhile", "v", 0);
    store->thread.now_s = CLOCK_START_S + 9;
    pool_tick(store->pool, &store->thread);
    expect_there(store, "before", "v");
    clock_set_s(CLOCK_START_S + 10);
    store_thread_refresh(&store->thread);
    pool_tick(store->pool, &store->thread);
    store_set(store, "after", "v", 0);
    expect_gone(store, "before");
    expect_gone(store, "meanwhile"); /* stored before the flush was due */
    expect_there(store, "after", "v");
    clock_advance_s(100);
    store_thread_refresh(&store->thread);
    pool_tick(store->pool, &store->thread);
    expect_there(store, "after", "v");
}

static void the_janitor_flushes_what_is_due_though_nobody_asks(void **state) {
    struct store *store = *state;
    store_set(store, "k", "v", 0);
    flush(store, CLOCK_START_S + 10);
    clock_set_s(CLOCK_START_S + 10);
    store_run_janitor(store, 1);
    expect_gone(store, "k");
}

static void a_later_flush_replaces_the_one_that_is_due(void **state) {
    struct store *store = *state;
    flush(store, CLOCK_START_S + 10);
    flush(store, CLOCK_START_S + 20);
    store_set(store, "k", "v", 0);
    clock_set_s(CLOCK_START_S + 15);
    store_run_janitor(store, 1);
    expect_there(store, "k", "v");
    flush(store, 0); /* an immediate flush replaces the delayed one */
    store_set(store, "k", "w", 0);
    clock_set_s(CLOCK_START_S + 25);
    store_run_janitor(store, 1);
    expect_there(store, "k", "w");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(a_deleted_item_is_gone),
        BOTH(a_delete_that_names_a_cas_wants_that_one),
        BOTH(an_invalidating_delete_keeps_the_item_as_stale),
        BOTH(an_invalidation_frees_the_token_again),
        BOTH(a_flush_forgets_all_and_what_comes_after_it_stays),
        BOTH(a_flushed_item_is_missing_for_every_operation),
        BOTH(a_delayed_flush_comes_when_it_is_due),
        BOTH(the_janitor_flushes_what_is_due_though_nobody_asks),
        BOTH(a_later_flush_replaces_the_one_that_is_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
