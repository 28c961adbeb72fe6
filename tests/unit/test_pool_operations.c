/* Each operation of pool.h with each of its options, against what pool.h says. */
#include "store_support.h"

#include "base/hash.h"
#include "store/pool_private.h"

#include <stdlib.h>

#define KEY bytes_from_string("k")
#define LATER_S (CLOCK_START_S + 1000)

static int setup_volatile(void **state) {
    struct store *store = malloc(sizeof *store);
    store_begin(store, store_options(16));
    *state = store;
    return 0;
}

static int setup_persistent(void **state) {
    struct store *store = malloc(sizeof *store);
    struct pool_options options = store_options(16);
    options.persist = true;
    store_begin(store, options);
    *state = store;
    return 0;
}

static int teardown(void **state) {
    store_end(*state);
    free(*state);
    return 0;
}

/* ---- one call each ---- */

static enum status set_with(struct store *store, struct pool_store request, const char *value,
                            struct item *item) {
    request.value = bytes_from_string(value);
    store_thread_refresh(&store->thread);
    return pool_store(store->pool, &store->thread, KEY, &request, item);
}

static enum status fetch(struct store *store, struct pool_fetch request,
                         struct pool_fetched *fetched) {
    store_thread_refresh(&store->thread);
    return pool_fetch(store->pool, &store->thread, KEY, &request, fetched);
}

static enum status calculate(struct store *store, struct pool_arithmetic request, uint64_t *number,
                             struct pool_fetched *fetched) {
    store_thread_refresh(&store->thread);
    return pool_arithmetic(store->pool, &store->thread, KEY, &request, number, fetched);
}

static enum status delete_with(struct store *store, struct pool_delete request) {
    store_thread_refresh(&store->thread);
    return pool_delete(store->pool, &store->thread, KEY, &request);
}

static void flush(struct store *store, uint32_t when_s) {
    store_thread_refresh(&store->thread);
    assert_int_equal(pool_flush(store->pool, &store->thread, when_s), STATUS_OK);
}

static struct item get(struct store *store) {
    struct item item;
    assert_int_equal(store_get(store, "k", &item), STATUS_OK);
    return item;
}

static void expect_text(struct bytes bytes, const char *text) {
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
}

/* ---- store ---- */

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
        const char *value; /* after a store of "new" where "old" is */
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
    request.cas = item.cas + 1; /* a higher one does not invalidate */
    assert_int_equal(set_with(store, request, "newer", &item), STATUS_EXISTS);
    request.cas = get(store).cas; /* the right one makes it fresh again */
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

/* ---- get and fetch ---- */

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
    /* As often as it was read before, and once more: that is what eviction goes by. */
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
    assert_true(fetched.token_sent); /* somebody else is at it */
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
    store_set(store, "k", "w", CLOCK_START_S + 10); /* refreshed: the next one may win again */
    assert_int_equal(fetch(store, request, &fetched), STATUS_OK);
    assert_true(fetched.won && !fetched.token_sent);
    store_set(store, "k", "w", 0); /* never expires: nobody need refresh it */
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

/* ---- arithmetic ---- */

static uint64_t increment(struct store *store, uint64_t delta) {
    uint64_t number = 0;
    assert_int_equal(calculate(store, (struct pool_arithmetic){.delta = delta}, &number, NULL),
                     STATUS_OK);
    return number;
}

static uint64_t decrement(struct store *store, uint64_t delta) {
    uint64_t number = 0;
    struct pool_arithmetic request = {.decrement = true, .delta = delta};
    assert_int_equal(calculate(store, request, &number, NULL), STATUS_OK);
    return number;
}

static void numbers_go_up_and_down(void **state) {
    struct store *store = *state;
    uint64_t number;
    assert_int_equal(calculate(store, (struct pool_arithmetic){.delta = 1}, &number, NULL),
                     STATUS_NOT_FOUND);
    store_set(store, "k", "10", 0);
    assert_int_equal(increment(store, 5), 15);
    expect_there(store, "k", "15");
    assert_int_equal(increment(store, 985), 1000);
    expect_there(store, "k", "1000");
    assert_int_equal(increment(store, 0), 1000);
    assert_int_equal(decrement(store, 1), 999);
}

