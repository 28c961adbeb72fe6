/* Reads by other processes count like reads from the daemon, for eviction and for idle_timeout: a
 * cache that evicts keeps the same items, and a session that is read only through a mapping does
 * not expire. */
#include "store_support.h"

#include "store/access_reports.h"
#include "store/reader.h"

#include <math.h>
#include <stdlib.h>

enum { KEYS = 40000, SIZE = 220, READS_A_SECOND = 200 };

static struct store store;

/* The percentage of reads that miss, in a cache that holds a part of the keys. The keys are read
 * with a Zipf distribution. `mapped`: by a process that maps the cache. */
static double miss_percent(bool mapped) {
    struct pool_options options = store_options(64);
    options.evict = true;
    store_begin(&store, options);
    struct lookup_view view;
    EXPECT(lookup_open(&view, store.pool->data_mapping.base, store.pool->data_mapping.size_bytes,
                       store.pool->index_mapping.base, store.pool->index_mapping.size_bytes));
    static double reached[KEYS];
    double sum = 0;
    for (unsigned number = 0; number < KEYS; number++) {
        sum += pow(number + 1, -0.9);
        reached[number] = sum;
    }
    uint64_t random = 1;
    unsigned misses = 0;
    unsigned counted = 0;
    unsigned reads = scaled(800000);
    for (unsigned read = 0; read < reads; read++) {
        double wanted = (double)(random_next(&random) >> 11) / (double)(UINT64_C(1) << 53) * sum;
        unsigned least = 0;
        unsigned most = KEYS - 1;
        while (least < most) {
            unsigned middle = (least + most) / 2;
            if (reached[middle] < wanted) {
                least = middle + 1;
            } else {
                most = middle;
            }
        }
        char key[POOL_KEY_MAX];
        char value[SIZE];
        struct reader_item item;
        size_t size = number_key(key, least);
        bool hit = mapped && reader_get(&view, bytes_from(key, size), value, sizeof value, &item) ==
                                 READER_HIT;
        hit = hit || store_has_number(&store, least, 0, SIZE);
        if (!hit) {
            EXPECT(store_set_number(&store, least, 0, SIZE, 0) == STATUS_OK);
        }
        counted += read > reads / 2;
        misses += read > reads / 2 && !hit;
        if (read % READS_A_SECOND == 0) {
            clock_advance_s(1);
        }
    }
    uint64_t asked = store_stats_now(&store).counters[POOL_CMD_GET];
    print_message("    %s: %.2f %% of the reads miss, %.1f %% came to the daemon\n",
                  mapped ? "mapped" : "over sockets", 100.0 * misses / counted,
                  100.0 * (double)asked / reads);
    store_end(&store);
    return 100.0 * misses / counted;
}

static void a_cache_that_is_read_by_mapping_misses_no_more(void **state) {
    (void)state;
    double sockets = miss_percent(false);
    double mapped = miss_percent(true);
    assert_true(mapped < sockets + 1);
}

static void an_item_is_asked_for_once_in_each_share_of_the_window(void **state) {
    (void)state;
    struct pool_options options = store_options(16);
    options.evict = true;
    store_begin(&store, options);
    struct layout_index_header *index = store.pool->view.index;
    access_reports_note_window(store.pool, 1600);
    assert_int_equal(atomic_load(&index->report_after_s), 100);
    access_reports_note_window(store.pool, 0);
    assert_int_equal(atomic_load(&index->report_after_s), 1);
    store_close(&store);
    store.options.idle_timeout_s = 80;
    store_open(&store);
    access_reports_note_window(store.pool, 1600);
    assert_int_equal(atomic_load(&store.pool->view.index->report_after_s), 10);
    store_close(&store);
    store.options.evict = false;
    store.options.idle_timeout_s = 0;
    store_open(&store);
    assert_int_equal(atomic_load(&store.pool->view.index->report_after_s), 0);
    store_end(&store);
}

static void a_persistent_cache_notes_what_was_asked_for(void **state) {
    (void)state;
    struct pool_options options = store_options(16);
    options.evict = true;
    options.persist = true;
    store_begin(&store, options);
    uint32_t after_s = atomic_load(&store.pool->view.index->report_after_s);
    struct item item;
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    clock_advance_s(after_s - 1);
    EXPECT(store_get(&store, "key", &item) == STATUS_OK);
    EXPECT(store_get(&store, "key", &item) == STATUS_OK);
    assert_int_equal(item.accessed_s, CLOCK_START_S); /* each report makes a page dirty */
    clock_advance_s(1);
    EXPECT(store_get(&store, "key", &item) == STATUS_OK);
    EXPECT(store_get(&store, "key", &item) == STATUS_OK);
    assert_int_equal(item.accessed_s, CLOCK_START_S + after_s);
    store_end(&store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cache_that_is_read_by_mapping_misses_no_more),
        cmocka_unit_test(an_item_is_asked_for_once_in_each_share_of_the_window),
        cmocka_unit_test(a_persistent_cache_notes_what_was_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
