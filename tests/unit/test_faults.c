/* The system refuses: each call that the store makes for a file fails once, at each place in turn,
 * while a pool is made, works, compacts, stops, starts, grows and shrinks. Whatever happens,
 * nothing that was acknowledged is lost, nothing is acknowledged that is not on the disk, and the
 * file can be used when the system works again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "exam.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum call { CALL_SYNC, CALL_ALLOCATE, CALL_WRITE, CALL_TRUNCATE, CALL_MAP, CALLS };

static const char *const call_names[CALLS] = {"sync", "allocate", "write", "truncate", "map"};

enum { SHARED_BY = 11 }; /* calls of let_each_fail */

/* Which call fails, and how. */
struct fault {
    enum call call;
    unsigned number; /* from 1 on; 0: none */
    int error;       /* 0: it does a part of its work (write) */
};

static struct {
    struct exam *exam;
    struct fault planned;
    _Atomic unsigned made[CALLS];
    _Atomic bool happened;
    _Atomic unsigned syncs_since; /* that were made since it happened */
} system_state;

/* ---- the system, in front of the disk ---- */

/* Counts a call; true: this one is to fail. */
static bool fails(enum call call) {
    unsigned number = atomic_fetch_add(&system_state.made[call], 1) + 1;
    if (call == CALL_SYNC && atomic_load(&system_state.happened)) {
        atomic_fetch_add(&system_state.syncs_since, 1);
    }
    if (call != system_state.planned.call || number != system_state.planned.number) {
        return false;
    }
    atomic_store(&system_state.happened, true);
    return true;
}

static int failing_sync(int file) {
    if (fails(CALL_SYNC)) {
        if (system_state.planned.error != EINTR) {
            disk_fail_sync(system_state.exam->disk);
        }
        errno = system_state.planned.error;
        return -1;
    }
    return disk_io.sync(file);
}

static int failing_allocate(int file, off_t offset, off_t bytes) {
    return fails(CALL_ALLOCATE) ? system_state.planned.error
                                : disk_io.allocate(file, offset, bytes);
}

static ssize_t failing_write(int file, const void *data, size_t size, off_t offset) {
    if (!fails(CALL_WRITE)) {
        return disk_io.write(file, data, size, offset);
    }
    if (system_state.planned.error == 0) {
        return disk_io.write(file, data, size / 2, offset);
    }
    errno = system_state.planned.error;
    return -1;
}

static int failing_truncate(int file, off_t size) {
    if (fails(CALL_TRUNCATE)) {
        errno = system_state.planned.error;
        return -1;
    }
    return disk_io.truncate(file, size);
}

static void *failing_map(size_t size, int file) {
    if (fails(CALL_MAP)) {
        errno = system_state.planned.error;
        return MAP_FAILED;
    }
    return disk_io.map(size, file);
}

static const struct store_io failing_io = {
    .sync = failing_sync,
    .allocate = failing_allocate,
    .write = failing_write,
    .truncate = failing_truncate,
    .map = failing_map,
};

static void plan_fault(struct exam *exam, struct fault fault) {
    system_state.exam = exam;
    system_state.planned = fault;
    for (int call = 0; call < CALLS; call++) {
        atomic_store(&system_state.made[call], 0);
    }
    atomic_store(&system_state.happened, false);
    atomic_store(&system_state.syncs_since, 0);
    store_io = &failing_io;
}

static void mend_system(void) {
    store_io = &disk_io;
}

static bool fault_happened(void) {
    return atomic_load(&system_state.happened);
}

/* ---- the course that a fault comes into ---- */

static const struct client_habits habits = {
    .keys = 24,
    .value_max_bytes = 1900,
    .deletes = 10,
    .touches = 20,
    .expiring = 40,
    .flushes_per_mille = 5,
};

static void fail_with(struct exam *exam, const char *what) {
    char message[CLIENT_MESSAGE_MAX + 128];
    snprintf(message, sizeof message, "%s number %u fails with %s: %s",
             call_names[system_state.planned.call], system_state.planned.number,
             system_state.planned.error == 0 ? "less than was asked for"
                                             : strerror(system_state.planned.error),
             what);
    exam_fail(exam, message);
}

/* Everything that can be seen of the pool is as the client was told; if `power` goes as well. */
static void look_at_all(struct exam *exam) {
    for (int i = 0; i < 3; i++) {
        disk_record(exam->disk);
        exam_moment(exam, 100);
    }
    mend_system();
    if (!exam_look_quietly(exam)) {
        fail_with(exam, exam->wrong);
    }
    if (exam->clients[0].wrong[0] != '\0') {
        fail_with(exam, exam->clients[0].wrong);
    }
}

