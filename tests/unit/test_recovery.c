/* Recovery after a crash: every change that was acknowledged before the crash is there, and every
 * removed item stays removed. */
#include "recovery_support.h"

#include <stdatomic.h>
#include <sys/mman.h>

static struct store store;

/* ---- what survives ---- */

static void store_all_kinds(struct store *child, void *argument) {
    struct item *items = argument;
    static const struct pool_store requests[] = {
        {.client_flags = 0, .expiry_s = 0},
        {.client_flags = 77, .expiry_s = CLOCK_START_S + 100},
        {.set_cas = true, .new_cas = 12345},
        {.client_flags = UINT32_MAX, .expiry_s = CLOCK_START_S + 1000000},
    };
    for (unsigned i = 0; i < 4; i++) {
        char key[] = "kind-0";
        struct pool_store request = requests[i];
        key[5] = (char)('0' + i);
        request.value = bytes_from_string("value");
        store_thread_refresh(&child->thread);
        EXPECT(pool_store(child->pool, &child->thread, bytes_from_string(key), &request,
                          &items[i]) == STATUS_OK);
    }
    store_thread_refresh(&child->thread);
    EXPECT(pool_delete(child->pool, &child->thread, bytes_from_string("kind-3"),
                       &(struct pool_delete){.invalidate = true}) == STATUS_OK);
    EXPECT(store_get(child, "kind-3", &items[3]) == STATUS_OK);
}

static void an_item_survives_with_everything_that_it_has(void **state) {
    (void)state;
    struct item *before =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(before != MAP_FAILED);
    store_survive(&store, store_all_kinds, before);
    for (unsigned i = 0; i < 4; i++) {
        char key[] = "kind-0";
        struct item after;
        key[5] = (char)('0' + i);
        expect_there(&store, key, "value");
        EXPECT(store_get(&store, key, &after) == STATUS_OK);
        assert_int_equal(after.client_flags, before[i].client_flags);
        assert_int_equal(after.expiry_s, before[i].expiry_s);
        assert_int_equal(after.accessed_s, before[i].accessed_s);
        assert_true(after.cas == before[i].cas);
        assert_int_equal(after.stale, i == 3);
    }
    munmap(before, 4096);
}

static void every_item_survives_a_crash_and_the_crash_after_it(void **state) {
    (void)state;
    unsigned count = 2000;
    store_crash(&store, store_many, &count);
    for (int crash = 0; crash < 3; crash++) {
        store_survive(&store, do_nothing, NULL);
        for (unsigned number = 0; number < count; number++) {
            EXPECT(store_has_number(&store, number, number % 7, number % 900));
        }
        struct pool_stats stats;
        store_stats(&store, &stats);
        assert_int_equal(stats.items, count);
    }
}

static void update_many(struct store *child, void *argument) {
    store_many(child, argument);
    for (unsigned version = 10; version < 15; version++) {
        for (unsigned number = 0; number < 300; number++) {
            EXPECT(store_set_number(child, number, version, 100, 0) == STATUS_OK);
        }
    }
}

static void the_last_version_of_an_item_is_the_one_that_survives(void **state) {
    (void)state;
    unsigned count = 300;
    store_survive(&store, update_many, &count);
    for (unsigned number = 0; number < count; number++) {
        EXPECT(store_has_number(&store, number, 14, 100));
    }
}

/* The pool's counts when the janitor has nothing left to do. */
static struct pool_stats stats_at_rest(void) {
    struct pool_stats before;
    struct pool_stats after = store_stats_now(&store);
    do {
        before = after;
        store_run_janitor(&store, 3);
        after = store_stats_now(&store);
    } while (after.dead_bytes != before.dead_bytes || after.free_bytes != before.free_bytes ||
             after.tombstone_bytes != before.tombstone_bytes);
    return after;
}

static void the_pool_is_as_it_was_in_its_numbers(void **state) {
    (void)state;
    unsigned count = 500;
    update_many(&store, &count);
    struct pool_stats before = stats_at_rest();
    store_survive(&store, do_nothing, NULL); /* a clean stop, a start, and then a crash */
    struct pool_stats after = stats_at_rest();
    assert_int_equal(after.items, before.items);
    assert_int_equal(after.live_bytes, before.live_bytes);
    assert_int_equal(after.tombstone_bytes, before.tombstone_bytes);
    assert_int_equal(after.dead_bytes, before.dead_bytes);
    assert_int_equal(after.free_bytes, before.free_bytes);
}

/* ---- what stays gone ---- */

static void a_deleted_item_does_not_come_back_after_a_crash(void **state) {
    (void)state;
    unsigned count = 1000;
    store_survive(&store, delete_one_in_three, &count);
    for (unsigned number = 0; number < count; number++) {
        EXPECT(store_has_number(&store, number, number % 7, number % 900) == (number % 3 != 0));
    }
}

/* The tombstones are moved again and again, while the deleted versions lie in segments whose
 * records are mostly live. */
