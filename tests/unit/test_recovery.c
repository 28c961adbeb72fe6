/* What is there after a crash, and what is not. Each crash is a child process that opens the pool,
 * works and is killed; what was acknowledged in it must be there, what is gone must stay gone. */
#include "store_support.h"

#include "store/pool_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct store store;

static int setup(void **state) {
    (void)state;
    store_begin_persistent(&store, 32);
    return 0;
}

static int setup_small(void **state) {
    (void)state;
    store_begin_persistent(&store, 12);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    store_end(&store);
    return 0;
}

static void do_nothing(struct store *child, void *argument) {
    (void)child, (void)argument;
}

static void flush(struct store *child, uint32_t when_s) {
    store_thread_refresh(&child->thread);
    EXPECT(pool_flush(child->pool, &child->thread, when_s) == STATUS_OK);
}

/* Gives every segment that was written so far a reason to be compacted, and time for it. */
static void churn(struct store *child, unsigned rounds) {
    enum { FIRST = 1000000, ITEMS = 200, SIZE = 1000 };
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned number = FIRST; number < FIRST + ITEMS; number++) {
            EXPECT(store_set_number(child, number, round, SIZE, 0) == STATUS_OK);
        }
    }
    for (unsigned number = FIRST; number < FIRST + ITEMS; number++) {
        EXPECT(store_delete_number(child, number) == STATUS_OK);
    }
    store_run_janitor(child, 3);
}

/* ---- what is in the file ---- */

struct image {
    char *bytes;
    size_t size;
};

static struct image read_image(const char *path) {
    struct image image;
    struct stat status;
    int file = open(path, O_RDONLY);
    EXPECT(file >= 0 && fstat(file, &status) == 0);
    image.size = (size_t)status.st_size;
    image.bytes = malloc(image.size + 1);
    EXPECT(image.bytes != NULL);
    EXPECT(read(file, image.bytes, image.size) == status.st_size);
    close(file);
    return image;
}

static void write_bytes(const char *path, const void *bytes, size_t size, size_t offset) {
    int file = open(path, O_WRONLY);
    EXPECT(file >= 0);
    EXPECT(pwrite(file, bytes, size, (off_t)offset) == (ssize_t)size);
    close(file);
}

/* Where `text` stands for the n-th time, from 0 on, in the data file. */
static size_t find_in_file(const char *text, unsigned occurrence) {
    struct image image = read_image(store.data_path);
    const char *at = image.bytes;
    for (;;) {
        at = memmem(at, image.size - (size_t)(at - image.bytes), text, strlen(text));
        EXPECT(at != NULL);
        if (occurrence-- == 0) {
            break;
        }
        at++;
    }
    size_t offset = (size_t)(at - image.bytes);
    free(image.bytes);
    return offset;
}

/* Overwrites the record whose value is this text, as a write that the crash tore. */
static void tear(const char *value) {
    write_bytes(store.data_path, "\xff", 1, find_in_file(value, 0));
}

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

static void store_many(struct store *child, void *argument) {
    const unsigned *count = argument;
    for (unsigned number = 0; number < *count; number++) {
        uint32_t expiry_s = number % 3 ? CLOCK_START_S + 100 + number * 50 : 0;
        EXPECT(store_set_number(child, number, number % 7, number % 900, expiry_s) == STATUS_OK);
    }
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

static void the_pool_is_as_it_was_in_its_numbers(void **state) {
    (void)state;
    unsigned count = 500;
    struct pool_stats before;
    struct pool_stats after;
    update_many(&store, &count);
    store_stats(&store, &before);
    store_survive(&store, do_nothing, NULL); /* a clean stop, a start, and then a crash */
    store_stats(&store, &after);
    assert_int_equal(after.items, before.items);
    assert_int_equal(after.live_bytes, before.live_bytes);
    assert_int_equal(after.tombstone_bytes, before.tombstone_bytes);
    assert_int_equal(after.dead_bytes, before.dead_bytes);
    assert_int_equal(after.free_bytes, before.free_bytes);
}

/* ---- what stays gone ---- */

static void delete_one_in_three(struct store *child, void *argument) {
    store_many(child, argument);
    for (unsigned number = 0; number < *(unsigned *)argument; number += 3) {
        EXPECT(store_delete_number(child, number) == STATUS_OK);
    }
}

static void a_deleted_item_does_not_come_back_after_a_crash(void **state) {
    (void)state;
    unsigned count = 1000;
    store_survive(&store, delete_one_in_three, &count);
    for (unsigned number = 0; number < count; number++) {
        EXPECT(store_has_number(&store, number, number % 7, number % 900) == (number % 3 != 0));
    }
}

static void run_churn(struct store *child, void *argument) {
    churn(child, *(unsigned *)argument);
}

/* The tombstones are moved again and again while the deleted versions lie in segments that are
 * mostly alive. */
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
    store_open(&store); /* with the index of the stop, too */
    expect_gone(&store, "long");
}

