/* The scan of all items: it misses no item that exists during the whole scan, whatever changes
 * meanwhile. */
#include "store_support.h"

#include "store/scan.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { STEADY = 2000, PASSING = 40000, VALUE = 60 };

struct seen {
    unsigned times[STEADY];
    unsigned others;
    unsigned bad;
    uint64_t record_bytes;
    unsigned classes[POOL_TTL_CLASSES];
};

/* Steady items have the numbers below STEADY, so their keys are known. */
static void note_item(void *context, const struct pool_scanned *scanned) {
    struct seen *seen = context;
    char key[POOL_KEY_MAX + 1] = {0};
    memcpy(key, scanned->item.key.data, scanned->item.key.size);
    const char *digits = key + strcspn(key, "0123456789");
    unsigned number = (unsigned)strtoul(digits, NULL, 10);
    char expected[POOL_KEY_MAX];
    if (number_key(expected, number) != scanned->item.key.size ||
        memcmp(expected, key, scanned->item.key.size) != 0) {
        seen->bad++;
    } else if (number < STEADY) {
        seen->times[number]++;
    } else {
        seen->others++;
    }
    seen->record_bytes += scanned->record_bytes;
    seen->classes[scanned->ttl_class]++;
}

/* Scans from beginning to end, with a quiescent point before each step. */
static void scan_all(struct store *store, struct seen *seen) {
    uint64_t next = 0;
    enum status status;
    do {
        store_thread_refresh(&store->thread);
        status = pool_scan(store->pool, &store->thread, &next, note_item, seen);
    } while (status == STATUS_OK);
    store_thread_leave(&store->thread);
    assert_int_equal(status, STATUS_END);
}

static void set_steady(struct store *store) {
    for (unsigned i = 0; i < STEADY; i++) {
        EXPECT(store_set_number(store, i, 0, VALUE, 0) == STATUS_OK);
    }
}

static void a_scan_meets_each_item_once_and_leaves_no_trace(void **state) {
    (void)state;
    struct store store;
    static struct seen seen;
    memset(&seen, 0, sizeof seen);
    store_begin(&store, store_options(64));
    set_steady(&store);
    EXPECT(store_set_number(&store, STEADY, 0, VALUE, clock_now_s() + 10) == STATUS_OK);
    EXPECT(store_set_number(&store, STEADY + 1, 0, VALUE, clock_now_s() + 1) == STATUS_OK);
    clock_advance_s(2); /* the last item has expired */

    struct pool_stats before;
    struct pool_stats after;
    store_stats(&store, &before);
    scan_all(&store, &seen);
    store_stats(&store, &after);
    for (unsigned i = 0; i < STEADY; i++) {
        assert_int_equal(seen.times[i], 1);
    }
    assert_int_equal(seen.others, 1);
    assert_int_equal(seen.bad, 0);
    assert_int_equal(seen.classes[0], 1);
    assert_int_equal(seen.classes[POOL_TTL_CLASSES - 1], STEADY);
    assert_int_equal(after.counters[POOL_CMD_GET], before.counters[POOL_CMD_GET]);
    struct item item;
    assert_int_equal(store_get(&store, "no such key", &item), STATUS_NOT_FOUND);
    struct pool_class_stats classes[POOL_TTL_CLASSES];
    pool_get_class_stats(store.pool, classes);
    uint64_t live_bytes = 0;
    for (unsigned i = 0; i < POOL_TTL_CLASSES; i++) {
        live_bytes += classes[i].live_bytes;
    }
    assert_int_equal(classes[POOL_TTL_CLASSES - 1].items, STEADY);
    assert_int_equal(classes[POOL_TTL_CLASSES - 1].counters[POOL_CLASS_CMD_SET], STEADY);
    assert_int_equal(live_bytes, after.live_bytes);
    store_end(&store);
}

struct commotion {
    struct store *store;
    _Atomic bool done;
};

/* Lets the index grow, replaces the steady items and deletes others. */
static void *make_commotion(void *argument) {
    struct commotion *commotion = argument;
    struct store_thread thread;
    store_thread_init(&thread, commotion->store->grace, 1);
    char value[VALUE];
    char key[POOL_KEY_MAX];
    memset(value, 'v', sizeof value);
    const struct pool_store set = {.mode = POOL_SET, .value = bytes_from(value, sizeof value)};
    for (unsigned i = STEADY; i < STEADY + scaled(PASSING); i++) {
        store_thread_refresh(&thread);
        size_t size = number_key(key, i);
        EXPECT(pool_store(commotion->store->pool, &thread, bytes_from(key, size), &set, NULL) ==
               STATUS_OK);
        size = number_key(key, i % STEADY);
        EXPECT(pool_store(commotion->store->pool, &thread, bytes_from(key, size), &set, NULL) ==
               STATUS_OK);
        if (i % 3 == 0) {
            size = number_key(key, i - (i - STEADY) / 2);
            pool_delete(commotion->store->pool, &thread, bytes_from(key, size), NULL);
        }
        store_thread_leave(&thread);
    }
    atomic_store(&commotion->done, true);
    return NULL;
}

static void a_scan_misses_no_steady_item_while_everything_changes(void **state) {
    (void)state;
    struct store store;
    static struct seen seen;
    store_begin_threads(&store, store_options(256), 2);
    set_steady(&store);
    struct commotion commotion = {.store = &store};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, make_commotion, &commotion), 0);
    unsigned scans = 0;
    do {
        memset(&seen, 0, sizeof seen);
        scan_all(&store, &seen);
        for (unsigned i = 0; i < STEADY; i++) {
            EXPECT(seen.times[i] >= 1);
        }
        EXPECT(seen.bad == 0);
        scans++;
    } while (!atomic_load(&commotion.done));
    pthread_join(thread, NULL);
    assert_true(scans > 0);
    store_end(&store);
}

static void a_peek_shows_an_item_and_counts_nothing(void **state) {
    (void)state;
    struct store store;
    struct pool_scanned scanned;
    struct pool_stats stats;
    store_begin(&store, store_options(64));
    assert_int_equal(store_set(&store, "key", "value", clock_now_s() + 7200), STATUS_OK);
    for (int i = 0; i < 2; i++) {
        store_thread_refresh(&store.thread);
        assert_int_equal(pool_peek(store.pool, &store.thread, bytes_from_string("key"), &scanned),
                         STATUS_OK);
        assert_false(scanned.item.fetched);
        assert_int_equal(scanned.ttl_class, 2);
        assert_int_equal(scanned.record_bytes, 32);
        assert_int_equal(pool_peek(store.pool, &store.thread, bytes_from_string("none"), &scanned),
                         STATUS_NOT_FOUND);
        store_thread_leave(&store.thread);
    }
    store_stats(&store, &stats);
    assert_int_equal(stats.counters[POOL_CMD_GET], 0);
    store_end(&store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_meets_each_item_once_and_leaves_no_trace),
        cmocka_unit_test(a_scan_misses_no_steady_item_while_everything_changes),
        cmocka_unit_test(a_peek_shows_an_item_and_counts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
