/* Files that a pool does not open: each is refused with its reason, and left as it is. */
#include "recovery_support.h"

#include "store/layout.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct store store;

/* The pool does not open, gives an error with all of `words`, and leaves the file as it is. */
static void expect_refused(const char *const words[]) {
    struct image before = read_image(store.data_path);
    const char *error = store_open_error(&store);
    for (int i = 0; words[i] != NULL; i++) {
        bool says = strstr(error, words[i]) != NULL;
        if (!says) {
            fprintf(stderr, "this does not say \"%s\": %s\n", words[i], error);
        }
        EXPECT(says);
    }
    EXPECT(strstr(error, "/test.pool") != NULL);
    struct image after = read_image(store.data_path);
    EXPECT(after.size == before.size && memcmp(after.bytes, before.bytes, before.size) == 0);
    free(before.bytes);
    free(after.bytes);
}

static void a_file_that_is_not_a_pool_is_refused(void **state) {
    (void)state;
    store_close(&store);
    static const char *const words[] = {"is not a stayd pool file", "left as it is", NULL};
    write_bytes(store.data_path, "#!/bin/sh\n", 10, 0);
    expect_refused(words);
    EXPECT(truncate(store.data_path, 100) == 0);
    expect_refused(words);
    EXPECT(truncate(store.data_path, 0) == 0);
    expect_refused(words);
}

static void a_damaged_header_is_refused(void **state) {
    (void)state;
    store_close(&store);
    static const char *const words[] = {"is damaged", "checksum", "left as it is", NULL};
    write_bytes(store.data_path, "another.", 8, offsetof(struct layout_data_header, hash_seed));
    expect_refused(words);
}

static void a_file_that_is_too_short_is_refused(void **state) {
    (void)state;
    EXPECT(store_set(&store, "k", "v", 0) == STATUS_OK);
    store_close(&store);
    struct image whole = read_image(store.data_path);
    static const char *const words[] = {"is damaged", "bytes long", "left as it is", NULL};
    EXPECT(truncate(store.data_path, (off_t)whole.size - 1) == 0);
    expect_refused(words);
    EXPECT(truncate(store.data_path, LAYOUT_PAGE) == 0);
    expect_refused(words);
    write_bytes(store.data_path, whole.bytes, whole.size, 0);
    store_open(&store); /* the refusals have lost no item */
    expect_there(&store, "k", "v");
    free(whole.bytes);
}

static void a_file_of_another_version_is_refused(void **state) {
    (void)state;
    store_close(&store);
    static const char *const words[] = {"has format version 99", "left as it is", NULL};
    uint32_t version = 99;
    write_bytes(store.data_path, &version, sizeof version,
                offsetof(struct layout_data_header, version));
    expect_refused(words);
}

static void a_file_that_another_process_has_open_is_refused(void **state) {
    (void)state;
    static const char *const words[] = {"is in use by another stayd", NULL};
    expect_refused(words); /* a lock belongs to the open file, so the same process can hold it */
    EXPECT(store_set(&store, "k", "v", 0) == STATUS_OK);
    store_reopen(&store);
    expect_there(&store, "k", "v");
}

static void a_folder_in_place_of_the_file_is_refused(void **state) {
    (void)state;
    store_close(&store);
    EXPECT(unlink(store.data_path) == 0 && mkdir(store.data_path, 0700) == 0);
    EXPECT(strstr(store_open_error(&store), "/test.pool") != NULL);
}

static void a_disk_without_room_for_the_file_is_an_error_at_the_start(void **state) {
    (void)state;
    store_close(&store);
    EXPECT(unlink(store.data_path) == 0 && unlink(store.index_path) == 0);
    fault_fail_allocations(true);
    const char *error = store_open_error(&store);
    EXPECT(strstr(error, "cannot reserve") != NULL && strstr(error, "No space left") != NULL);
    EXPECT(access(store.data_path, F_OK) != 0 && errno == ENOENT); /* no unfinished file is left */
    fault_fail_allocations(false);
    store_open(&store);
    EXPECT(store_set(&store, "k", "v", 0) == STATUS_OK);
}

static void a_run_dir_without_room_for_the_index_is_an_error_and_loses_nothing(void **state) {
    (void)state;
    EXPECT(store_set(&store, "k", "v", 0) == STATUS_OK);
    store_close(&store);
    EXPECT(unlink(store.index_path) == 0);
    fault_fail_allocations(true);
    EXPECT(strstr(store_open_error(&store), "run_dir") != NULL);
    fault_fail_allocations(false);
    store_open(&store);
    expect_there(&store, "k", "v");
}

#define PERSISTENT(test) STORE_TEST(test, .segments = 32, .persist = true)

int main(void) {
    const struct CMUnitTest tests[] = {
        PERSISTENT(a_file_that_is_not_a_pool_is_refused),
        PERSISTENT(a_damaged_header_is_refused),
        PERSISTENT(a_file_that_is_too_short_is_refused),
        PERSISTENT(a_file_of_another_version_is_refused),
        PERSISTENT(a_file_that_another_process_has_open_is_refused),
        PERSISTENT(a_folder_in_place_of_the_file_is_refused),
        PERSISTENT(a_disk_without_room_for_the_file_is_an_error_at_the_start),
        PERSISTENT(a_run_dir_without_room_for_the_index_is_an_error_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