static void flush_between(struct store *child, void *argument) {
    store_many(child, argument);
    flush(child, 0);
    EXPECT(store_set(child, "after", "v", 0) == STATUS_OK);
}

static void a_flushed_item_does_not_come_back(void **state) {
    (void)state;
    unsigned count = 700;
    unsigned rounds = 10;
    store_crash(&store, flush_between, &count);
    for (int crash = 0; crash < 4; crash++) {
        store_survive(&store, run_churn, &rounds);
        for (unsigned number = 0; number < count; number++) {
            EXPECT(!store_has_number(&store, number, number % 7, number % 900));
        }
        expect_there(&store, "after", "v");
    }
}

static void what_a_flush_took_is_not_counted_after_a_crash(void **state) {
    (void)state;
    unsigned count = 700;
    struct pool_stats stats;
    store_survive(&store, flush_between, &count);
    store_stats(&store, &stats);
    assert_int_equal(stats.items, 1);
    assert_int_equal(stats.live_bytes, 24 + 8); /* "after", "v" and padding */
}

/* Until the first segment has been free once, and is open again. */
static void open_first_segment_again(struct store *child) {
    const struct segments *segments = &child->pool->segments;
    unsigned number = 0;
    while (segments->heads[0][SEGMENT_CLASSES - 1].segment < 24) {
        EXPECT(store_set_number(child, number++, 0, 1000, 0) == STATUS_OK);
    }
    for (unsigned deleted = 0; deleted < 70; deleted++) {
        EXPECT(store_delete_number(child, deleted) == STATUS_OK);
    }
    store_run_janitor(child, 2);
    while (segments->heads[0][SEGMENT_CLASSES - 1].segment > 0) {
        EXPECT(store_set_number(child, number++, 0, 1000, 0) == STATUS_OK);
    }
}

static void flush_until_a_sync_kills(struct store *child, void *argument) {
    open_first_segment_again(child);
    fault_die_at_sync(*(int *)argument);
    flush(child, 0);
    store_run_janitor(child, 10);
    fault_none();
}

/* Its record lies where the janitor comes first; what it keeps down lies in many segments. */
static void a_flush_lasts_as_long_as_anything_that_it_keeps_down(void **state) {
    (void)state;
    for (int step = 1; step < 8; step++) {
        store_survive(&store, flush_until_a_sync_kills, &step);
        for (unsigned number = 0; number < 2000; number++) {
            EXPECT(!store_has_number(&store, number, 0, 1000));
        }
        store_close(&store);
        EXPECT(unlink(store.data_path) == 0 && unlink(store.index_path) == 0);
        store_open(&store);
    }
}

static void set_and_flush_later(struct store *child, void *argument) {
    EXPECT(store_set(child, "before", "v", 0) == STATUS_OK);
    flush(child, *(uint32_t *)argument);
    EXPECT(store_set(child, "meanwhile", "v", 0) == STATUS_OK);
}