/* The pool could not make a write durable: it must say so, and never say otherwise again. */
static void expect_read_only(struct exam *exam) {
    struct pool_stats stats;
    pool_get_stats(exam->pool, &stats);
    if (!stats.read_only) {
        fail_with(exam, "the pool is not read-only");
    }
    unsigned key = 0;
    if (client_set(&exam->clients[0], exam->pool, &exam->threads[0], key, 0, 10) !=
        STATUS_READ_ONLY) {
        fail_with(exam, "a write is not refused");
    }
    exam_run_janitor(exam);
    if (atomic_load(&system_state.syncs_since) > 0) {
        fail_with(exam, "the sync is made again");
    }
}

/* Some operations, acknowledged some at a time. False: the pool takes no more. */
static bool work(struct exam *exam, unsigned operations) {
    struct client *client = &exam->clients[0];
    for (unsigned i = 1; i <= operations; i++) {
        if (client_step(client, exam->pool, &exam->threads[0]) == STATUS_READ_ONLY) {
            return false;
        }
        exam_wait_for_janitor(exam);
        if (i % 20 == 0 && !exam_sync(exam)) {
            return false;
        }
    }
    return exam_sync(exam);
}

/* Opens the pool, if need be by a second try when the system works again. */
static void open_somehow(struct exam *exam) {
    char error[POOL_ERROR_MAX];
    exam->restarting = true;
    if (!exam_open(exam, error)) {
        if (!fault_happened()) {
            fail_with(exam, error);
        }
        if (error[0] == '\0') {
            fail_with(exam, "there is no message");
        }
        disk_unmap(exam->disk);
        mend_system();
        if (!exam_open(exam, error)) {
            fail_with(exam, error);
        }
    }
    exam_resume(exam);
    exam->restarting = false;
}

/* Works; if the pool has to give up, looks at what it has done, and starts it again. */
static void work_somehow(struct exam *exam, unsigned operations) {
    if (work(exam, operations)) {
        return;
    }
    if (!fault_happened()) {
        fail_with(exam, "the pool gives up without a reason");
    }
    expect_read_only(exam);
    look_at_all(exam);
    exam_close(exam);
    open_somehow(exam);
    look_at_all(exam); /* what can be seen again is on the disk, be it acknowledged or not */
    if (!work(exam, operations)) {
        fail_with(exam, "the pool gives up again");
    }
}

static void resize(struct exam *exam, unsigned segments) {
    exam_close(exam);
    exam->options.memory_bytes = (uint64_t)segments << 16;
    exam->spare.memory_bytes = exam->options.memory_bytes;
    open_somehow(exam);
}

/* A pool's life, with a fault in it. */
static void live(struct exam *exam) {
    open_somehow(exam);
    work_somehow(exam, 160);
    if (!exam_move_all(exam) && !fault_happened()) {
        fail_with(exam, "nothing can be moved");
    }
    work_somehow(exam, 30);
    exam_close(exam);
    open_somehow(exam);
    work_somehow(exam, 30);
    resize(exam, 12);
    work_somehow(exam, 30);
    resize(exam, 9);
    work_somehow(exam, 30);
    look_at_all(exam);
    exam_cut(exam);
    if (!work(exam, 30)) {
        fail_with(exam, "the pool gives up after a power cut");
    }
}

/* Runs the course with a fault; false: it did not come to that. */
static bool live_with(struct fault fault, uint64_t seed) {
    struct pool_options options = exam_options(POOL_FSYNC_ALWAYS, 8);
    struct exam *exam = exam_create(seed + fault.number, &options, &habits, 1);
    exam->sync_percent = 0;
    plan_fault(exam, fault);
    live(exam);
    mend_system();
    bool happened = fault_happened();
    exam_destroy(exam);
    return happened;
}

/* Lets calls of a kind fail, one in each life: every one, or in the short form one in `step`. In a
 * soak over and over, with other work. */
static void let_each_fail(enum call call, int error, unsigned step) {
    bool only;
    uint64_t seed = machine_first_seed(&only);
    machine_let_timers_run(true);
    uint64_t soak_ms = machine_test_ms(0, SHARED_BY);
    uint64_t end_ms = clock_monotonic_ms() + soak_ms;
    unsigned lives = 0;
    do {
        unsigned number = 1;
        while (live_with((struct fault){call, number, error}, seed)) {
            lives++;
            number += soak_ms > 0 ? 1 : step;
        }
        seed += number;
        machine_let_timers_run(true);
    } while (!only && clock_monotonic_ms() < end_ms);
    print_message("    %s: %s: %u lives\n", call_names[call],
                  error == 0 ? "a part" : strerror(error), lives);
    assert_true(lives > 0);
}

