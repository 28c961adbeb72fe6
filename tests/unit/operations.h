/* Shared by the tests of pool.h's operations: a pool, in memory or with a file, and a call of each
 * operation on the key "k". */
#ifndef STAYD_TESTS_OPERATIONS_H
#define STAYD_TESTS_OPERATIONS_H

#include "store_support.h"

#include "store/pool_private.h"

#include <stdlib.h>

#define KEY bytes_from_string("k")
#define LATER_S (CLOCK_START_S + 1000)

static inline int setup_volatile(void **state) {
    struct store *store = malloc(sizeof *store);
    store_begin(store, store_options(16));
    *state = store;
    return 0;
}

static inline int setup_persistent(void **state) {
    struct store *store = malloc(sizeof *store);
    store_begin_persistent(store, 16);
    *state = store;
    return 0;
}

static inline int teardown(void **state) {
    store_end(*state);
    free(*state);
    return 0;
}

static inline enum status set_with(struct store *store, struct pool_store request,
                                   const char *value, struct item *item) {
    request.value = bytes_from_string(value);
    store_thread_refresh(&store->thread);
    return pool_store(store->pool, &store->thread, KEY, &request, item);
}

static inline enum status fetch(struct store *store, struct pool_fetch request,
                                struct pool_fetched *fetched) {
    store_thread_refresh(&store->thread);
    return pool_fetch(store->pool, &store->thread, KEY, &request, fetched);
}

static inline enum status calculate(struct store *store, struct pool_arithmetic request,
                                    uint64_t *number, struct pool_fetched *fetched) {
    store_thread_refresh(&store->thread);
    return pool_arithmetic(store->pool, &store->thread, KEY, &request, number, fetched);
}

static inline enum status delete_with(struct store *store, struct pool_delete request) {
    store_thread_refresh(&store->thread);
    return pool_delete(store->pool, &store->thread, KEY, &request);
}

static inline void flush(struct store *store, uint32_t when_s) {
    store_thread_refresh(&store->thread);
    assert_int_equal(pool_flush(store->pool, &store->thread, when_s), STATUS_OK);
}

static inline struct item get(struct store *store) {
    struct item item;
    assert_int_equal(store_get(store, "k", &item), STATUS_OK);
    return item;
}

static inline void expect_text(struct bytes bytes, const char *text) {
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
}

/* Runs the test on both kinds of pool. */
#define BOTH(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, setup_volatile, teardown),                               \
        cmocka_unit_test_setup_teardown(test, setup_persistent, teardown)

#endif