static void a_flush_that_falls_due_while_no_daemon_runs_is_performed_at_the_start(void **state) {
    (void)state;
    uint32_t when_s = CLOCK_START_S + 60;
    store_crash(&store, set_and_flush_later, &when_s);
    clock_set_s(when_s);
    store_open(&store);
    expect_gone(&store, "before");
    expect_gone(&store, "meanwhile");
    EXPECT(store_set(&store, "after", "v", 0) == STATUS_OK);
    store_survive(&store, do_nothing, NULL); /* it is not performed again */
    expect_there(&store, "after", "v");
    expect_gone(&store, "before");
}

static void a_flush_that_is_still_due_survives_a_crash(void **state) {
    (void)state;
    uint32_t when_s = CLOCK_START_S + 60;
    unsigned rounds = 30;
    store_crash(&store, set_and_flush_later, &when_s);
    store_survive(&store, run_churn, &rounds); /* its record is moved meanwhile */
    store_survive(&store, do_nothing, NULL);
    expect_there(&store, "before", "v");
    clock_set_s(when_s);
    store_run_janitor(&store, 1);
    expect_gone(&store, "before");
    expect_gone(&store, "meanwhile");
}

static void replace_due_flush(struct store *child, void *argument) {
    (void)argument;
    EXPECT(store_set(child, "k", "v", 0) == STATUS_OK);
    flush(child, CLOCK_START_S + 60);
    flush(child, CLOCK_START_S + 600);
}

static void cancel_due_flush(struct store *child, void *argument) {
    (void)argument;
    flush(child, 0);
    EXPECT(store_set(child, "k", "v", 0) == STATUS_OK);
}

static void a_flush_that_was_replaced_is_not_performed_after_a_crash(void **state) {
    (void)state;
    store_crash(&store, replace_due_flush, NULL);
    clock_set_s(CLOCK_START_S + 100);
    store_open(&store);
    expect_there(&store, "k", "v");
    store_crash(&store, cancel_due_flush, NULL);
    clock_set_s(CLOCK_START_S + 1000);
    store_open(&store);
    expect_there(&store, "k", "v");
}

/* ---- a start that is to end ---- */

static _Atomic int stops_after; /* questions */

static bool is_stopping(void) {
    return atomic_fetch_sub(&stops_after, 1) <= 0;
}

static void a_recovery_ends_when_it_is_asked_to_and_loses_nothing(void **state) {
    (void)state;
    unsigned count = 400;
    store_crash(&store, store_many, &count);
    store.options.is_stopping = is_stopping;
    for (int questions = 0; questions < 8; questions++) { /* one a segment at least */
        atomic_store(&stops_after, questions);
        EXPECT(strstr(store_open_error(&store), "the start was ended") != NULL);
    }
    store.options.is_stopping = NULL;
    store_open(&store);
    for (unsigned number = 0; number < count; number++) {
        EXPECT(store_has_number(&store, number, number % 7, number % 900));
    }
}

/* Sets that expire at once: they take a sequence each, and leave no record. All between those that
 * cross a step of the header's are left out. */
static void store_what_expires_at_once(struct store *child, void *argument) {
    uint64_t *last = argument;
    _Atomic uint64_t *sequence = &child->pool->view.index->sequence;
    for (uint64_t left = 2 * LAYOUT_SEQUENCE_GAP / LAYOUT_SEQUENCE_STEP; left > 0; left--) {
        struct item item;
        uint64_t step = atomic_load(sequence) / LAYOUT_SEQUENCE_STEP;
        atomic_store(sequence, (step + 1) * LAYOUT_SEQUENCE_STEP - 1);
        store_thread_refresh(&child->thread);
        EXPECT(pool_store(child->pool, &child->thread, bytes_from_string("k"),
                          &(struct pool_store){.value = bytes_from_string("v"), .expiry_s = 1},
                          &item) == STATUS_OK);
        *last = item.cas;
    }
}

