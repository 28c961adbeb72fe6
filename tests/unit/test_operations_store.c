/* pool_store with each of its modes and options, as described in pool.h. */
#include "operations.h"

static void a_set_item_has_its_value_flags_and_expiry(void **state) {
    struct store *store = *state;
    struct item item;
    struct pool_store request = {.client_flags = 0xfedcba98, .expiry_s = LATER_S};
    assert_int_equal(set_with(store, request, "v\0w", &item), STATUS_OK);
    expect_text(item.value, "v");
    request.value = bytes_from("\0\r\n\xff", 4);
    store_thread_refresh(&store->thread);
    assert_int_equal(pool_store(store->pool, &store->thread, KEY, &request, &item), STATUS_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(item.value.size, 4);
        assert_memory_equal(item.value.data, "\0\r\n\xff", 4);
        expect_text(item.key, "k");
        assert_int_equal(item.client_flags, 0xfedcba98);
        assert_int_equal(item.expiry_s, LATER_S);
        assert_int_equal(item.accessed_s, CLOCK_START_S);
        assert_true(item.cas != 0);
        assert_false(item.fetched || item.stale || item.token_sent);
        item = get(store);
    }
}

static void keys_are_any_bytes_up_to_the_longest(void **state) {
    struct store *store = *state;
    char longest[POOL_KEY_MAX];
    memset(longest, 0xff, sizeof longest);
    struct bytes keys[] = {
        bytes_from("\0", 1),
        bytes_from("\0\0", 2),
        bytes_from(longest, sizeof longest),
        bytes_from(longest, sizeof longest - 1),
        bytes_from(" \r\n", 3),
    };
    enum { KEYS = sizeof keys / sizeof keys[0] };
    for (unsigned i = 0; i < KEYS; i++) {
        struct pool_store request = {.value = bytes_from((const char *)&i, sizeof i)};
        store_thread_refresh(&store->thread);
        assert_int_equal(pool_store(store->pool, &store->thread, keys[i], &request, NULL),
                         STATUS_OK);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        struct item item;
        store_thread_refresh(&store->thread);
        assert_int_equal(pool_get(store->pool, &store->thread, keys[i], &item), STATUS_OK);
        assert_true(bytes_equal(item.value, bytes_from((const char *)&i, sizeof i)));
        assert_true(bytes_equal(item.key, keys[i]));
    }
}

static void each_store_gives_a_higher_cas(void **state) {
    struct store *store = *state;
    uint64_t before = 0;
    for (int i = 0; i < 100; i++) {
        struct item item;
        assert_int_equal(set_with(store, (struct pool_store){0}, "v", &item), STATUS_OK);
        assert_true(item.cas > before);
        assert_true(get(store).cas == item.cas);
        before = item.cas;
    }
}

