/* A process that reads a mapped pool (reader.h): it reads what the daemon would reply, or asks over
 * the socket, and it reads nothing outside its mappings, whatever they contain. */
#include "store_support.h"

#include "base/clock.h"
#include "store/data_file.h"
#include "store/inspect.h"
#include "store/pool_private.h"
#include "store/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READER_ROOM = 64 << 10 };

static struct store store;

/* What another process has: descriptors of its own, mappings that it cannot write. */
struct reading {
    int data_file;
    int index_file;
    void *data;
    void *index;
    size_t data_bytes;
    size_t index_bytes;
    struct lookup_view view;
    char value[READER_ROOM];
    struct reader_item item;
};

static void *map_read_only(int file, size_t *size) {
    struct stat status;
    EXPECT(fstat(file, &status) == 0);
    *size = (size_t)status.st_size;
    void *base = mmap(NULL, *size, PROT_READ, MAP_SHARED, file, 0);
    EXPECT(base != MAP_FAILED);
    return base;
}

static void reading_begin_on(struct reading *reading, struct pool *pool) {
    reading->data_file = mapping_open_read_only(&pool->data_mapping);
    reading->index_file = mapping_open_read_only(&pool->index_mapping);
    EXPECT(reading->data_file >= 0 && reading->index_file >= 0);
    reading->data = map_read_only(reading->data_file, &reading->data_bytes);
    reading->index = map_read_only(reading->index_file, &reading->index_bytes);
    EXPECT(lookup_open(&reading->view, reading->data, reading->data_bytes, reading->index,
                       reading->index_bytes));
}

static void reading_begin(struct reading *reading) {
    reading_begin_on(reading, store.pool);
    EXPECT(reader_is_current(&reading->view) && reader_is_kept(&reading->view));
}

static void reading_end(struct reading *reading) {
    munmap(reading->data, reading->data_bytes);
    munmap(reading->index, reading->index_bytes);
    close(reading->data_file);
    close(reading->index_file);
}

static enum reader_outcome read_key(struct reading *reading, const char *key) {
    return reader_get(&reading->view, bytes_from_string(key), reading->value, sizeof reading->value,
                      &reading->item);
}

static void expect_read(struct reading *reading, const char *key, const char *value) {
    assert_int_equal(read_key(reading, key), READER_HIT);
    assert_int_equal(reading->item.value_size, strlen(value));
    assert_memory_equal(reading->value, value, strlen(value));
}

static int begin_volatile(void **state) {
    (void)state;
    store_begin(&store, store_options(16));
    return 0;
}

static int begin_persistent(void **state) {
    (void)state;
    store_begin_persistent(&store, 16);
    return 0;
}

static int end(void **state) {
    (void)state;
    store_end(&store);
    return 0;
}

/* ---- what it reads ---- */

static void what_is_stored_is_read_as_it_is(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading);
    const struct pool_store request = {.value = bytes_from_string("the value"),
                                       .client_flags = 77,
                                       .expiry_s = CLOCK_START_S + 100};
    struct item stored;
    EXPECT(pool_store(store.pool, &store.thread, bytes_from_string("key"), &request, &stored) ==
           STATUS_OK);
    expect_read(&reading, "key", "the value");
    assert_int_equal(reading.item.client_flags, 77);
    assert_int_equal(reading.item.expiry_s, CLOCK_START_S + 100);
    assert_int_equal(reading.item.cas, stored.cas);
    EXPECT(store_set(&store, "key", "", 0) == STATUS_OK);
    expect_read(&reading, "key", "");
    assert_int_equal(read_key(&reading, "another"), READER_MISS);
    assert_int_equal(reader_get(&reading.view, bytes_from_string("key"), NULL, 0, &reading.item),
                     READER_HIT);
    EXPECT(store_set(&store, "key", "12345", 0) == STATUS_OK);
    assert_int_equal(
        reader_get(&reading.view, bytes_from_string("key"), reading.value, 4, &reading.item),
        READER_SMALL);
    assert_int_equal(reading.item.value_size, 5);
    reading_end(&reading);
}