static void a_number_that_got_shorter_keeps_its_length(void **state) {
    struct store *store = *state;
    store_set(store, "k", "1000", 0);
    assert_int_equal(decrement(store, 1), 999);
    expect_there(store, "k", "999 ");
    assert_int_equal(decrement(store, 998), 1);
    expect_there(store, "k", "1   ");
    assert_int_equal(increment(store, 1233), 1234);
    expect_there(store, "k", "1234");
    store_set(store, "k", "18446744073709551615", 0);
    assert_int_equal(increment(store, 2), 1);
    expect_there(store, "k", "1                   ");
    store_set(store, "k", "5                                                 ", 0);
    assert_int_equal(increment(store, 1), 6);
    expect_there(store, "k", "6                                                 ");
}

static void an_increment_wraps_and_a_decrement_stops_at_zero(void **state) {
    struct store *store = *state;
    store_set(store, "k", "18446744073709551615", 0);
    assert_int_equal(increment(store, 1), 0);
    store_set(store, "k", "18446744073709551614", 0);
    assert_true(increment(store, UINT64_MAX) == UINT64_MAX - 2);
    store_set(store, "k", "5", 0);
    assert_int_equal(decrement(store, 6), 0);
    assert_int_equal(decrement(store, UINT64_MAX), 0);
    expect_there(store, "k", "0");
    store_set(store, "k", "5", 0);
    assert_int_equal(decrement(store, 5), 0);
}

static void what_is_no_number_is_left_as_it_is(void **state) {
    struct store *store = *state;
    static const char *const values[] = {
        "", "x", "1x", "-1", "+-1", "1.5", "0x10", "18446744073709551616", "1\x01", " ",
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint64_t number;
        store_set(store, "k", values[i], 0);
        uint64_t cas = get(store).cas;
        assert_int_equal(calculate(store, (struct pool_arithmetic){.delta = 1}, &number, NULL),
                         STATUS_NON_NUMERIC);
        expect_there(store, "k", values[i]);
        assert_true(get(store).cas == cas);
    }
}

static void arithmetic_keeps_flags_and_expiry_and_gives_a_new_cas(void **state) {
    struct store *store = *state;
    set_with(store, (struct pool_store){.client_flags = 42, .expiry_s = LATER_S}, "7", NULL);
    uint64_t cas = get(store).cas;
    uint64_t number;
    struct pool_fetched fetched;
    assert_int_equal(calculate(store, (struct pool_arithmetic){.delta = 1}, &number, &fetched),
                     STATUS_OK);
    expect_text(fetched.item.value, "8");
    assert_int_equal(fetched.item.client_flags, 42);
    assert_int_equal(fetched.item.expiry_s, LATER_S);
    assert_int_equal(fetched.expiry_before_s, LATER_S);
    assert_true(fetched.item.cas > cas);
    assert_false(fetched.created || fetched.won);
}

static void arithmetic_may_create_what_is_missing(void **state) {
    struct store *store = *state;
    uint64_t number;
    struct pool_fetched fetched;
    struct pool_arithmetic request = {.delta = 3,
                                      .create = true,
                                      .initial = 100,
                                      .create_expiry_s = LATER_S,
                                      .set_cas = true,
                                      .new_cas = 99};
    assert_int_equal(calculate(store, request, &number, &fetched), STATUS_OK);
    assert_int_equal(number, 100);
    assert_true(fetched.created);
    assert_int_equal(fetched.item.expiry_s, LATER_S);
    assert_true(fetched.item.cas == 99);
    expect_there(store, "k", "100");
    request.set_cas = false;
    assert_int_equal(calculate(store, request, &number, &fetched), STATUS_OK);
    assert_int_equal(number, 103);
    assert_false(fetched.created);
    assert_true(fetched.item.cas != 99);
}