static void each_mode_stores_on_its_condition(void **state) {
    struct store *store = *state;
    static const struct {
        enum pool_store_mode mode;
        enum status missing;
        enum status present;
        const char *value; /* after a store of "new" over "old" */
    } cases[] = {
        {POOL_SET, STATUS_OK, STATUS_OK, "new"},
        {POOL_ADD, STATUS_OK, STATUS_NOT_STORED, "old"},
        {POOL_REPLACE, STATUS_NOT_STORED, STATUS_OK, "new"},
        {POOL_APPEND, STATUS_NOT_STORED, STATUS_OK, "oldnew"},
        {POOL_PREPEND, STATUS_NOT_STORED, STATUS_OK, "newold"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pool_store request = {.mode = cases[i].mode};
        store_delete(store, "k");
        assert_int_equal(set_with(store, request, "new", NULL), cases[i].missing);
        if (cases[i].missing == STATUS_OK) {
            expect_there(store, "k", "new");
        } else {
            expect_gone(store, "k");
        }
        assert_int_equal(store_set(store, "k", "old", 0), STATUS_OK);
        uint64_t cas = get(store).cas;
        assert_int_equal(set_with(store, request, "new", NULL), cases[i].present);
        expect_there(store, "k", cases[i].value);
        assert_int_equal(get(store).cas != cas, cases[i].present == STATUS_OK);
    }
}

static void an_expired_item_is_missing_for_every_mode(void **state) {
    struct store *store = *state;
    static const enum pool_store_mode stored[] = {POOL_SET, POOL_ADD};
    static const enum pool_store_mode refused[] = {POOL_REPLACE, POOL_APPEND, POOL_PREPEND};
    for (int i = 0; i < 2; i++) {
        store_set(store, "k", "old", clock_now_s() + 1);
        clock_advance_s(1);
        assert_int_equal(set_with(store, (struct pool_store){.mode = stored[i]}, "new", NULL),
                         STATUS_OK);
        expect_there(store, "k", "new");
    }
    for (int i = 0; i < 3; i++) {
        store_set(store, "k", "old", clock_now_s() + 1);
        clock_advance_s(1);
        assert_int_equal(set_with(store, (struct pool_store){.mode = refused[i]}, "new", NULL),
                         STATUS_NOT_STORED);
        expect_gone(store, "k");
    }
}

static void appended_items_keep_their_own_flags_and_expiry(void **state) {
    struct store *store = *state;
    struct pool_store first = {.client_flags = 7, .expiry_s = LATER_S};
    set_with(store, first, "b", NULL);
    struct pool_store more = {.mode = POOL_APPEND, .client_flags = 9, .expiry_s = 1};
    struct item item;
    assert_int_equal(set_with(store, more, "c", &item), STATUS_OK);
    expect_text(item.value, "bc");
    more.mode = POOL_PREPEND;
    assert_int_equal(set_with(store, more, "a", &item), STATUS_OK);
    expect_text(item.value, "abc");
    assert_int_equal(item.client_flags, 7);
    assert_int_equal(item.expiry_s, LATER_S);
    assert_int_equal(set_with(store, (struct pool_store){.mode = POOL_APPEND}, "", &item),
                     STATUS_OK);
    expect_text(item.value, "abc");
}

static void an_append_may_create_what_is_missing(void **state) {
    struct store *store = *state;
    struct pool_store request = {.mode = POOL_APPEND,
                                 .client_flags = 3,
                                 .expiry_s = 1,
                                 .create = true,
                                 .create_expiry_s = LATER_S};
    struct item item;
    assert_int_equal(set_with(store, request, "a", &item), STATUS_OK);
    expect_text(item.value, "a");
    assert_int_equal(item.expiry_s, LATER_S);
    assert_int_equal(item.client_flags, 3);
    request.create_expiry_s = 2;
    request.mode = POOL_PREPEND;
    assert_int_equal(set_with(store, request, "b", &item), STATUS_OK);
    expect_text(item.value, "ba");
    assert_int_equal(item.expiry_s, LATER_S);
}

static void a_store_that_names_a_cas_wants_that_one(void **state) {
    struct store *store = *state;
    struct pool_store request = {.compare_cas = true, .cas = 1};
    assert_int_equal(set_with(store, request, "new", NULL), STATUS_NOT_FOUND);
    store_set(store, "k", "old", 0);
    uint64_t cas = get(store).cas;
    request.cas = cas + 1;
    assert_int_equal(set_with(store, request, "new", NULL), STATUS_EXISTS);
    request.cas = cas - 1;
    assert_int_equal(set_with(store, request, "new", NULL), STATUS_EXISTS);
    request.cas = 0;
    assert_int_equal(set_with(store, request, "new", NULL), STATUS_EXISTS);
    expect_there(store, "k", "old");
    request.cas = cas;
    assert_int_equal(set_with(store, request, "new", NULL), STATUS_OK);
    assert_int_equal(set_with(store, request, "newer", NULL), STATUS_EXISTS);
    expect_there(store, "k", "new");
    static const enum pool_store_mode modes[] = {POOL_REPLACE, POOL_APPEND, POOL_PREPEND};
    for (int i = 0; i < 3; i++) {
        request.mode = modes[i];
        request.cas = cas;
        assert_int_equal(set_with(store, request, "x", NULL), STATUS_EXISTS);
        request.cas = get(store).cas;
        assert_int_equal(set_with(store, request, "x", NULL), STATUS_OK);
    }
}

static void an_invalidating_store_with_an_old_cas_leaves_a_stale_item(void **state) {
    struct store *store = *state;
    store_set(store, "other", "v", 0); /* so that the item's CAS is not 1 */
    store_set(store, "k", "old", LATER_S);
    struct item old = get(store);
    struct pool_store request = {.compare_cas = true,
                                 .invalidate = true,
                                 .cas = old.cas - 1,
                                 .client_flags = 5,
                                 .expiry_s = LATER_S + 5};
    struct item item;
    assert_int_equal(set_with(store, request, "new", &item), STATUS_OK);
    expect_text(item.value, "new");
    assert_true(item.stale);
    assert_false(item.token_sent);
    assert_int_equal(item.client_flags, 5);
    assert_int_equal(item.expiry_s, LATER_S);
    assert_true(item.cas > old.cas);
    request.cas = item.cas + 1; /* a higher CAS does not invalidate the item */
    assert_int_equal(set_with(store, request, "newer", &item), STATUS_EXISTS);
    request.cas = get(store).cas; /* the right CAS makes the item fresh again */
    assert_int_equal(set_with(store, request, "fresh", &item), STATUS_OK);
    assert_false(item.stale);
    assert_int_equal(item.expiry_s, LATER_S + 5);
}

static void a_stale_store_keeps_the_token_that_was_sent(void **state) {
    struct store *store = *state;
    struct pool_fetched fetched;
    store_set(store, "k", "old", 0);
    delete_with(store, (struct pool_delete){.invalidate = true});
    assert_int_equal(fetch(store, (struct pool_fetch){.win_stale = true}, &fetched), STATUS_OK);
    assert_true(fetched.won);
    struct item item;
    struct pool_store request = {
        .compare_cas = true, .invalidate = true, .cas = fetched.item.cas - 1};
    assert_int_equal(set_with(store, request, "new", &item), STATUS_OK);
    assert_true(item.stale && item.token_sent);
    assert_int_equal(fetch(store, (struct pool_fetch){.win_stale = true}, &fetched), STATUS_OK);
    assert_false(fetched.won);
    assert_true(fetched.token_sent);
}

static void the_cas_can_be_given(void **state) {
    struct store *store = *state;
    struct item item;
    struct pool_store request = {.set_cas = true, .new_cas = UINT64_MAX};
    assert_int_equal(set_with(store, request, "v", &item), STATUS_OK);
    assert_true(item.cas == UINT64_MAX);
    assert_true(get(store).cas == UINT64_MAX);
    assert_int_equal(store_touch(store, "k", LATER_S), STATUS_OK);
    assert_true(get(store).cas == UINT64_MAX);
    request = (struct pool_store){.compare_cas = true, .cas = UINT64_MAX, .set_cas = true};
    request.new_cas = 5;
    assert_int_equal(set_with(store, request, "w", &item), STATUS_OK);
    assert_true(item.cas == 5);
    request = (struct pool_store){.set_cas = true, .new_cas = 0};
    assert_int_equal(set_with(store, request, "x", &item), STATUS_OK);
    assert_true(item.cas != 0);
}

static void a_store_that_has_expired_at_once_leaves_nothing(void **state) {
    struct store *store = *state;
    static const uint32_t expired_s[] = {1, CLOCK_START_S - 1, CLOCK_START_S};
    for (int i = 0; i < 3; i++) {
        struct item item;
        struct pool_store request = {.expiry_s = expired_s[i]};
        assert_int_equal(set_with(store, request, "v", &item), STATUS_OK);
        expect_text(item.value, "v");
        assert_true(item.cas != 0);
        expect_gone(store, "k");
        store_set(store, "k", "old", 0);
        assert_int_equal(set_with(store, request, "v", &item), STATUS_OK);
        expect_gone(store, "k");
    }
    struct pool_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.items, 0);
    assert_int_equal(stats.live_bytes, 0);
}