static void every_item_is_found_while_the_index_grows(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading);
    unsigned count = store_fill(&store, 0, 40, 0);
    for (unsigned number = 0; number < count; number++) {
        char key[POOL_KEY_MAX];
        char value[64];
        size_t size = number_key(key, number);
        number_value(value, 40, number, 0);
        assert_int_equal(reader_get(&reading.view, bytes_from(key, size), reading.value,
                                    sizeof reading.value, &reading.item),
                         READER_HIT);
        assert_memory_equal(reading.value, value, 40);
    }
    reading_end(&reading);
}

static void what_has_ended_is_a_miss_at_once(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading);
    EXPECT(store_set(&store, "deleted", "v", 0) == STATUS_OK);
    EXPECT(store_set(&store, "expired", "v", CLOCK_START_S + 10) == STATUS_OK);
    EXPECT(store_set(&store, "flushed", "v", 0) == STATUS_OK);
    EXPECT(store_delete(&store, "deleted") == STATUS_OK);
    assert_int_equal(read_key(&reading, "deleted"), READER_MISS);
    clock_advance_s(9);
    expect_read(&reading, "expired", "v");
    clock_advance_s(1);
    assert_int_equal(read_key(&reading, "expired"), READER_MISS);
    expect_read(&reading, "flushed", "v");
    store.thread.now_s = clock_now_s();
    EXPECT(pool_flush(store.pool, &store.thread, 0) == STATUS_OK);
    assert_int_equal(read_key(&reading, "flushed"), READER_MISS);
    reading_end(&reading);
}

static void a_flush_that_has_fallen_due_is_left_to_the_daemon(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading);
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    store.thread.now_s = clock_now_s();
    EXPECT(pool_flush(store.pool, &store.thread, clock_now_s() + 10) == STATUS_OK);
    expect_read(&reading, "key", "v");
    /* As it is before the daemon has come to it, and while it is at it. */
    struct layout_index_header *index = store.pool->view.index;
    atomic_store(&index->flush_due_s, clock_now_s());
    enum reader_outcome due = read_key(&reading, "key");
    atomic_store(&index->flush_due_s, 0);
    uint64_t flushed = atomic_exchange(&index->flush_sequence, LAYOUT_FLUSHING);
    enum reader_outcome under_way = read_key(&reading, "key");
    atomic_store(&index->flush_sequence, flushed);
    assert_int_equal(under_way, READER_ASK);
    assert_true(due == READER_ASK || due == READER_MISS); /* the janitor may have come to it */
    reading_end(&reading);
}

static void the_limits_on_age_hold_for_readers(void **state) {
    (void)state;
    store.options.idle_timeout_s = 80;
    store_reopen(&store);
    struct reading reading;
    reading_begin(&reading);
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    clock_advance_s(9);
    expect_read(&reading, "key", "v");
    clock_advance_s(1); /* an eighth: the daemon is to note that it is in use */
    assert_int_equal(read_key(&reading, "key"), READER_ASK);
    struct item item;
    EXPECT(store_get(&store, "key", &item) == STATUS_OK);
    expect_read(&reading, "key", "v");
    clock_advance_s(80);
    assert_int_equal(read_key(&reading, "key"), READER_MISS);
    reading_end(&reading);
    store.options.idle_timeout_s = 0;
    store.options.max_lifetime_s = 50;
    store_reopen(&store);
    reading_begin(&reading);
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    expect_read(&reading, "key", "v");
    clock_advance_s(50);
    assert_int_equal(read_key(&reading, "key"), READER_MISS);
    reading_end(&reading);
}

static void what_is_not_on_the_disk_yet_is_left_to_the_daemon(void **state) {
    (void)state;
    store.options.fsync = POOL_FSYNC_ALWAYS;
    store_reopen(&store);
    struct reading reading;
    reading_begin(&reading);
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    uint64_t ticket = pool_take_ticket(store.pool, &store.thread);
    while (pool_check_ticket(store.pool, ticket) != STATUS_OK) {
        usleep(1000);
    }
    enum reader_outcome outcome;
    for (int tries = 0; (outcome = read_key(&reading, "key")) == READER_ASK && tries < 10;
         tries++) {
        EXPECT(store_set(&store, "other", "v", 0) == STATUS_OK); /* a sync more */
        ticket = pool_take_ticket(store.pool, &store.thread);
        while (pool_check_ticket(store.pool, ticket) != STATUS_OK) {
            usleep(1000);
        }
    }
    assert_int_equal(outcome, READER_HIT);
    fault_fail_syncs(true);
    EXPECT(store_set(&store, "key", "newer", 0) == STATUS_OK);
    assert_int_equal(read_key(&reading, "key"), READER_ASK);
    fault_none();
    reading_end(&reading);
}

