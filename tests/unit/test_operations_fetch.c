/* pool_get and pool_fetch with each option, as described in pool.h. */
#include "operations.h"

#include "base/hash.h"

static void a_get_marks_the_item_as_fetched(void **state) {
    struct store *store = *state;
    store_set(store, "k", "v", 0);
    assert_false(get(store).fetched); /* not before this one */
    assert_true(get(store).fetched);
    store_set(store, "k", "w", 0);
    assert_false(get(store).fetched);
}

static void an_unnoticed_fetch_leaves_no_trace(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    store_set(store, "k", "v", 0);
    clock_advance_s(10);
    assert_int_equal(fetch(store, (struct pool_fetch){.unnoticed = true}, &fetched), STATUS_OK);
    assert_int_equal(fetch(store, (struct pool_fetch){.unnoticed = true}, &fetched), STATUS_OK);
    assert_false(fetched.item.fetched);
    assert_int_equal(fetched.item.accessed_s, CLOCK_START_S);
}

static void the_last_access_is_noted(void **state) {
    struct store *store = *state;
    store_set(store, "k", "v", 0);
    clock_advance_s(10);
    get(store);
    clock_advance_s(10);
    assert_int_equal(get(store).accessed_s,
                     store->options.persist ? CLOCK_START_S : CLOCK_START_S + 10);
}

static void a_fetch_without_wishes_is_a_get(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    assert_int_equal(fetch(store, (struct pool_fetch){0}, &fetched), STATUS_NOT_FOUND);
    store_set(store, "k", "v", LATER_S);
    uint64_t cas = get(store).cas;
    assert_int_equal(fetch(store, (struct pool_fetch){0}, &fetched), STATUS_OK);
    expect_text(fetched.item.value, "v");
    assert_int_equal(fetched.expiry_before_s, LATER_S);
    assert_false(fetched.created || fetched.won || fetched.token_sent);
    assert_true(fetched.item.cas == cas);
}

static void a_touch_changes_the_expiry_and_nothing_else(void **state) {
    struct store *store = *state;
    static const uint32_t expiries_s[] = {LATER_S + 500, LATER_S - 500, 0, LATER_S};
    struct pool_fetched fetched;
    struct pool_fetch request = {.touch = true};
    assert_int_equal(fetch(store, request, &fetched), STATUS_NOT_FOUND);
    set_with(store, (struct pool_store){.client_flags = 77, .expiry_s = LATER_S}, "v", NULL);
    struct item before = get(store);
    for (int i = 0; i < 4; i++) {
        uint32_t before_s = get(store).expiry_s;
        request.touch_expiry_s = expiries_s[i];
        assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
        assert_int_equal(fetched.expiry_before_s, before_s);
        assert_false(fetched.created || fetched.won);
        for (int again = 0; again < 2; again++) {
            expect_text(fetched.item.value, "v");
            assert_int_equal(fetched.item.expiry_s, expiries_s[i]);
            assert_int_equal(fetched.item.client_flags, 77);
            assert_true(fetched.item.cas == before.cas);
            fetched.item = get(store);
        }
    }
}

static void a_touch_into_the_past_removes_the_item(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    store_set(store, "k", "v", 0);
    assert_int_equal(
        fetch(store, (struct pool_fetch){.touch = true, .touch_expiry_s = CLOCK_START_S}, &fetched),
        STATUS_OK);
    expect_text(fetched.item.value, "v");
    expect_gone(store, "k");
    assert_int_equal(store_touch(store, "k", LATER_S), STATUS_NOT_FOUND);
}

static void a_touch_counts_as_a_read(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    store_set(store, "k", "v", LATER_S);
    struct pool_fetch request = {.touch = true, .touch_expiry_s = LATER_S};
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_true(get(store).fetched);
    /* The new item continues the old item's read count, which eviction uses. */
    store_set(store, "k", "v", LATER_S);
    for (int i = 0; i < 5; i++) {
        fetch(store, request, &fetched);
    }
    struct lookup_hit hit;
    uint64_t hash = hash_key(store->pool->view.hash_seed, KEY);
    assert_int_equal(lookup_find(&store->pool->view, hash, KEY, &hit), LOOKUP_FOUND);
    assert_int_equal(layout_slot_frequency(hit.slot_value), store->options.evict ? 5 : 1);
}

static void a_fetch_that_asks_for_a_recache_counts_as_a_read(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    store_set(store, "k", "v", LATER_S);
    struct pool_fetch request = {.recache = true, .recache_s = 10};
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_false(fetched.won);
    assert_true(get(store).fetched);
}

