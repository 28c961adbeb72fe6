/* Opening a pool: which file it opens, and the limits of its size. */
#include "store_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct store store;
static char replacement[160]; /* replaces the data file when the pool is about to lock it */

/* Replaces the C library's function. */
int flock(int file, int operation) {
    if (replacement[0] != '\0') {
        EXPECT(rename(replacement, store.data_path) == 0);
        replacement[0] = '\0';
    }
    return (int)syscall(SYS_flock, file, operation);
}

/* Replaces the file as `stayctl restore` may do it between the open and the lock. */
static void a_file_that_is_replaced_while_it_is_opened_is_not_the_one_that_is_used(void **state) {
    (void)state;
    char command[512];
    EXPECT(store_set(&store, "k", "restored", 0) == STATUS_OK);
    store_close(&store);
    snprintf(command, sizeof command, "cp %s %s.copy", store.data_path, store.data_path);
    EXPECT(system(command) == 0);
    store_open(&store);
    EXPECT(store_set(&store, "k", "replaced", 0) == STATUS_OK);
    store_close(&store);
    snprintf(replacement, sizeof replacement, "%s.copy", store.data_path);
    store_open(&store);
    expect_there(&store, "k", "restored");
    EXPECT(store_set(&store, "k", "later", 0) == STATUS_OK);
    store_reopen(&store);
    expect_there(&store, "k", "later");
}

static void more_memory_than_there_can_be_is_refused(void **state) {
    (void)state;
    char error[POOL_ERROR_MAX];
    struct pool_options options = store.options;
    for (uint32_t item_max = 1 << 10; item_max <= POOL_ITEM_MAX_LIMIT; item_max *= 2) {
        options.item_max_bytes = item_max;
        options.memory_bytes = UINT64_C(1024) << 30;
        EXPECT(pool_options_check(&options, error));
        options.memory_bytes++;
        EXPECT(!pool_options_check(&options, error));
        EXPECT(strstr(error, "1024G") != NULL);
    }
}

static void a_data_dir_that_does_not_exist_is_an_error(void **state) {
    (void)state;
    store_close(&store);
    const char *folder = store.options.data_dir;
    store.options.data_dir = "/nowhere/at/all";
    EXPECT(strstr(store_open_error(&store), "No such file or directory") != NULL);
    store.options.data_dir = folder;
    store_open(&store);
}

/* All of the first segments have few live items each. So the first records are moved into segments
 * that must be emptied as well. */
static void a_pool_that_was_written_through_shrinks_with_every_item(void **state) {
    (void)state;
    enum { KEYS = 60, CHANGES = 1500, SHRINKS = 12 };
    static const uint32_t ttls_s[] = {100, 3000, 20000, 80000, 600000, 2000000};
    uint64_t random = 1;
    unsigned versions[KEYS] = {0};
    size_t sizes[KEYS];
    for (unsigned shrink = 0; shrink < SHRINKS; shrink++) {
        store.options.memory_bytes = UINT64_C(64) * STORE_SEGMENT;
        store_reopen(&store);
        for (unsigned change = 0; change < CHANGES + KEYS; change++) {
            unsigned number = change < KEYS ? change : random_below(&random, KEYS);
            sizes[number] = 100 + random_below(&random, 3000);
            uint32_t expiry_s = clock_now_s() + ttls_s[random_below(&random, 6)];
            EXPECT(store_set_number(&store, number, ++versions[number], sizes[number], expiry_s) ==
                   STATUS_OK);
        }
        store.options.memory_bytes = UINT64_C(16) * STORE_SEGMENT;
        store_reopen(&store);
        for (unsigned number = 0; number < KEYS; number++) {
            EXPECT(store_has_number(&store, number, versions[number], sizes[number]));
        }
    }
}

#define PERSISTENT(test) STORE_TEST(test, .segments = 32, .persist = true)

int main(void) {
    const struct CMUnitTest tests[] = {
        PERSISTENT(a_file_that_is_replaced_while_it_is_opened_is_not_the_one_that_is_used),
        PERSISTENT(more_memory_than_there_can_be_is_refused),
        PERSISTENT(a_data_dir_that_does_not_exist_is_an_error),
        PERSISTENT(a_pool_that_was_written_through_shrinks_with_every_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