/* ---- what it trusts ---- */

static void it_reads_on_while_no_daemon_runs_and_when_one_runs_again(void **state) {
    (void)state;
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    struct reading reading;
    reading_begin(&reading);
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

/* Reads what a killed daemon has left, then opens the pool again and changes the item. */
static void expect_gone_after(void (*between)(void)) {
    store_crash(&store, work_one, NULL);
    /* The mappings that a reader of the killed daemon has. */
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
    reading_begin(&reading);
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

static void a_superseded_index_takes_no_memory(void **state) {
    (void)state;
    store_fill(&store, 0, 100, 0);
    struct reading reading;
    reading_begin(&reading);
    store_close(&store);
    int file = open(store.data_path, O_RDWR);
    uint64_t none = 0;
    EXPECT(pwrite(file, &none, sizeof none, offsetof(struct layout_data_header, stop_id)) == 8);
    close(file);
    store_open(&store);
    struct stat status;
    EXPECT(fstat(reading.index_file, &status) == 0);
    assert_true(status.st_blocks * 512 <= LAYOUT_PAGE);
    assert_int_equal(read_key(&reading, "key"), READER_GONE);
    reading_end(&reading);
}

static void a_pool_that_shrinks_cuts_nothing_off_that_is_mapped(void **state) {
    (void)state;
    unsigned count = store_fill(&store, 0, 1000, 0);
    struct reading reading;
    reading_begin(&reading);
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
    reading_begin(&reading);
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
    reading_begin(&reading);
    expect_read(&reading, "key", "v");
    struct layout_index_header *index = store.pool->view.index;
    enum reader_outcome outcome = READER_HIT;
    for (int tries = 0; outcome != READER_GONE && tries < 100; tries++) {
        atomic_store(&index->heartbeat_ms, clock_monotonic_ms() - LAYOUT_HEARTBEAT_MS);
        outcome = read_key(&reading, "key"); /* before its next beat, at one of the tries */
    }
    assert_int_equal(outcome, READER_GONE);
    reading_end(&reading);
}

/* ---- what it may do ---- */

static void its_descriptors_cannot_be_used_to_write(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading);
    const int files[] = {reading.data_file, reading.index_file};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pwrite(files[i], "x", 1, 0), -1);
        assert_int_equal(ftruncate(files[i], 0), -1);
        assert_ptr_equal(mmap(NULL, LAYOUT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, files[i], 0),
                         MAP_FAILED);
    }
    assert_int_equal(mprotect(reading.data, LAYOUT_PAGE, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(mprotect(reading.index, LAYOUT_PAGE, PROT_READ | PROT_WRITE), -1);
    if (geteuid() != 0) {
        print_message("    not root: whether another user can open them anew is not tried\n");
    } else {
        pid_t child = fork();
        if (child == 0) {
            bool refused = setgid(65534) == 0 && setuid(65534) == 0;
            for (int i = 0; i < 2; i++) {
                char path[64];
                snprintf(path, sizeof path, "/proc/self/fd/%d", files[i]);
                refused = refused && open(path, O_RDWR) < 0 && open(path, O_RDONLY) < 0 &&
                          fchmod(files[i], 0666) != 0;
            }
            _exit(refused ? 0 : 1);
        }
        int status = 1;
        EXPECT(waitpid(child, &status, 0) == child);
        assert_int_equal(status, 0);
    }
    reading_end(&reading);
}

/* ---- whatever is in the mappings ---- */

/* Copies of both mappings, each with a page behind it that nobody may touch. */
struct hostile {
    char *data;
    char *index;
    size_t data_bytes;
    size_t index_bytes;
};

static char *copy_before_a_wall(const void *from, size_t size) {
    size_t room = (size + LAYOUT_PAGE - 1) / LAYOUT_PAGE * LAYOUT_PAGE;
    char *base = mmap(NULL, room + LAYOUT_PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(base != MAP_FAILED && mprotect(base + room, LAYOUT_PAGE, PROT_NONE) == 0);
    memcpy(base + room - size, from, size);
    return base + room - size;
}

static uint64_t any_number(uint64_t *random) {
    switch (random_below(random, 6)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return UINT64_C(1) << random_below(random, 64);
    case 3:
        return random_below(random, 4096);
    case 4:
        return (uint64_t)random_below(random, 4096) * LAYOUT_PAGE;
    default:
        return random_next(random);
    }
}

/* Changes a few words: in the headers, in the buckets, in the segment table, in records. */
static void corrupt(struct hostile *hostile, const struct layout_index_header *plan,
                    uint64_t *random) {
    unsigned count = 1 + random_below(random, 40);
    for (unsigned i = 0; i < count; i++) {
        char *base = hostile->index;
        uint64_t from = 0;
        uint64_t bytes = sizeof *plan;
        switch (random_below(random, 5)) {
        case 0:
            break;
        case 1:
            from = plan->buckets_offset;
            bytes = 1024 * sizeof(struct layout_bucket);
            break;
        case 2:
            from = plan->overflow_offset;
            bytes = 256 * sizeof(struct layout_bucket);
            break;
        case 3:
            base = hostile->data;
            bytes = sizeof(struct layout_data_header);
            break;
        default:
            base = hostile->data;
            bytes = hostile->data_bytes;
        }
        uint64_t value = any_number(random);
        size_t size = (size_t)1 << random_below(random, 4);
        memcpy(base + from + random_below(random, (uint32_t)(bytes - size)), &value, size);
    }
}

static void mappings_that_anybody_has_written_lead_nowhere_outside_them(void **state) {
    (void)state;
    unsigned count = store_fill(&store, 0, 500, 0);
    struct reading reading;
    reading_begin(&reading);
    const struct layout_index_header *plan = reading.index;
    struct hostile hostile = {.data_bytes = reading.data_bytes, .index_bytes = reading.index_bytes};
    hostile.data = copy_before_a_wall(reading.data, hostile.data_bytes);
    hostile.index = copy_before_a_wall(reading.index, hostile.index_bytes);
    uint64_t random = 9;
    unsigned opened = 0;
    for (unsigned round = 0; round < scaled(400); round++) {
        memcpy(hostile.data, reading.data, hostile.data_bytes);
        memcpy(hostile.index, reading.index, plan->buckets_offset + 2048 * 64);
        memset(hostile.index + plan->overflow_offset, 0, (size_t)256 * 64);
        struct lookup_view view;
        /* Before it is opened, or afterwards: the view's numbers stay as they were checked. */
        bool early = round % 2 == 0;
        if (early) {
            corrupt(&hostile, plan, &random);
        }
        if (!lookup_open(&view, hostile.data, hostile.data_bytes, hostile.index,
                         hostile.index_bytes)) {
            assert_true(early);
            continue;
        }
        opened++;
        for (unsigned i = 0; i < 50; i++) {
            if (!early && i % 10 == 0) {
                corrupt(&hostile, plan, &random);
            }
            char key[POOL_KEY_MAX];
            size_t size = number_key(key, random_below(&random, count + 10));
            enum reader_outcome outcome = reader_get(&view, bytes_from(key, size), reading.value,
                                                     sizeof reading.value, &reading.item);
            assert_in_range(outcome, READER_HIT, READER_GONE);
            if (outcome == READER_HIT) {
                assert_true(reading.item.value_size <= sizeof reading.value);
            }
        }
    }
    assert_true(opened > scaled(400) / 2);
    reading_end(&reading);
}

static void a_chain_that_is_a_ring_is_left_to_the_daemon(void **state) {
    (void)state;
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    struct reading reading;
    reading_begin(&reading);
    struct hostile hostile = {.data = copy_before_a_wall(reading.data, reading.data_bytes),
                              .index = copy_before_a_wall(reading.index, reading.index_bytes)};
    struct lookup_view view;
    EXPECT(
        lookup_open(&view, hostile.data, reading.data_bytes, hostile.index, reading.index_bytes));
    for (uint64_t bucket = 0; bucket < atomic_load(&view.index->bucket_count); bucket++) {
        atomic_store(&view.buckets[bucket].word, layout_word(1, 2));
    }
    atomic_store(&view.overflow[0].word, layout_word(1, 2));
    assert_int_equal(reader_get(&view, bytes_from_string("key"), reading.value,
                                sizeof reading.value, &reading.item),
                     READER_HIT);
    assert_int_equal(reader_get(&view, bytes_from_string("other"), reading.value,
                                sizeof reading.value, &reading.item),
                     READER_ASK);
    reading_end(&reading);
}

static void mappings_that_do_not_belong_together_are_refused(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading);
    struct lookup_view view;
    const char *data = reading.data;
    const char *index = reading.index;
    size_t data_bytes = reading.data_bytes;
    size_t index_bytes = reading.index_bytes;
    EXPECT(lookup_open(&view, data, data_bytes, index, index_bytes));
    EXPECT(!lookup_open(&view, data, data_bytes - 1, index, index_bytes));
    EXPECT(!lookup_open(&view, data, data_bytes, index, index_bytes - 1));
    EXPECT(!lookup_open(&view, data, LAYOUT_PAGE - 1, index, index_bytes));
    EXPECT(!lookup_open(&view, data, data_bytes, index, LAYOUT_PAGE - 1));
    EXPECT(!lookup_open(&view, index, index_bytes, data, data_bytes));
    struct layout_data_header header;
    char *copy = copy_before_a_wall(data, data_bytes);
    memcpy(&header, data, sizeof header);
    const struct layout_data_header good = header;
    header.pool_id++;
    memcpy(copy, &header, sizeof header);
    EXPECT(!lookup_open(&view, copy, data_bytes, index, index_bytes));
    header = good;
    header.version++;
    memcpy(copy, &header, sizeof header);
    EXPECT(!lookup_open(&view, copy, data_bytes, index, index_bytes));
    memcpy(copy, &good, sizeof good);
    EXPECT(lookup_open(&view, copy, data_bytes, index, index_bytes));
    reading_end(&reading);
}

#define ON_BOTH(test)                                                                              \
    cmocka_unit_test_setup_teardown(test, begin_volatile, end),                                    \
        cmocka_unit_test_setup_teardown(test, begin_persistent, end)
#define ON_VOLATILE(test) cmocka_unit_test_setup_teardown(test, begin_volatile, end)
#define ON_PERSISTENT(test) cmocka_unit_test_setup_teardown(test, begin_persistent, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_BOTH(what_is_stored_is_read_as_it_is),
        ON_BOTH(every_item_is_found_while_the_index_grows),
        ON_BOTH(what_has_ended_is_a_miss_at_once),
        ON_BOTH(a_flush_that_has_fallen_due_is_left_to_the_daemon),
        ON_BOTH(the_limits_on_age_hold_for_readers),
        ON_PERSISTENT(what_is_not_on_the_disk_yet_is_left_to_the_daemon),
        ON_PERSISTENT(it_reads_on_while_no_daemon_runs_and_when_one_runs_again),
        ON_PERSISTENT(it_does_not_trust_an_index_that_a_new_daemon_has_not_taken_over),
        ON_PERSISTENT(nor_one_whose_file_had_gone),
        ON_PERSISTENT(nor_one_of_a_file_that_was_replaced),
        ON_PERSISTENT(a_superseded_index_takes_no_memory),
        ON_PERSISTENT(a_pool_that_shrinks_cuts_nothing_off_that_is_mapped),
        ON_VOLATILE(a_volatile_pool_that_is_closed_is_gone),
        ON_VOLATILE(a_volatile_pool_whose_daemon_was_killed_is_gone_at_once),
        ON_VOLATILE(a_volatile_pool_whose_heart_stands_still_is_gone),
        ON_BOTH(its_descriptors_cannot_be_used_to_write),
        ON_BOTH(mappings_that_anybody_has_written_lead_nowhere_outside_them),
        ON_BOTH(a_chain_that_is_a_ring_is_left_to_the_daemon),
        ON_BOTH(mappings_that_do_not_belong_together_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
