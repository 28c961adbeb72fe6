/* Clean stops: the next start uses the index that the stop left, and no other index. */
#include "recovery_support.h"

#include "store/pool_private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct store store;

static void after_a_clean_stop_the_index_is_as_it_was(void **state) {
    (void)state;
    struct item item;
    EXPECT(store_set(&store, "k", "v", 0) == STATUS_OK);
    EXPECT(store_set(&store, "unread", "v", 0) == STATUS_OK);
    EXPECT(store_get(&store, "k", &item) == STATUS_OK);
    uint64_t sequence = atomic_load(&store.pool->view.index->sequence);
    store_reopen(&store);
    assert_true(atomic_load(&store.pool->view.index->sequence) == sequence);
    EXPECT(store_get(&store, "k", &item) == STATUS_OK);
    assert_true(item.fetched); /* the data alone does not contain that */
    EXPECT(store_get(&store, "unread", &item) == STATUS_OK);
    assert_false(item.fetched);
}

static void without_the_index_a_clean_stop_loses_nothing(void **state) {
    (void)state;
    unsigned count = 1000;
    delete_one_in_three(&store, &count);
    store_close(&store);
    EXPECT(unlink(store.index_path) == 0);
    store_open(&store);
    for (unsigned number = 0; number < count; number++) {
        EXPECT(store_has_number(&store, number, number % 7, number % 900) == (number % 3 != 0));
    }
}

static void change_k(struct store *child, void *argument) {
    (void)argument;
    EXPECT(store_set(child, "k", "new", 0) == STATUS_OK);
    EXPECT(store_delete(child, "deleted") == STATUS_OK);
}

static void the_index_of_an_earlier_stop_is_not_used_again(void **state) {
    (void)state;
    EXPECT(store_set(&store, "k", "old", 0) == STATUS_OK);
    EXPECT(store_set(&store, "deleted", "v", 0) == STATUS_OK);
    store_close(&store);
    struct image index = read_image(store.index_path);
    store_crash(&store, change_k, NULL);
    write_bytes(store.index_path, index.bytes, index.size, 0); /* as if it had been put back */
    store_open(&store);
    expect_there(&store, "k", "new");
    expect_gone(&store, "deleted");
    store_close(&store);
    write_bytes(store.index_path, index.bytes, index.size, 0); /* the same after a clean stop */
    store_open(&store);
    expect_there(&store, "k", "new");
    expect_gone(&store, "deleted");
    free(index.bytes);
}

static void the_index_of_other_data_is_not_used(void **state) {
    (void)state;
    EXPECT(store_set(&store, "k", "v", 0) == STATUS_OK);
    store_close(&store);
    struct image index = read_image(store.index_path);
    EXPECT(unlink(store.data_path) == 0);
    store_open(&store); /* a new file with the old name */
    expect_gone(&store, "k");
    store_close(&store);
    write_bytes(store.index_path, index.bytes, index.size, 0);
    store_open(&store);
    expect_gone(&store, "k");
    free(index.bytes);
}

/* The state that a process sees that reads the pool by itself (invariant 6). */
static void an_index_that_is_not_reused_says_so_to_those_who_still_map_it(void **state) {
    (void)state;
    store_crash(&store, store_three, NULL);
    int file = open(store.index_path, O_RDONLY);
    EXPECT(file >= 0);
    const struct layout_index_header *mapped =
        mmap(NULL, LAYOUT_PAGE, PROT_READ, MAP_SHARED, file, 0);
    EXPECT(mapped != MAP_FAILED);
    assert_int_equal(atomic_load(&mapped->state), LAYOUT_INDEX_LIVE);
    store_open(&store);
    assert_int_equal(atomic_load(&mapped->state), LAYOUT_INDEX_SUPERSEDED);
    munmap((void *)(uintptr_t)mapped, LAYOUT_PAGE);
    close(file);
}

static void an_index_that_is_reused_goes_on_to_be_believed(void **state) {
    (void)state;
    store_close(&store);
    int file = open(store.index_path, O_RDONLY);
    EXPECT(file >= 0);
    const struct layout_index_header *mapped =
        mmap(NULL, LAYOUT_PAGE, PROT_READ, MAP_SHARED, file, 0);
    EXPECT(mapped != MAP_FAILED);
    assert_int_equal(atomic_load(&mapped->state), LAYOUT_INDEX_STOPPED);
    store_open(&store);
    assert_int_equal(atomic_load(&mapped->state), LAYOUT_INDEX_LIVE);
    munmap((void *)(uintptr_t)mapped, LAYOUT_PAGE);
    close(file);
}

static void a_failed_sync_at_the_stop_leaves_the_index_to_be_rebuilt(void **state) {
    (void)state;
    struct item item;
    EXPECT(store_set(&store, "k", "v", 0) == STATUS_OK);
    EXPECT(store_get(&store, "k", &item) == STATUS_OK);
    fault_fail_syncs(true);
    store_close(&store);
    fault_fail_syncs(false);
    store_open(&store);
    EXPECT(store_get(&store, "k", &item) == STATUS_OK);
    assert_false(item.fetched);
}

#define PERSISTENT(test) STORE_TEST(test, .segments = 32, .persist = true)

int main(void) {
    const struct CMUnitTest tests[] = {
        PERSISTENT(after_a_clean_stop_the_index_is_as_it_was),
        PERSISTENT(without_the_index_a_clean_stop_loses_nothing),
        PERSISTENT(the_index_of_an_earlier_stop_is_not_used_again),
        PERSISTENT(the_index_of_other_data_is_not_used),
        PERSISTENT(an_index_that_is_not_reused_says_so_to_those_who_still_map_it),
        PERSISTENT(an_index_that_is_reused_goes_on_to_be_believed),
        PERSISTENT(a_failed_sync_at_the_stop_leaves_the_index_to_be_rebuilt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