static void an_item_above_item_max_is_too_large_and_the_old_one_stays(void **state) {
    struct store *store = *state;
    uint32_t item_max = store->options.item_max_bytes;
    char *value = calloc(1, item_max + 1);
    struct pool_store request = {.value = bytes_from(value, item_max - 1)};
    store_thread_refresh(&store->thread);
    assert_int_equal(pool_store(store->pool, &store->thread, KEY, &request, NULL), STATUS_OK);
    request.value.size++;
    assert_int_equal(pool_store(store->pool, &store->thread, KEY, &request, NULL),
                     STATUS_TOO_LARGE);
    assert_int_equal(get(store).value.size, item_max - 1);
    assert_int_equal(set_with(store, (struct pool_store){.mode = POOL_APPEND}, "x", NULL),
                     STATUS_TOO_LARGE);
    assert_int_equal(set_with(store, (struct pool_store){.mode = POOL_PREPEND}, "x", NULL),
                     STATUS_TOO_LARGE);
    assert_int_equal(get(store).value.size, item_max - 1);
    request.value.size = UINT32_C(3) << 30; /* never read: its size alone is too large */
    assert_int_equal(pool_store(store->pool, &store->thread, KEY, &request, NULL),
                     STATUS_TOO_LARGE);
    free(value);
}

static void an_empty_value_is_a_value(void **state) {
    struct store *store = *state;
    assert_int_equal(store_set(store, "k", "", 0), STATUS_OK);
    expect_there(store, "k", "");
    assert_int_equal(set_with(store, (struct pool_store){.mode = POOL_APPEND}, "a", NULL),
                     STATUS_OK);
    expect_there(store, "k", "a");
}

static void a_write_is_charged_for_its_page_faults(void **state) {
    struct store *store = *state;
    static const char value[10000];
    struct pool_store request = {.value = bytes_from(value, sizeof value)};
    uint64_t before = store->thread.work_bytes;
    store_thread_refresh(&store->thread);
    assert_int_equal(pool_store(store->pool, &store->thread, KEY, &request, NULL), STATUS_OK);
    uint64_t charged = store->thread.work_bytes - before;
    uint64_t written = sizeof value * (store->options.persist ? STORE_FILE_FACTOR : 1);
    assert_in_range(charged, written, written + written / 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(a_set_item_has_its_value_flags_and_expiry),
        BOTH(keys_are_any_bytes_up_to_the_longest),
        BOTH(a_write_is_charged_for_its_page_faults),
        BOTH(each_store_gives_a_higher_cas),
        BOTH(each_mode_stores_on_its_condition),
        BOTH(an_expired_item_is_missing_for_every_mode),
        BOTH(appended_items_keep_their_own_flags_and_expiry),
        BOTH(an_append_may_create_what_is_missing),
        BOTH(a_store_that_names_a_cas_wants_that_one),
        BOTH(an_invalidating_store_with_an_old_cas_leaves_a_stale_item),
        BOTH(a_stale_store_keeps_the_token_that_was_sent),
        BOTH(the_cas_can_be_given),
        BOTH(a_store_that_has_expired_at_once_leaves_nothing),
        BOTH(an_item_above_item_max_is_too_large_and_the_old_one_stays),
        BOTH(an_empty_value_is_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