static void test_a_failed_sync_makes_the_pool_read_only_and_is_never_made_again(void **unused) {
    (void)unused;
    let_each_fail(CALL_SYNC, EIO, 1);
    let_each_fail(CALL_SYNC, ENOSPC, 5);
}

static void test_without_space_for_a_file_nothing_is_lost(void **unused) {
    (void)unused;
    let_each_fail(CALL_ALLOCATE, ENOSPC, 1);
    let_each_fail(CALL_WRITE, ENOSPC, 1);
    let_each_fail(CALL_WRITE, EIO, 1);
    let_each_fail(CALL_TRUNCATE, EIO, 1);
}

static void test_without_memory_for_a_mapping_nothing_is_lost(void **unused) {
    (void)unused;
    let_each_fail(CALL_MAP, ENOMEM, 1);
}

static void test_a_signal_or_a_short_write_is_no_failure(void **unused) {
    (void)unused;
    let_each_fail(CALL_SYNC, EINTR, 5);
    let_each_fail(CALL_ALLOCATE, EINTR, 1);
    let_each_fail(CALL_WRITE, EINTR, 1);
    let_each_fail(CALL_WRITE, 0, 1);
}

/* ---- single faults ---- */

static struct exam *begin_plain(enum pool_fsync fsync, unsigned segments) {
    static const struct client_habits plain = {.keys = 60, .value_max_bytes = 1900};
    struct pool_options options = exam_options(fsync, segments);
    struct exam *exam = exam_create(1, &options, &plain, 1);
    exam->sync_percent = 0;
    exam_begin(exam);
    return exam;
}

static void set(struct exam *exam, unsigned key, uint32_t size_bytes) {
    assert_int_equal(
        client_set(&exam->clients[0], exam->pool, &exam->threads[0], key, 0, size_bytes),
        STATUS_OK);
}

/* A kernel in which two syncs meet. It has lost a page; the first to ask is told, and only he. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool janitor_is_in; /* its sync runs */
    bool met;           /* another came in meanwhile */
    struct exam *exam;
} meeting = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

enum { MEETING_MS = 200 };

static int meeting_sync(int file) {
    pthread_mutex_lock(&meeting.lock);
    bool first = !meeting.janitor_is_in && !meeting.met;
    if (!first) {
        meeting.met = true; /* its pages were written, it believes */
        pthread_cond_broadcast(&meeting.changed);
        pthread_mutex_unlock(&meeting.lock);
        return 0;
    }
    meeting.janitor_is_in = true;
    pthread_cond_broadcast(&meeting.changed);
    struct timespec until;
    timespec_get(&until, TIME_UTC);
    until.tv_nsec += MEETING_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (!meeting.met &&
           pthread_cond_timedwait(&meeting.changed, &meeting.lock, &until) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&meeting.lock);
    disk_fail_sync(meeting.exam->disk);
    (void)file;
    errno = EIO;
    return -1;
}

static void *sync_as_janitor(void *argument) {
    struct exam *exam = argument;
    return pool_sync(exam->pool) ? exam : NULL;
}

static void
test_a_write_error_that_the_kernel_tells_another_thread_is_not_acknowledged(void **unused) {
    (void)unused;
    struct exam *exam = begin_plain(POOL_FSYNC_ALWAYS, 8);
    struct store_io meeting_io = disk_io;
    pthread_t janitor;
    void *synced;
    meeting.exam = exam;
    meeting_io.sync = meeting_sync;
    store_io = &meeting_io;
    set(exam, 1, 100);
    assert_int_equal(pthread_create(&janitor, NULL, sync_as_janitor, exam), 0);
    pthread_mutex_lock(&meeting.lock);
    while (!meeting.janitor_is_in) {
        pthread_cond_wait(&meeting.changed, &meeting.lock);
    }
    pthread_mutex_unlock(&meeting.lock);
    assert_int_equal(exam_await_ticket(exam, 0), STATUS_IO);
    pthread_join(janitor, &synced);
    assert_null(synced);
    store_io = &disk_io;
    exam_destroy(exam);
}