static void a_deleted_item_stays_gone_through_crashes_and_compactions(void **state) {
    (void)state;
    unsigned count = 1000;
    unsigned rounds = 12;
    store_crash(&store, delete_one_in_three, &count);
    for (int crash = 0; crash < 6; crash++) {
        store_survive(&store, run_churn, &rounds);
        for (unsigned number = 0; number < count; number++) {
            EXPECT(store_has_number(&store, number, number % 7, number % 900) == (number % 3 != 0));
        }
        rounds = 3 + (unsigned)crash * 7;
    }
    struct pool_stats stats;
    store_stats(&store, &stats);
}

static void touch_sooner(struct store *child, void *argument) {
    (void)argument;
    char key[POOL_KEY_MAX];
    for (unsigned number = 0; number < 600; number++) {
        EXPECT(store_set_number(child, number, 0, 100, CLOCK_START_S + 1000000) == STATUS_OK);
    }
    for (unsigned number = 0; number < 600; number += 2) {
        number_key(key, number);
        EXPECT(store_touch(child, key, CLOCK_START_S + 100) == STATUS_OK);
    }
}

static void an_item_that_was_given_a_sooner_expiry_does_not_live_to_its_first_one(void **state) {
    (void)state;
    unsigned rounds = 10;
    store_crash(&store, touch_sooner, NULL);
    store_survive(&store, do_nothing, NULL);
    for (unsigned number = 0; number < 600; number++) {
        EXPECT(store_has_number(&store, number, 0, 100));
    }
    clock_advance_s(100);
    for (int crash = 0; crash < 5; crash++) {
        store_survive(&store, run_churn, &rounds);
        for (unsigned number = 0; number < 600; number++) {
            EXPECT(store_has_number(&store, number, 0, 100) == (number % 2 == 1));
        }
        clock_advance_s(1000);
    }
}

static void expire_versions(struct store *child, void *argument) {
    (void)argument;
    for (unsigned number = 0; number < 300; number++) {
        EXPECT(store_set_number(child, number, 0, 100, clock_now_s() + 50) == STATUS_OK);
        EXPECT(store_set_number(child, number, 1, 100, clock_now_s() + 100) == STATUS_OK);
    }
    clock_advance_s(100);
    store_run_janitor(child, 2);
}

static void an_expired_item_does_not_come_back(void **state) {
    (void)state;
    for (int crash = 0; crash < 3; crash++) {
        store_survive(&store, expire_versions, NULL);
        for (unsigned number = 0; number < 300; number++) {
            EXPECT(!store_has_number(&store, number, 0, 100));
            EXPECT(!store_has_number(&store, number, 1, 100));
        }
    }
}

static void expire_while_down(struct store *child, void *argument) {
    (void)argument;
    EXPECT(store_set(child, "short", "v", CLOCK_START_S + 10) == STATUS_OK);
    EXPECT(store_set(child, "long", "v", CLOCK_START_S + 11) == STATUS_OK);
}

static void an_item_that_expires_while_no_daemon_runs_is_gone(void **state) {
    (void)state;
    store_crash(&store, expire_while_down, NULL);
    clock_advance_s(10);
    store_open(&store);
    expect_gone(&store, "short");
    expect_there(&store, "long", "v");
    store_close(&store);
    clock_advance_s(1);
    store_open(&store); /* also with the index of the stop */
    expect_gone(&store, "long");
}

/* ---- a start that is interrupted ---- */

static _Atomic int stops_after; /* questions */

static bool is_stopping(void) {
    return atomic_fetch_sub(&stops_after, 1) <= 0;
}

static void a_recovery_ends_when_it_is_asked_to_and_loses_nothing(void **state) {
    (void)state;
    unsigned count = 400;
    store_crash(&store, store_many, &count);
    store.options.is_stopping = is_stopping;
    for (int questions = 0; questions < 8; questions++) { /* asked at least once for each segment */
        atomic_store(&stops_after, questions);
        EXPECT(strstr(store_open_error(&store), "stayd was stopped during the start") != NULL);
    }
    store.options.is_stopping = NULL;
    store_open(&store);
    for (unsigned number = 0; number < count; number++) {
        EXPECT(store_has_number(&store, number, number % 7, number % 900));
    }
}

#define PERSISTENT(test) STORE_TEST(test, .segments = 32, .persist = true)
#define BOTH(test)                                                                                 \
    STORE_TEST(test, .segments = 32, .persist = true),                                             \
        STORE_TEST(test, .segments = 12, .persist = true)

int main(void) {
    const struct CMUnitTest tests[] = {
        PERSISTENT(an_item_survives_with_everything_that_it_has),
        PERSISTENT(every_item_survives_a_crash_and_the_crash_after_it),
        BOTH(the_last_version_of_an_item_is_the_one_that_survives),
        PERSISTENT(the_pool_is_as_it_was_in_its_numbers),
        PERSISTENT(a_deleted_item_does_not_come_back_after_a_crash),
        PERSISTENT(a_deleted_item_stays_gone_through_crashes_and_compactions),
        BOTH(an_item_that_was_given_a_sooner_expiry_does_not_live_to_its_first_one),
        BOTH(an_expired_item_does_not_come_back),
        PERSISTENT(an_item_that_expires_while_no_daemon_runs_is_gone),
        PERSISTENT(a_recovery_ends_when_it_is_asked_to_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