static void no_cas_is_given_out_twice_though_no_record_bears_it(void **state) {
    (void)state;
    uint64_t *last =
        mmap(NULL, sizeof *last, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(last != MAP_FAILED);
    store_survive(&store, store_what_expires_at_once, last);
    EXPECT(store_set(&store, "k", "v", 0) == STATUS_OK);
    EXPECT(*last > LAYOUT_SEQUENCE_GAP && store_cas(&store, "k") > *last);
    munmap(last, sizeof *last);
}

/* ---- what was evicted ---- */

static enum status set_until(struct store *child, const char *key, const char *value, uint32_t s) {
    store_thread_refresh(&child->thread);
    enum status status =
        pool_store(child->pool, &child->thread, bytes_from_string(key),
                   &(struct pool_store){.value = bytes_from_string(value), .expiry_s = s}, NULL);
    store_thread_leave(&child->thread);
    return status;
}

/* The old versions lie in a segment that takes other items than the new ones, and stays. */
static void evict_new_versions(struct store *child, void *argument) {
    const unsigned count = *(unsigned *)argument;
    char key[POOL_KEY_MAX];
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%u", i);
        EXPECT(set_until(child, key, "old", CLOCK_START_S + 80000) == STATUS_OK);
    }
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%u", i);
        EXPECT(set_until(child, key, "new", 0) == STATUS_OK);
    }
    struct pool_stats stats;
    for (unsigned number = 0, gone = 0; gone < count; number++) {
        EXPECT(number < 100000);
        EXPECT(store_set_number(child, number, 0, 1000, 0) == STATUS_OK);
        store_stats(child, &stats);
        if (stats.counters[POOL_EVICTIONS] == 0 || number % 100 != 0) {
            continue;
        }
        gone = 0;
        for (unsigned i = 0; i < count; i++) {
            struct lookup_hit hit;
            snprintf(key, sizeof key, "k%u", i);
            gone += !operations_find(child->pool, bytes_from_string(key), &hit);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%u", i);
        EXPECT(store_delete(child, key) == STATUS_NOT_FOUND);
    }
}

static void an_older_version_of_an_evicted_item_does_not_come_back(void **state) {
    (void)state;
    unsigned count = 50;
    store_end(&store);
    struct pool_options options = store_options(32);
    options.persist = true;
    options.evict = true;
    store_begin(&store, options);
    store_survive(&store, evict_new_versions, &count);
    for (unsigned i = 0; i < count; i++) {
        char key[POOL_KEY_MAX];
        snprintf(key, sizeof key, "k%u", i);
        expect_gone(&store, key);
    }
}

/* An item that is evicted in this moment is gone for good when somebody has missed it. */
static void evict_until_a_sync_kills(struct store *child, void *argument) {
    unsigned *missed = argument; /* shared: the numbers whose eviction the child has seen */
    fault_die_at_sync((int)missed[0]);
    for (unsigned number = 0; number < 100000; number++) {
        EXPECT(store_set_number(child, number, 0, 1000, 0) == STATUS_OK);
        store_thread_refresh(&child->thread);
        for (unsigned old = 0; number > 1000 && old < 400; old++) {
            struct lookup_hit hit;
            char key[POOL_KEY_MAX];
            size_t size = number_key(key, old);
            if (!operations_find(child->pool, bytes_from(key, size), &hit)) {
                missed[old + 1] = 1; /* a look that leaves no trace: what is read may stay */
            }
        }
        store_thread_leave(&child->thread);
    }
}

static void what_was_missed_while_it_was_evicted_stays_gone(void **state) {
    (void)state;
    struct pool_options options = store_options(32);
    options.persist = true;
    options.evict = true;
    size_t size = 401 * sizeof(unsigned);
    unsigned *missed = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(missed != MAP_FAILED);
    for (unsigned round = 1; round <= 6; round++) {
        store_end(&store);
        store_begin(&store, options);
        memset(missed, 0, size);
        missed[0] = round;
        store_survive(&store, evict_until_a_sync_kills, missed);
        for (unsigned old = 0; old < 400; old++) {
            EXPECT(!missed[old + 1] || !store_has_number(&store, old, 0, 1000));
        }
    }
    munmap(missed, size);
}

/* ---- torn records ---- */

static void store_three(struct store *child, void *argument) {
    (void)argument;
    EXPECT(store_set(child, "a", "first-value", 0) == STATUS_OK);
    EXPECT(store_set(child, "b", "second-value", 0) == STATUS_OK);
    EXPECT(store_set(child, "c", "third-value", 0) == STATUS_OK);
}