static void a_fetch_may_create_what_is_missing(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    struct pool_fetch request = {.create = true, .create_expiry_s = LATER_S};
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_true(fetched.created && fetched.won && !fetched.token_sent);
    assert_int_equal(fetched.item.value.size, 0);
    assert_int_equal(fetched.item.expiry_s, LATER_S);
    assert_int_equal(get(store).value.size, 0);
    uint64_t cas = get(store).cas;
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_false(fetched.created || fetched.won);
    assert_true(fetched.token_sent); /* another client refreshes it */
    assert_true(fetched.item.cas == cas);
    store_set(store, "k", "v", LATER_S);
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    expect_text(fetched.item.value, "v");
    assert_false(fetched.created || fetched.won || fetched.token_sent);
}

static void what_a_fetch_creates_gets_the_cas_that_is_asked_for(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    struct pool_fetch request = {.create = true, .set_cas = true, .new_cas = 12345};
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_true(fetched.item.cas == 12345);
    assert_true(get(store).cas == 12345);
}

static void one_caller_wins_the_recache_of_an_item_that_expires_soon(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    struct pool_fetch request = {.recache = true, .recache_s = 30};
    store_set(store, "k", "v", CLOCK_START_S + 30);
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_false(fetched.won || fetched.token_sent); /* 30 seconds are left */
    clock_advance_s(1);
    uint64_t cas = get(store).cas;
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_true(fetched.won && !fetched.token_sent);
    expect_text(fetched.item.value, "v");
    assert_int_equal(fetched.item.expiry_s, CLOCK_START_S + 30);
    assert_true(fetched.item.cas == cas);
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_true(!fetched.won && fetched.token_sent);
    assert_int_equal(fetch(store, (struct pool_fetch){0}, &fetched), STATUS_OK);
    assert_true(!fetched.won && fetched.token_sent);
    store_set(store, "k", "w", CLOCK_START_S + 10); /* so the next reader may win again */
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_true(fetched.won && !fetched.token_sent);
    store_set(store, "k", "w", 0); /* never expires, so no client needs to refresh it */
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_false(fetched.won);
}

static void a_fetch_that_touches_recaches_by_the_new_expiry(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    struct pool_fetch request = {
        .touch = true, .touch_expiry_s = LATER_S, .recache = true, .recache_s = 30};
    store_set(store, "k", "v", CLOCK_START_S + 5);
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_false(fetched.won);
    request.touch_expiry_s = CLOCK_START_S + 5;
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_true(fetched.won);
    assert_int_equal(fetched.expiry_before_s, LATER_S);
}

static void one_caller_wins_a_stale_item_where_that_is_asked_for(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    store_set(store, "k", "v", 0);
    assert_int_equal(delete_with(store, (struct pool_delete){.invalidate = true}), STATUS_OK);
    assert_int_equal(fetch(store, (struct pool_fetch){0}, &fetched), STATUS_OK);
    assert_true(fetched.item.stale && !fetched.won && !fetched.token_sent);
    assert_int_equal(fetch(store, (struct pool_fetch){.win_stale = true}, &fetched), STATUS_OK);
    assert_true(fetched.item.stale && fetched.won && !fetched.token_sent);
    expect_text(fetched.item.value, "v");
    assert_int_equal(fetch(store, (struct pool_fetch){.win_stale = true}, &fetched), STATUS_OK);
    assert_true(fetched.item.stale && !fetched.won && fetched.token_sent);
    store_set(store, "k", "w", 0);
    assert_int_equal(fetch(store, (struct pool_fetch){.win_stale = true}, &fetched), STATUS_OK);
    assert_false(fetched.item.stale || fetched.won || fetched.token_sent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(a_get_marks_the_item_as_fetched),
        BOTH(an_unnoticed_fetch_leaves_no_trace),
        BOTH(the_last_access_is_noted),
        BOTH(a_fetch_without_wishes_is_a_get),
        BOTH(a_touch_changes_the_expiry_and_nothing_else),
        BOTH(a_touch_into_the_past_removes_the_item),
        BOTH(a_touch_counts_as_a_read),
        BOTH(a_fetch_that_asks_for_a_recache_counts_as_a_read),
        BOTH(a_fetch_may_create_what_is_missing),
        BOTH(what_a_fetch_creates_gets_the_cas_that_is_asked_for),
        BOTH(one_caller_wins_the_recache_of_an_item_that_expires_soon),
        BOTH(a_fetch_that_touches_recaches_by_the_new_expiry),
        BOTH(one_caller_wins_a_stale_item_where_that_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