static void arithmetic_may_touch_and_compare(void **state) {
    struct store *store = *state;
    uint64_t number;
    struct pool_fetched fetched;
    store_set(store, "k", "1", 0);
    uint64_t cas = get(store).cas;
    struct pool_arithmetic request = {
        .delta = 1, .touch = true, .touch_expiry_s = LATER_S, .compare_cas = true, .cas = cas + 1};
    assert_int_equal(calculate(store, request, &number, NULL), STATUS_EXISTS);
    expect_there(store, "k", "1");
    request.cas = cas;
    assert_int_equal(calculate(store, request, &number, &fetched), STATUS_OK);
    assert_int_equal(number, 2);
    assert_int_equal(fetched.item.expiry_s, LATER_S);
    assert_int_equal(fetched.expiry_before_s, 0);
    request = (struct pool_arithmetic){.delta = 1, .touch = true, .touch_expiry_s = 1};
    assert_int_equal(calculate(store, request, &number, &fetched), STATUS_OK);
    assert_int_equal(number, 3);
    assert_int_equal(fetched.item.value.size, 0); /* there is no item any more to point into */
    expect_gone(store, "k");
}

/* ---- delete ---- */

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

/* ---- flush ---- */

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
    expect_gone(store, "meanwhile"); /* stored before it was due */
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
    flush(store, 0); /* and one at once replaces that */
    store_set(store, "k", "w", 0);
    clock_set_s(CLOCK_START_S + 25);
    store_run_janitor(store, 1);
    expect_there(store, "k", "w");
}

/* ---- counters ---- */

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
    assert_int_equal(stats.live_bytes + stats.marker_bytes + stats.dead_bytes + stats.free_bytes,
                     stats.capacity_bytes);
    /* A tombstone has the key, and no value. */
    assert_int_equal(stats.marker_bytes, store->options.persist ? 100 * (24 + 8) : 0);
    assert_int_equal(stats.segments, 16);
    assert_int_equal(stats.segment_bytes, STORE_SEGMENT);
    assert_false(stats.read_only || stats.full);
}

/* ---- a disk that fails ---- */

static void after_a_failed_sync_the_pool_serves_and_takes_no_more_writes(void **state) {
    (void)state;
    struct store store;
    struct pool_options options = store_options(16);
    options.persist = true;
    store_begin(&store, options);
    assert_int_equal(store_set(&store, "k", "1", 0), STATUS_OK);
    fault_fail_syncs(true);
    assert_false(pool_sync(store.pool));
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
    store_reopen(&store); /* with a disk that works again */
    expect_there(&store, "k", "1");
    assert_int_equal(store_set(&store, "k", "2", 0), STATUS_OK);
    store_end(&store);
}

#define BOTH(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, setup_volatile, teardown),                               \
        cmocka_unit_test_setup_teardown(test, setup_persistent, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(a_set_item_has_its_value_flags_and_expiry),
        BOTH(keys_are_any_bytes_up_to_the_longest),
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
        BOTH(numbers_go_up_and_down),
        BOTH(a_number_that_got_shorter_keeps_its_length),
        BOTH(an_increment_wraps_and_a_decrement_stops_at_zero),
        BOTH(what_is_no_number_is_left_as_it_is),
        BOTH(arithmetic_keeps_flags_and_expiry_and_gives_a_new_cas),
        BOTH(arithmetic_may_create_what_is_missing),
        BOTH(arithmetic_may_touch_and_compare),
        BOTH(a_deleted_item_is_gone),
        BOTH(a_delete_that_names_a_cas_wants_that_one),
        BOTH(an_invalidating_delete_keeps_the_item_as_stale),
        BOTH(an_invalidation_frees_the_token_again),
        BOTH(a_flush_forgets_all_and_what_comes_after_it_stays),
        BOTH(a_flushed_item_is_missing_for_every_operation),
        BOTH(a_delayed_flush_comes_when_it_is_due),
        BOTH(the_janitor_flushes_what_is_due_though_nobody_asks),
        BOTH(a_later_flush_replaces_the_one_that_is_due),
        BOTH(counters_count_what_happened),
        BOTH(bytes_are_accounted_for),
        cmocka_unit_test(after_a_failed_sync_the_pool_serves_and_takes_no_more_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
