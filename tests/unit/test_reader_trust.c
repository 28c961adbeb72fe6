/* Which mappings a reader (reader.h) trusts when daemons have ended, were killed, or have started
 * again. */
#include "reader_support.h"

#include "base/clock.h"
#include "store/data_file.h"
#include "store/inspect.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct store store;

static void it_reads_on_while_no_daemon_runs_and_when_one_runs_again(void **state) {
    (void)state;
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    struct reading reading;
    reading_begin(&reading, &store);
    store_close(&store);
    expect_read(&reading, "key", "v");
    EXPECT(!reader_is_kept(&reading.view));
    store_open(&store);
    EXPECT(reader_is_kept(&reading.view));
    expect_read(&reading, "key", "v");
    EXPECT(store_set(&store, "key", "newer", 0) == STATUS_OK);
    expect_read(&reading, "key", "newer");
    reading_end(&reading);
}

static void work_one(struct store *child, void *argument) {
    (void)argument;
    EXPECT(store_set(child, "key", "v", 0) == STATUS_OK);
}

/* Reads the files that a killed daemon has left. Then opens the pool again, and changes the
 * item. */
static void expect_gone_after(void (*between)(void)) {
    store_crash(&store, work_one, NULL);
    /* The mappings that a reader of the killed daemon would have. */
    struct reading reading;
    struct mapping data = {.file = open(store.data_path, O_RDONLY)};
    struct mapping index = {.file = open(store.index_path, O_RDONLY)};
    struct pool fake = {.data_mapping = data, .index_mapping = index};
    reading_begin_on(&reading, &fake);
    expect_read(&reading, "key", "v");
    EXPECT(!reader_is_kept(&reading.view));
    between();
    store_open(&store);
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    EXPECT(store_delete(&store, "key") == STATUS_OK);
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    close(data.file);
    close(index.file);
    reading_end(&reading);
}

static void nothing(void) {
}

static void remove_index(void) {
    EXPECT(unlink(store.index_path) == 0);
}

static void it_does_not_trust_an_index_that_a_new_daemon_has_not_taken_over(void **state) {
    (void)state;
    expect_gone_after(nothing);
}

static void nor_one_whose_file_had_gone(void **state) {
    (void)state;
    expect_gone_after(remove_index);
}

static void nor_one_of_a_file_that_was_replaced(void **state) {
    (void)state;
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    struct reading reading;
    reading_begin(&reading, &store);
    store_close(&store);
    EXPECT(unlink(store.index_path) == 0);
    int file = open(store.data_path, O_RDWR);
    inspect_end_readers(file);
    close(file);
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    store_open(&store);
    expect_there(&store, "key", "v");
    reading_end(&reading);
}

/* The next daemon does not use this index, because its bytes were written to a file. */
static void expect_no_memory_after(const char *path, size_t offset, const void *bytes,
                                   size_t size) {
    store_fill(&store, 0, 100, 0);
    struct reading reading;
    reading_begin(&reading, &store);
    store_close(&store);
    int file = open(path, O_RDWR);
    EXPECT(pwrite(file, bytes, size, (off_t)offset) == (ssize_t)size);
    close(file);
    store_open(&store);
    struct stat status;
    EXPECT(fstat(reading.index_file, &status) == 0);
    assert_true(status.st_blocks * 512 <= LAYOUT_PAGE);
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    reading_end(&reading);
}

static void a_superseded_index_takes_no_memory(void **state) {
    (void)state;
    const uint64_t none = 0;
    expect_no_memory_after(store.data_path, offsetof(struct layout_data_header, stop_id), &none,
                           sizeof none);
}

static void nor_does_one_of_an_earlier_version(void **state) {
    (void)state;
    const uint32_t version = LAYOUT_VERSION_INDEX_ID;
    expect_no_memory_after(store.index_path, offsetof(struct layout_index_header, version),
                           &version, sizeof version);
}

