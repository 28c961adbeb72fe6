/* The memory limit of a volatile pool that changes while the pool runs. A lower limit gives memory
 * back to the system; then the limit is raised again. */
#include "store_support.h"

#include "store/pool_private.h"

#include <pthread.h>
#include <sys/stat.h>

enum { SEGMENTS = 64, SIZE = 900, PASSES_MAX = 500 };

static struct store store;

static enum status limit_to(unsigned segments) {
    return pool_set_memory_limit(store.pool, (uint64_t)segments * STORE_SEGMENT);
}

static struct pool_stats stats_now(void) {
    struct pool_stats stats;
    store_stats(&store, &stats);
    return stats;
}

/* The memory of the data, as the system counts it. */
static uint64_t memory_bytes(void) {
    struct stat status;
    EXPECT(fstat(store.pool->data_mapping.file, &status) == 0);
    return (uint64_t)status.st_blocks * 512;
}

static bool comes_down_to(unsigned segments) {
    for (int pass = 0; pass < PASSES_MAX; pass++) {
        if (segments_in_force(&store.pool->segments) == segments) {
            store_run_janitor(&store, 1); /* at its end, the system has their memory */
            return true;
        }
        store_run_janitor(&store, 1);
    }
    return false;
}

/* Stores numbers from `first` on. Returns the first number that had no room. */
static unsigned fill(unsigned first, unsigned count) {
    unsigned number = first;
    while (number < first + count && store_set_number(&store, number, 0, SIZE, 0) == STATUS_OK) {
        number++;
    }
    return number;
}

static unsigned count_present(unsigned first, unsigned end) {
    unsigned present = 0;
    for (unsigned number = first; number < end; number++) {
        present += store_has_number(&store, number, 0, SIZE);
    }
    return present;
}

static void a_lower_limit_evicts_down_to_it_and_gives_the_memory_back(void **state) {
    (void)state;
    fill(0, 8000);
    assert_true(memory_bytes() > UINT64_C(60) * STORE_SEGMENT);
    assert_int_equal(limit_to(16), STATUS_OK);
    assert_true(comes_down_to(16));
    assert_true(memory_bytes() <= UINT64_C(16) * STORE_SEGMENT + LAYOUT_PAGE);
    struct pool_stats stats = stats_now();
    assert_int_equal(stats.segments, 16);
    assert_true(stats.segments_free <= 16);
    assert_true(stats.live_bytes <= stats.capacity_bytes);
    assert_int_equal(pool_get_memory_limit(store.pool), 16 * STORE_SEGMENT);
    assert_true(stats.items > 300);
    fill(8000, 3000); /* and it stays there */
    assert_true(memory_bytes() <= UINT64_C(16) * STORE_SEGMENT + LAYOUT_PAGE);
    assert_true(store_has_number(&store, 10999, 0, SIZE));
}

static void free_segments_go_without_anything_being_evicted(void **state) {
    (void)state;
    fill(0, 500); /* as much as some eight segments hold */
    assert_int_equal(limit_to(16), STATUS_OK);
    assert_true(comes_down_to(16));
    assert_int_equal(count_present(0, 500), 500);
    assert_int_equal(stats_now().counters[POOL_EVICTIONS], 0);
}

static void a_limit_can_be_raised_beyond_what_the_pool_began_with(void **state) {
    (void)state;
    fill(0, 8000);
    uint64_t before = stats_now().live_bytes;
    assert_int_equal(limit_to(8), STATUS_OK);
    assert_true(comes_down_to(8));
    assert_int_equal(limit_to(4 * SEGMENTS), STATUS_OK);
    fill(10000, 12000);
    assert_true(stats_now().live_bytes > 5 * before / 2);
    assert_int_equal(count_present(10000, 22000), 12000);
    assert_int_equal(limit_to(4 * SEGMENTS + 1), STATUS_INVALID);
    assert_int_equal(limit_to(POOL_SEGMENTS_MIN - 1), STATUS_INVALID);
    assert_int_equal(pool_get_memory_limit(store.pool), 4 * SEGMENTS * STORE_SEGMENT);
}

static void where_nothing_may_be_forgotten_a_limit_that_does_not_fit_is_refused(void **state) {
    (void)state;
    unsigned end = fill(0, 2000);
    assert_int_equal(end, 2000);
    assert_int_equal(limit_to(20), STATUS_NO_MEMORY);
    assert_int_equal(pool_get_memory_limit(store.pool), SEGMENTS * STORE_SEGMENT);
    store_run_janitor(&store, 5);
    assert_int_equal(segments_in_force(&store.pool->segments), SEGMENTS);
    assert_int_equal(count_present(0, end), end);
}

static void under_a_lower_limit_a_pool_takes_as_much_as_one_of_that_size(void **state) {
    (void)state;
    assert_int_equal(limit_to(20), STATUS_OK);
    assert_true(comes_down_to(20));
    fill(0, 100000);
    struct pool_stats stats = stats_now();
    assert_int_equal(stats.segments, 20);
    assert_true(stats.live_bytes > stats.capacity_bytes / 4 * 3);
}