static void test_a_read_only_pool_moves_and_forgets_nothing(void **unused) {
    (void)unused;
    struct exam *exam = begin_plain(POOL_FSYNC_NO, 8);
    for (unsigned i = 0; i < 400; i++) {
        if (atomic_load(&exam->pool->segments.free_count) <= 2) {
            break; /* the janitor would have to do something about it */
        }
        set(exam, i % 60, 1900);
    }
    plan_fault(exam, (struct fault){CALL_SYNC, 1, EIO});
    exam_wait_for_janitor(exam);
    pool_sync(exam->pool);
    exam_run_janitor(exam);
    struct pool_stats before;
    struct pool_stats after;
    pool_get_stats(exam->pool, &before);
    assert_true(before.read_only);
    for (int i = 0; i < 5; i++) {
        exam_run_janitor(exam);
    }
    pool_get_stats(exam->pool, &after);
    assert_int_equal(before.counters[POOL_BYTES_MOVED], after.counters[POOL_BYTES_MOVED]);
    assert_int_equal(before.segments_free, after.segments_free);
    assert_int_equal(before.items, after.items);
    mend_system();
    exam_destroy(exam);
}

static void test_an_item_that_was_read_after_it_was_copied_does_not_seem_idle(void **unused) {
    (void)unused;
    static const struct client_habits plain = {.keys = 30, .value_max_bytes = 1900};
    struct pool_options options = exam_options(POOL_FSYNC_NO, 8);
    options.idle_timeout_s = 100;
    struct exam *exam = exam_create(1, &options, &plain, 1);
    exam_begin(exam);
    for (unsigned key = 0; key < 30; key++) {
        set(exam, key, 100);
    }
    assert_true(exam_sync(exam));
    plan_fault(exam, (struct fault){CALL_SYNC, 1, EIO});
    assert_false(exam_move_all(exam)); /* there are two of each now */
    mend_system();
    machine_set_s(machine_now_s() + 60);
    char wrong[CLIENT_MESSAGE_MAX];
    assert_true(
        client_compare(&exam->clients[0].view, exam->pool, &exam->threads[0], wrong)); /* reads */
    exam_close(exam);
    machine_set_s(machine_now_s() + 60);
    exam->restarting = true;
    exam_begin(exam);
    exam_resume(exam);
    for (unsigned key = 0; key < 30; key++) {
        assert_int_not_equal(exam->clients[0].view.key[key].states[0].version, 0);
    }
    exam_destroy(exam);
}

/* Keys that share one bucket of a small index, so many that it is full. */
static void find_neighbours(struct exam *exam, unsigned count, char keys[][16]) {
    unsigned found = 0;
    for (unsigned number = 0; found < count; number++) {
        snprintf(keys[found], sizeof keys[found], "%u", number);
        uint64_t hash = hash_key(exam->pool->view.hash_seed, bytes_from_string(keys[found]));
        uint64_t buckets = atomic_load(&exam->pool->view.index->bucket_count);
        found += lookup_bucket_number(hash, buckets) == 1;
    }
}

static enum status set_plainly(struct exam *exam, const char *key) {
    store_thread_refresh(&exam->threads[0]);
    enum status status =
        pool_store(exam->pool, &exam->threads[0], bytes_from_string(key),
                   &(struct pool_store){.value = bytes_from_string("value")}, NULL);
    store_thread_leave(&exam->threads[0]);
    return status;
}

static enum status get_plainly(struct exam *exam, const char *key) {
    struct item item;
    store_thread_refresh(&exam->threads[0]);
    enum status status = pool_get(exam->pool, &exam->threads[0], bytes_from_string(key), &item);
    store_thread_leave(&exam->threads[0]);
    return status;
}

static void test_a_key_that_the_index_had_no_room_for_is_not_there_after_a_crash(void **unused) {
    (void)unused;
    struct exam *exam = begin_plain(POOL_FSYNC_NO, 8);
    char keys[LAYOUT_SLOTS + 1][16];
    find_neighbours(exam, LAYOUT_SLOTS + 1, keys);
    plan_fault(exam, (struct fault){CALL_ALLOCATE, 1, ENOSPC});
    for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
        assert_int_equal(set_plainly(exam, keys[i]), STATUS_OK);
    }
    assert_int_equal(set_plainly(exam, keys[LAYOUT_SLOTS]), STATUS_INDEX_FULL);
    assert_true(fault_happened());
    mend_system();
    assert_int_equal(get_plainly(exam, keys[LAYOUT_SLOTS]), STATUS_NOT_FOUND);
    assert_true(exam_sync(exam));
    exam_cut(exam);
    assert_int_equal(get_plainly(exam, keys[0]), STATUS_OK);
    assert_int_equal(get_plainly(exam, keys[LAYOUT_SLOTS]), STATUS_NOT_FOUND);
    exam_destroy(exam);
}