static void a_pool_that_shrinks_cuts_nothing_off_that_is_mapped(void **state) {
    (void)state;
    unsigned count = store_fill(&store, 0, 1000, 0);
    struct reading reading;
    reading_begin(&reading, &store);
    for (unsigned number = 0; number < count; number++) {
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    store.options.memory_bytes = UINT64_C(10) * STORE_SEGMENT;
    store_reopen(&store);
    struct stat status;
    EXPECT(stat(store.data_path, &status) == 0);
    assert_int_equal(status.st_size, reading.data_bytes);
    assert_true(status.st_blocks * 512 <= LAYOUT_PAGE + 10 * STORE_SEGMENT);
    const volatile char *last = (char *)reading.data + reading.data_bytes - 1;
    assert_int_equal(*last, 0); /* no SIGBUS */
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    expect_there(&store, "key", "v");
    store.options.memory_bytes = UINT64_C(16) * STORE_SEGMENT;
    store_reopen(&store);
    expect_there(&store, "key", "v");
    reading_end(&reading);
}

static void a_volatile_pool_that_is_closed_is_gone(void **state) {
    (void)state;
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    struct reading reading;
    reading_begin(&reading, &store);
    expect_read(&reading, "key", "v");
    store_close(&store);
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    store_open(&store);
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    reading_end(&reading);
}

static void a_volatile_pool_whose_daemon_was_killed_is_gone_at_once(void **state) {
    (void)state;
    int ends[2];
    EXPECT(pipe(ends) == 0);
    store_close(&store);
    pid_t child = fork();
    if (child == 0) {
        store_open(&store);
        EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
        int files[2] = {store.pool->data_mapping.file, store.pool->index_mapping.file};
        EXPECT(write(ends[1], files, sizeof files) == (ssize_t)sizeof files);
        pause();
    }
    int files[2];
    EXPECT(read(ends[0], files, sizeof files) == (ssize_t)sizeof files);
    char path[2][64];
    struct pool fake = {0};
    snprintf(path[0], sizeof path[0], "/proc/%d/fd/%d", child, files[0]);
    snprintf(path[1], sizeof path[1], "/proc/%d/fd/%d", child, files[1]);
    fake.data_mapping.file = open(path[0], O_RDONLY);
    fake.index_mapping.file = open(path[1], O_RDONLY);
    struct reading reading;
    reading_begin_on(&reading, &fake);
    expect_read(&reading, "key", "v");
    EXPECT(kill(child, SIGKILL) == 0);
    EXPECT(waitpid(child, NULL, 0) == child);
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    close(fake.data_mapping.file);
    close(fake.index_mapping.file);
    reading_end(&reading);
    close(ends[0]);
    close(ends[1]);
    store_open(&store);
}

static void a_volatile_pool_whose_heart_stands_still_is_gone(void **state) {
    (void)state;
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    struct reading reading;
    reading_begin(&reading, &store);
    expect_read(&reading, "key", "v");
    struct layout_index_header *index = store.pool->view.index;
    enum reader_outcome outcome = READER_HIT;
    for (int tries = 0; outcome != READER_GONE && tries < 100; tries++) {
        atomic_store(&index->heartbeat_ms, clock_monotonic_ms() - LAYOUT_HEARTBEAT_MS);
        outcome = read_key(&reading, "key"); /* before its next heartbeat, at one of the tries */
    }
    assert_int_equal(outcome, READER_GONE);
    reading_end(&reading);
}

/* Its items change on other hosts while its daemon is away, and before the daemon has caught up. */
static void a_replicated_pool_is_read_only_while_its_daemon_admits_that(void **state) {
    (void)state;
    store_close(&store);
    store.options.partitions = 2;
    unlink(store.data_path);
    store_open(&store);
    pool_admit_readers(store.pool, true);
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    struct reading reading;
    reading_begin(&reading, &store);
    expect_read(&reading, "key", "v");
    pool_admit_readers(store.pool, false);
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    pool_admit_readers(store.pool, true);
    expect_read(&reading, "key", "v");
    store_close(&store);
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    store_open(&store);
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    pool_admit_readers(store.pool, true);
    expect_read(&reading, "key", "v");
    reading_end(&reading);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_PERSISTENT(it_reads_on_while_no_daemon_runs_and_when_one_runs_again),
        ON_PERSISTENT(it_does_not_trust_an_index_that_a_new_daemon_has_not_taken_over),
        ON_PERSISTENT(nor_one_whose_file_had_gone),
        ON_PERSISTENT(nor_one_of_a_file_that_was_replaced),
        ON_PERSISTENT(a_superseded_index_takes_no_memory),
        ON_PERSISTENT(nor_does_one_of_an_earlier_version),
        ON_PERSISTENT(a_pool_that_shrinks_cuts_nothing_off_that_is_mapped),
        ON_PERSISTENT(a_replicated_pool_is_read_only_while_its_daemon_admits_that),
        ON_VOLATILE(a_volatile_pool_that_is_closed_is_gone),
        ON_VOLATILE(a_volatile_pool_whose_daemon_was_killed_is_gone_at_once),
        ON_VOLATILE(a_volatile_pool_whose_heart_stands_still_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