/* Live items are in all segments, with much room between them: the janitor moves them together. */
static void where_nothing_may_be_forgotten_a_lower_limit_compacts_down_to_it(void **state) {
    (void)state;
    unsigned end = fill(0, 100000);
    for (unsigned number = 0; number < end; number++) {
        if (number % 4 != 0) {
            EXPECT(store_delete_number(&store, number) == STATUS_OK);
        }
    }
    assert_int_equal(limit_to(20), STATUS_OK);
    assert_true(comes_down_to(20));
    assert_true(memory_bytes() <= UINT64_C(20) * STORE_SEGMENT + LAYOUT_PAGE);
    for (unsigned number = 0; number < end; number++) {
        assert_int_equal(store_has_number(&store, number, 0, SIZE), number % 4 == 0);
    }
    unsigned refused = fill(200000, 100000); /* full by the new limit */
    assert_true(refused < 200000 + 600);
    assert_true(stats_now().full);
    assert_int_equal(limit_to(SEGMENTS), STATUS_OK);
    assert_true(fill(refused, 1000) == refused + 1000);
}

static void a_persistent_pool_keeps_its_size(void **state) {
    (void)state;
    store_begin_persistent(&store, SEGMENTS);
    assert_int_equal(limit_to(32), STATUS_INVALID);
    assert_int_equal(limit_to(SEGMENTS), STATUS_OK);
    assert_int_equal(limit_to(SEGMENTS + 1), STATUS_INVALID);
    store_end(&store);
}

/* ---- while clients work ---- */

enum { WRITERS = 3 };

struct writer {
    pthread_t thread;
    struct store_thread store_thread;
    unsigned number;
    bool keeps; /* evict = no: every item that this client has stored must be there */
};

static _Atomic bool stopped;

static void *write_and_read(void *argument) {
    struct writer *writer = argument;
    char text[POOL_KEY_MAX];
    char value[SIZE];
    struct item item;
    store_thread_refresh(&writer->store_thread);
    for (unsigned round = 0; !atomic_load(&stopped); round++) {
        unsigned number = writer->number * 1000 + round % 400;
        struct bytes key = {.data = text, .size = number_key(text, number)};
        number_value(value, sizeof value, number, 0);
        struct pool_store request = {.mode = POOL_SET, .value = bytes_from(value, sizeof value)};
        enum status status = pool_store(store.pool, &writer->store_thread, key, &request, NULL);
        EXPECT(status == STATUS_OK);
        store_thread_refresh(&writer->store_thread);
        status = pool_get(store.pool, &writer->store_thread, key, &item);
        EXPECT(status == STATUS_OK || (status == STATUS_NOT_FOUND && !writer->keeps));
        EXPECT(status != STATUS_OK ||
               bytes_equal(item.value, bytes_from(value, sizeof value))); /* none is overwritten */
        store_thread_refresh(&writer->store_thread);
    }
    store_thread_leave(&writer->store_thread);
    return NULL;
}

static void check_under_load(bool evict, unsigned low) {
    struct pool_options options = store_options(SEGMENTS);
    options.evict = evict;
    store_begin_threads(&store, options, WRITERS + 1);
    struct writer writers[WRITERS];
    atomic_store(&stopped, false);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.number = i, .keeps = !evict};
        store_thread_init(&writers[i].store_thread, store.grace, i + 1);
        EXPECT(pthread_create(&writers[i].thread, NULL, write_and_read, &writers[i]) == 0);
    }
    for (unsigned round = 0; round < scaled(20); round++) {
        EXPECT(limit_to(low) == STATUS_OK);
        EXPECT(comes_down_to(low));
        EXPECT(memory_bytes() <= (uint64_t)low * STORE_SEGMENT + LAYOUT_PAGE);
        EXPECT(limit_to(2 * SEGMENTS) == STATUS_OK);
        store_run_janitor(&store, 2);
        EXPECT(segments_in_force(&store.pool->segments) == 2 * SEGMENTS);
    }
    atomic_store(&stopped, true);
    store_thread_leave(&store.thread);
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
    }
    store_thread_refresh(&store.thread);
    store_end(&store);
}

static void the_limit_follows_while_clients_write_and_read(void **state) {
    (void)state;
    check_under_load(true, 12);
    check_under_load(false, 32); /* 1200 items of a KiB take about 18 segments */
}

#define EVICTING(test) STORE_TEST(test, .segments = SEGMENTS, .evict = true)
#define KEEPING(test) STORE_TEST(test, .segments = SEGMENTS)

int main(void) {
    const struct CMUnitTest tests[] = {
        EVICTING(a_lower_limit_evicts_down_to_it_and_gives_the_memory_back),
        EVICTING(free_segments_go_without_anything_being_evicted),
        EVICTING(a_limit_can_be_raised_beyond_what_the_pool_began_with),
        KEEPING(free_segments_go_without_anything_being_evicted),
        KEEPING(where_nothing_may_be_forgotten_a_limit_that_does_not_fit_is_refused),
        KEEPING(under_a_lower_limit_a_pool_takes_as_much_as_one_of_that_size),
        KEEPING(where_nothing_may_be_forgotten_a_lower_limit_compacts_down_to_it),
        cmocka_unit_test(a_persistent_pool_keeps_its_size),
        cmocka_unit_test(the_limit_follows_while_clients_write_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