static void test_a_pool_that_was_moved_away_is_not_touched_by_its_second_name(void **unused) {
    (void)unused;
    struct exam *exam = begin_plain(POOL_FSYNC_NO, 8);
    set(exam, 1, 100);
    exam_close(exam);
    /* A crash between link and unlink while it was made has left both names. */
    char second[sizeof exam->data_path + 8];
    char away[sizeof exam->data_path + 8];
    struct stat before;
    struct stat after;
    snprintf(second, sizeof second, "%s.new", exam->data_path);
    snprintf(away, sizeof away, "%s.old", exam->data_path);
    assert_int_equal(link(exam->data_path, second), 0);
    assert_int_equal(rename(exam->data_path, away), 0);
    assert_int_equal(stat(away, &before), 0);
    exam_begin(exam);
    exam_close(exam);
    assert_int_equal(rename(away, exam->data_path), 0);
    assert_int_equal(stat(exam->data_path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    unlink(exam->index_path);
    exam->restarting = true;
    exam_begin(exam);
    exam_resume(exam);
    assert_int_not_equal(exam->clients[0].view.key[1].states[0].version, 0);
    exam_destroy(exam);
}

static void test_a_new_pool_is_its_owners_alone_whatever_had_its_temporary_name(void **unused) {
    (void)unused;
    struct exam *exam = begin_plain(POOL_FSYNC_NO, 8);
    exam_close(exam);
    unlink(exam->data_path);
    char second[sizeof exam->data_path + 8];
    struct stat status;
    snprintf(second, sizeof second, "%s.new", exam->data_path);
    int file = open(second, O_RDWR | O_CREAT, 0666);
    assert_true(file >= 0);
    assert_int_equal(fchmod(file, 0666), 0);
    exam_begin(exam);
    assert_int_equal(fstat(file, &status), 0);
    assert_int_equal(status.st_size, 0);
    assert_int_equal(stat(exam->data_path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    close(file);
    exam_close(exam);
    exam_destroy(exam);
}

/* Between two stores into the mapping, what is on the disk may be neither. */
static void test_the_header_of_a_pool_that_shrinks_is_written_in_one_piece(void **unused) {
    (void)unused;
    struct exam *exam = begin_plain(POOL_FSYNC_NO, 12);
    set(exam, 1, 100);
    exam_close(exam);
    exam->options.memory_bytes = UINT64_C(8) << 16;
    plan_fault(exam, (struct fault){CALL_SYNC, 0, 0});
    exam_begin(exam);
    assert_int_equal(atomic_load(&system_state.made[CALL_WRITE]), 1);
    mend_system();
    exam_destroy(exam);
}

static void test_an_index_of_another_boot_is_not_believed(void **unused) {
    (void)unused;
    struct exam *exam = begin_plain(POOL_FSYNC_NO, 8);
    set(exam, 1, 100);
    exam_close(exam);
    /* The power went; of the index, which nobody syncs, some pages were on the disk. */
    int file = open(exam->index_path, O_RDWR | O_CLOEXEC);
    struct layout_index_header header;
    static const char zeros[64 << 10];
    assert_int_equal(pread(file, &header, sizeof header, 0), sizeof header);
    header.boot_id ^= 2;
    assert_int_equal(pwrite(file, &header, sizeof header, 0), sizeof header);
    assert_int_equal(pwrite(file, zeros, sizeof zeros, (off_t)header.buckets_offset), sizeof zeros);
    close(file);
    exam->restarting = true;
    exam_begin(exam);
    exam_resume(exam);
    exam_destroy(exam);
}

int main(int count, char **arguments) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failed_sync_makes_the_pool_read_only_and_is_never_made_again),
        cmocka_unit_test(test_without_space_for_a_file_nothing_is_lost),
        cmocka_unit_test(test_without_memory_for_a_mapping_nothing_is_lost),
        cmocka_unit_test(test_a_signal_or_a_short_write_is_no_failure),
        cmocka_unit_test(
            test_a_write_error_that_the_kernel_tells_another_thread_is_not_acknowledged),
        cmocka_unit_test(test_a_read_only_pool_moves_and_forgets_nothing),
        cmocka_unit_test(test_an_item_that_was_read_after_it_was_copied_does_not_seem_idle),
        cmocka_unit_test(test_a_key_that_the_index_had_no_room_for_is_not_there_after_a_crash),
        cmocka_unit_test(test_a_pool_that_was_moved_away_is_not_touched_by_its_second_name),
        cmocka_unit_test(test_a_new_pool_is_its_owners_alone_whatever_had_its_temporary_name),
        cmocka_unit_test(test_the_header_of_a_pool_that_shrinks_is_written_in_one_piece),
        cmocka_unit_test(test_an_index_of_another_boot_is_not_believed),
    };
    if (count > 1) {
        cmocka_set_test_filter(arguments[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