static void a_torn_record_is_all_that_is_lost(void **state) {
    (void)state;
    store_crash(&store, store_three, NULL);
    tear("second-value");
    store_open(&store);
    expect_there(&store, "a", "first-value");
    expect_gone(&store, "b");
    expect_there(&store, "c", "third-value");
    EXPECT(store_set(&store, "b", "again", 0) == STATUS_OK);
    store_survive(&store, do_nothing, NULL);
    expect_there(&store, "a", "first-value");
    expect_there(&store, "b", "again");
    expect_there(&store, "c", "third-value");
}

static void a_torn_record_at_the_end_is_written_over(void **state) {
    (void)state;
    store_crash(&store, store_three, NULL);
    tear("third-value");
    store_open(&store);
    expect_gone(&store, "c");
    for (unsigned number = 0; number < 100; number++) {
        EXPECT(store_set_number(&store, number, 0, number, 0) == STATUS_OK);
    }
    store_survive(&store, do_nothing, NULL);
    expect_there(&store, "a", "first-value");
    expect_there(&store, "b", "second-value");
    expect_gone(&store, "c");
    for (unsigned number = 0; number < 100; number++) {
        EXPECT(store_has_number(&store, number, 0, number));
    }
}

/* Seals the segment that "a" is in, as if it were full. */
static void store_one_and_seal(struct store *child, void *argument) {
    (void)argument;
    EXPECT(store_set(child, "a", "first-value", 0) == STATUS_OK);
    for (uint32_t segment = 0; segment < child->pool->view.segment_count; segment++) {
        segments_seal(&child->pool->segments, segment);
    }
}

/* A write that never comes to its end, and one behind it that does. */
static void reserve_and_store_one(struct store *child, void *argument) {
    (void)argument;
    struct segment_place place;
    EXPECT(segments_reserve(&child->pool->segments, SEGMENT_FOR_NEW, clock_now_s(), 0, 64, &place));
    EXPECT(store_set(child, "c", "third-value", 0) == STATUS_OK);
}

static void a_segment_that_goes_on_does_not_say_any_more_that_it_ended(void **state) {
    (void)state;
    store_crash(&store, store_one_and_seal, NULL);
    store_survive(&store, reserve_and_store_one, NULL);
    expect_there(&store, "a", "first-value");
    expect_there(&store, "c", "third-value");
}

static void any_torn_place_loses_no_more_than_what_lies_there(void **state) {
    (void)state;
    enum { BLOCK = 512 };
    unsigned count = 400;
    uint64_t random = 11;
    store_crash(&store, store_many, &count);
    struct image whole = read_image(store.data_path);
    for (unsigned round = 0; round < 4 + scaled(26); round++) {
        char block[BLOCK];
        size_t offset = LAYOUT_PAGE + sizeof(struct layout_segment_header) +
                        random_below(&random, 3 * STORE_SEGMENT);
        offset = offset / BLOCK * BLOCK; /* as a disk tears */
        size_t into = (offset - LAYOUT_PAGE) % STORE_SEGMENT;
        if (into == 0) {
            continue; /* a segment's header */
        }
        memset(block, round % 2 ? 0 : (int)random_next(&random), sizeof block);
        write_bytes(store.data_path, block, sizeof block, offset);
        store_open(&store);
        unsigned lost = 0;
        unsigned bytes = 0;
        for (unsigned number = 0; number < count; number++) {
            if (!store_has_number(&store, number, number % 7, number % 900)) {
                lost++;
                bytes += number % 900;
            }
        }
        assert_true(bytes < 2 * 1000 + BLOCK); /* what lay in the block, and across its ends */
        assert_true(lost <= 2 + BLOCK / 24);
        store_close(&store);
        write_bytes(store.data_path, whole.bytes, whole.size, 0);
        unlink(store.index_path);
    }
    free(whole.bytes);
}

