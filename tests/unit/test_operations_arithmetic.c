/* pool_arithmetic with each option, as described in pool.h. */
#include "operations.h"

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
    assert_int_equal(fetched.item.value.size, 0); /* the item that it pointed into is gone */
    expect_gone(store, "k");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(numbers_go_up_and_down),
        BOTH(a_number_that_got_shorter_keeps_its_length),
        BOTH(an_increment_wraps_and_a_decrement_stops_at_zero),
        BOTH(what_is_no_number_is_left_as_it_is),
        BOTH(arithmetic_keeps_flags_and_expiry_and_gives_a_new_cas),
        BOTH(arithmetic_may_create_what_is_missing),
        BOTH(arithmetic_may_touch_and_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