static void touch_one_sooner(struct store *child, void *argument) {
    (void)argument;
    EXPECT(store_set(child, "k", "old-value", 0) == STATUS_OK);
    store_thread_refresh(&child->thread);
    EXPECT(pool_store(child->pool, &child->thread, bytes_from_string("k"),
                      &(struct pool_store){.value = bytes_from_string("new-value"),
                                           .expiry_s = CLOCK_START_S + 500},
                      NULL) == STATUS_OK);
}

static void an_update_that_was_torn_behind_its_tombstone_leaves_the_old_version(void **state) {
    (void)state;
    unsigned rounds = 40;
    store_crash(&store, touch_one_sooner, NULL);
    tear("new-value");
    store_open(&store);
    expect_there(&store, "k", "old-value");
    /* Nor does the tombstone begin to count when it is moved. */
    for (int crash = 0; crash < 3; crash++) {
        store_survive(&store, run_churn, &rounds);
        expect_there(&store, "k", "old-value");
    }
}

struct toucher {
    struct store store;
    unsigned first;
};

static void *touch_sooner_and_later(void *argument) {
    struct toucher *toucher = argument;
    char key[POOL_KEY_MAX];
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 20; i++) {
            number_key(key, toucher->first + i);
            EXPECT(store_touch(&toucher->store, key, CLOCK_START_S + 2000 - round) == STATUS_OK);
        }
    }
    store_thread_leave(&toucher->store.thread);
    return NULL;
}

static void touch_on_several_threads(struct store *child, void *argument) {
    (void)argument;
    struct toucher touchers[3];
    pthread_t threads[3];
    for (unsigned i = 0; i < 60; i++) {
        EXPECT(store_set_number(child, i, 0, 50, 0) == STATUS_OK);
    }
    store_thread_leave(&child->thread);
    for (unsigned i = 0; i < 3; i++) {
        touchers[i] = (struct toucher){.store = *child, .first = i * 20};
        store_thread_init(&touchers[i].store.thread, child->grace, i + 1);
        EXPECT(pthread_create(&threads[i], NULL, touch_sooner_and_later, &touchers[i]) == 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* With other threads' sequence numbers all around: each pair is still known for one. */
static void tombstones_of_updates_on_several_threads_count(void **state) {
    (void)state;
    store_end(&store);
    struct pool_options options = store_options(32);
    options.persist = true;
    store_begin_threads(&store, options, 4);
    store_survive(&store, touch_on_several_threads, NULL);
    unsigned pairs = 0;
    for (uint32_t segment = 0; segment < store.pool->view.segment_count; segment++) {
        if (store.pool->view.segments[segment].state == LAYOUT_SEGMENT_FREE) {
            continue;
        }
        struct segment_cursor cursor;
        segment_walk(&cursor, &store.pool->segments, segment,
                     store.pool->view.segments[segment].fill);
        while (segment_next(&cursor)) {
            if (cursor.record.kind == LAYOUT_TOMBSTONE && cursor.record.paired) {
                EXPECT(segment_tombstone_counts(&cursor));
                pairs++;
            }
        }
    }
    assert_true(pairs > 1000);
}

/* ---- a crash in the middle of compaction ---- */

static void work_until_a_sync_kills(struct store *child, void *argument) {
    uint64_t random = 1000 + *(unsigned *)argument;
    fault_die_at_sync((int)*(unsigned *)argument);
    for (unsigned round = 0; round < 100000; round++) {
        unsigned number = random_below(&random, 800);
        EXPECT(store_set_number(child, number, 0, 100 + number % 400, 0) == STATUS_OK);
    }
}

static void a_crash_at_any_step_of_a_compaction_loses_nothing(void **state) {
    (void)state;
    for (unsigned number = 0; number < 800; number++) {
        EXPECT(store_set_number(&store, number, 0, 100 + number % 400, 0) == STATUS_OK);
    }
    for (unsigned number = 0; number < 800; number += 5) {
        EXPECT(store_delete_number(&store, 100000 + number) == STATUS_NOT_FOUND);
        EXPECT(store_set_number(&store, 100000 + number, 0, 10, 0) == STATUS_OK);
        EXPECT(store_delete_number(&store, 100000 + number) == STATUS_OK);
    }
    for (unsigned step = 2; step < 4 + scaled(20);
         step++) { /* the first sync is that of the start */
        store_survive(&store, work_until_a_sync_kills, &step);
        for (unsigned number = 0; number < 800; number++) {
            EXPECT(store_has_number(&store, number, 0, 100 + number % 400));
            EXPECT(number % 5 != 0 || !store_has_number(&store, 100000 + number, 0, 10));
        }
    }
}

struct filled {
    unsigned step; /* the sync that kills */
    _Atomic unsigned stored;
    _Atomic unsigned updated;
};

static void fill_until_a_sync_kills(struct store *child, void *argument) {
    struct filled *filled = argument;
    uint64_t random = filled->step;
    unsigned number = 0;
    while (store_set_number(child, number, 0, 700, 0) == STATUS_OK) {
        atomic_store(&filled->stored, ++number);
    }
    fault_die_at_sync((int)filled->step);
    for (unsigned i = 0; i < 100000; i++) {
        EXPECT(store_set_number(child, random_below(&random, number), 0, 700, 0) == STATUS_OK);
    }
}

/* The janitor may have taken the last free segment just before: then its copies must not block the
 * pool for good. */
static void a_full_pool_works_on_after_a_crash_at_any_step(void **state) {
    (void)state;
    struct filled *filled =
        mmap(NULL, sizeof *filled, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(filled != MAP_FAILED);
    struct pool_options options = store.options;
    for (filled->step = 1; filled->step <= 1 + scaled(7); filled->step++) {
        store_end(&store);
        store_begin(&store, options);
        store_survive(&store, fill_until_a_sync_kills, filled);
        unsigned stored = atomic_load(&filled->stored);
        for (unsigned number = 0; number < stored; number++) {
            EXPECT(store_has_number(&store, number, 0, 700));
        }
        for (unsigned number = 0; number < scaled(2 * stored); number++) {
            EXPECT(store_set_number(&store, number * 7 % stored, 1, 700, 0) == STATUS_OK);
        }
        for (unsigned number = 0; number < stored; number++) {
            EXPECT(store_delete_number(&store, number) == STATUS_OK);
        }
    }
    munmap(filled, sizeof *filled);
}

/* ---- clean stops ---- */

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
    assert_true(item.fetched); /* the data alone does not know that */
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
    write_bytes(store.index_path, index.bytes, index.size, 0); /* likewise after a clean stop */
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
    store_open(&store); /* a new file under the old name */
    expect_gone(&store, "k");
    store_close(&store);
    write_bytes(store.index_path, index.bytes, index.size, 0);
    store_open(&store);
    expect_gone(&store, "k");
    free(index.bytes);
}

/* As a process that reads the pool by itself sees it (invariant 6). */
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

/* ---- sequence numbers ---- */

static void store_and_report_cas(struct store *child, void *argument) {
    uint64_t *cas = argument;
    EXPECT(store_set(child, "k", "numbered-value", 0) == STATUS_OK);
    *cas = store_cas(child, "k");
    for (unsigned i = 0; i < scaled(100000);
         i++) { /* these leave nothing behind that bears a number */
        EXPECT(store_set(child, "gone", "v", 1) == STATUS_OK);
    }
    EXPECT(store_set(child, "k", "numbered-value", 0) == STATUS_OK);
    *cas = store_cas(child, "k");
}

static void a_cas_is_never_given_out_again(void **state) {
    (void)state;
    uint64_t *cas = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(cas != MAP_FAILED);
    uint64_t before = 0;
    for (int crash = 0; crash < 8; crash++) {
        store_crash(&store, store_and_report_cas, cas);
        assert_true(*cas > before);
        before = *cas;
        if (crash % 2) {
            tear("numbered-value"); /* a power cut takes the records that bore it */
            tear("numbered-value");
        }
        store_open(&store);
        EXPECT(store_set(&store, "other", "v", 0) == STATUS_OK);
        assert_true(store_cas(&store, "other") > before);
        before = store_cas(&store, "other");
        if (crash % 3 == 0) {
            store_reopen(&store);
            EXPECT(store_set(&store, "other", "v", 0) == STATUS_OK);
            assert_true(store_cas(&store, "other") > before);
            before = store_cas(&store, "other");
        }
    }
    munmap(cas, 4096);
}

/* ---- files that are refused ---- */

/* The pool does not open, says all of `words`, and leaves the file as it is. */
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
    write_bytes(store.data_path, "\x01", 1, offsetof(struct layout_data_header, hash_seed));
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
    store_open(&store); /* nothing was lost by the refusals */
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
    expect_refused(words); /* locks are of the open file, so this process will do */
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
    EXPECT(access(store.data_path, F_OK) != 0 && errno == ENOENT); /* nothing half made is left */
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

#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define BOTH(test) WITH(setup, test), WITH(setup_small, test)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH(setup, an_item_survives_with_everything_that_it_has),
        WITH(setup, every_item_survives_a_crash_and_the_crash_after_it),
        BOTH(the_last_version_of_an_item_is_the_one_that_survives),
        WITH(setup, the_pool_is_as_it_was_in_its_numbers),
        WITH(setup, a_deleted_item_does_not_come_back_after_a_crash),
        WITH(setup, a_deleted_item_stays_gone_through_crashes_and_compactions),
        BOTH(an_item_that_was_given_a_sooner_expiry_does_not_live_to_its_first_one),
        BOTH(an_expired_item_does_not_come_back),
        WITH(setup, an_item_that_expires_while_no_daemon_runs_is_gone),
        WITH(setup, a_flushed_item_does_not_come_back),
        WITH(setup, what_a_flush_took_is_not_counted_after_a_crash),
        WITH(setup, a_flush_lasts_as_long_as_anything_that_it_keeps_down),
        WITH(setup, a_flush_that_falls_due_while_no_daemon_runs_is_performed_at_the_start),
        BOTH(a_flush_that_is_still_due_survives_a_crash),
        WITH(setup, a_flush_that_was_replaced_is_not_performed_after_a_crash),
        WITH(setup, a_recovery_ends_when_it_is_asked_to_and_loses_nothing),
        WITH(setup, no_cas_is_given_out_twice_though_no_record_bears_it),
        WITH(setup, an_older_version_of_an_evicted_item_does_not_come_back),
        WITH(setup, what_was_missed_while_it_was_evicted_stays_gone),
        WITH(setup, a_torn_record_is_all_that_is_lost),
        WITH(setup, a_torn_record_at_the_end_is_written_over),
        WITH(setup, a_segment_that_goes_on_does_not_say_any_more_that_it_ended),
        WITH(setup, any_torn_place_loses_no_more_than_what_lies_there),
        BOTH(an_update_that_was_torn_behind_its_tombstone_leaves_the_old_version),
        WITH(setup, tombstones_of_updates_on_several_threads_count),
        BOTH(a_crash_at_any_step_of_a_compaction_loses_nothing),
        BOTH(a_full_pool_works_on_after_a_crash_at_any_step),
        WITH(setup, after_a_clean_stop_the_index_is_as_it_was),
        WITH(setup, without_the_index_a_clean_stop_loses_nothing),
        WITH(setup, the_index_of_an_earlier_stop_is_not_used_again),
        WITH(setup, the_index_of_other_data_is_not_used),
        WITH(setup, an_index_that_is_not_reused_says_so_to_those_who_still_map_it),
        WITH(setup, an_index_that_is_reused_goes_on_to_be_believed),
        WITH(setup, a_failed_sync_at_the_stop_leaves_the_index_to_be_rebuilt),
        WITH(setup, a_cas_is_never_given_out_again),
        WITH(setup, a_file_that_is_not_a_pool_is_refused),
        WITH(setup, a_damaged_header_is_refused),
        WITH(setup, a_file_that_is_too_short_is_refused),
        WITH(setup, a_file_of_another_version_is_refused),
        WITH(setup, a_file_that_another_process_has_open_is_refused),
        WITH(setup, a_folder_in_place_of_the_file_is_refused),
        WITH(setup, a_disk_without_room_for_the_file_is_an_error_at_the_start),
        WITH(setup, a_run_dir_without_room_for_the_index_is_an_error_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
