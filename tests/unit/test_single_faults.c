/* Single faults of system calls. Each case once caused a fault in the store, or would cause one if
 * the store left out a step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "failing_system.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct simulation *begin_plain(enum pool_fsync fsync, unsigned segments) {
    static const struct client_habits plain = {.keys = 60, .value_max_bytes = 1900};
    struct pool_options options = simulation_options(fsync, segments);
    struct simulation *simulation = simulation_create(1, &options, &plain, 1);
    simulation->sync_percent = 0;
    simulation_begin(simulation);
    return simulation;
}

static void set(struct simulation *simulation, unsigned key, uint32_t size_bytes) {
    assert_int_equal(client_set(&simulation->clients[0], simulation->pool, &simulation->threads[0],
                                key, 0, size_bytes),
                     STATUS_OK);
}

/* A kernel in which two syncs run at the same time. It has lost a page, and reports the error only
 * to the first sync. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool janitor_is_in; /* its sync runs */
    bool met;           /* another sync began meanwhile */
    struct simulation *simulation;
} meeting = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

enum { MEETING_MS = 200 };

static int meeting_sync(int file) {
    pthread_mutex_lock(&meeting.lock);
    bool first = !meeting.janitor_is_in && !meeting.met;
    if (!first) {
        meeting.met = true; /* this sync was told that its pages were written */
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
    disk_fail_sync(meeting.simulation->disk);
    (void)file;
    errno = EIO;
    return -1;
}

static void *sync_as_janitor(void *argument) {
    struct simulation *simulation = argument;
    return sync_now(&simulation->pool->sync) ? simulation : NULL;
}

static void
test_a_write_error_that_the_kernel_tells_another_thread_is_not_acknowledged(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_plain(POOL_FSYNC_ALWAYS, 8);
    struct store_io meeting_io = disk_io;
    pthread_t janitor;
    void *synced;
    meeting.simulation = simulation;
    meeting_io.sync = meeting_sync;
    store_io = &meeting_io;
    set(simulation, 1, 100);
    assert_int_equal(pthread_create(&janitor, NULL, sync_as_janitor, simulation), 0);
    pthread_mutex_lock(&meeting.lock);
    while (!meeting.janitor_is_in) {
        pthread_cond_wait(&meeting.changed, &meeting.lock);
    }
    pthread_mutex_unlock(&meeting.lock);
    assert_int_equal(simulation_await_ticket(simulation, 0), STATUS_IO);
    pthread_join(janitor, &synced);
    assert_null(synced);
    store_io = &disk_io;
    simulation_destroy(simulation);
}

static void test_a_read_only_pool_moves_and_forgets_nothing(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_plain(POOL_FSYNC_NO, 8);
    for (unsigned i = 0; i < 400; i++) {
        if (atomic_load(&simulation->pool->segments.free_count) <= 2) {
            break; /* with fewer free segments, the janitor would begin to work */
        }
        set(simulation, i % 60, 1900);
    }
    plan_fault(simulation, (struct fault){CALL_SYNC, 1, EIO});
    simulation_wait_for_janitor(simulation);
    sync_now(&simulation->pool->sync);
    simulation_run_janitor(simulation);
    struct pool_stats before;
    struct pool_stats after;
    pool_get_stats(simulation->pool, &before);
    assert_true(before.read_only);
    for (int i = 0; i < 5; i++) {
        simulation_run_janitor(simulation);
    }
    pool_get_stats(simulation->pool, &after);
    assert_int_equal(before.counters[POOL_BYTES_MOVED], after.counters[POOL_BYTES_MOVED]);
    assert_int_equal(before.segments_free, after.segments_free);
    assert_int_equal(before.items, after.items);
    mend_system();
    simulation_destroy(simulation);
}

static void test_an_item_that_was_read_after_it_was_copied_does_not_seem_idle(void **unused) {
    (void)unused;
    static const struct client_habits plain = {.keys = 30, .value_max_bytes = 1900};
    struct pool_options options = simulation_options(POOL_FSYNC_NO, 8);
    options.idle_timeout_s = 100;
    struct simulation *simulation = simulation_create(1, &options, &plain, 1);
    simulation_begin(simulation);
    for (unsigned key = 0; key < 30; key++) {
        set(simulation, key, 100);
    }
    assert_true(simulation_sync(simulation));
    plan_fault(simulation, (struct fault){CALL_SYNC, 1, EIO});
    assert_false(simulation_move_all(simulation)); /* now each record exists twice */
    mend_system();
    environment_set_s(environment_now_s() + 60);
    char wrong[CLIENT_MESSAGE_MAX];
    assert_true(client_compare(&simulation->clients[0].view, simulation->pool,
                               &simulation->threads[0], wrong)); /* reads */
    simulation_close(simulation);
    environment_set_s(environment_now_s() + 60);
    simulation->restarting = true;
    simulation_begin(simulation);
    simulation_resume(simulation);
    for (unsigned key = 0; key < 30; key++) {
        assert_int_not_equal(simulation->clients[0].view.key[key].states[0].version, 0);
    }
    simulation_destroy(simulation);
}

/* Finds keys that share one bucket of a small index, enough to fill it. */
static void find_neighbours(struct simulation *simulation, unsigned count, char keys[][16]) {
    unsigned found = 0;
    for (unsigned number = 0; found < count; number++) {
        snprintf(keys[found], sizeof keys[found], "%u", number);
        uint64_t hash = hash_key(simulation->pool->view.hash_seed, bytes_from_string(keys[found]));
        uint64_t buckets = atomic_load(&simulation->pool->view.index->bucket_count);
        found += lookup_bucket_number(hash, buckets) == 1;
    }
}

static enum status set_plainly(struct simulation *simulation, const char *key) {
    store_thread_refresh(&simulation->threads[0]);
    enum status status =
        pool_store(simulation->pool, &simulation->threads[0], bytes_from_string(key),
                   &(struct pool_store){.value = bytes_from_string("value")}, NULL);
    store_thread_leave(&simulation->threads[0]);
    return status;
}

static enum status get_plainly(struct simulation *simulation, const char *key) {
    struct item item;
    store_thread_refresh(&simulation->threads[0]);
    enum status status =
        pool_get(simulation->pool, &simulation->threads[0], bytes_from_string(key), &item);
    store_thread_leave(&simulation->threads[0]);
    return status;
}

static void test_a_key_that_the_index_had_no_room_for_is_not_there_after_a_crash(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_plain(POOL_FSYNC_NO, 8);
    char keys[LAYOUT_SLOTS + 1][16];
    find_neighbours(simulation, LAYOUT_SLOTS + 1, keys);
    plan_fault(simulation, (struct fault){CALL_ALLOCATE, 1, ENOSPC});
    for (unsigned i = 0; i < LAYOUT_SLOTS; i++) {
        assert_int_equal(set_plainly(simulation, keys[i]), STATUS_OK);
    }
    assert_int_equal(set_plainly(simulation, keys[LAYOUT_SLOTS]), STATUS_INDEX_FULL);
    assert_true(fault_happened());
    mend_system();
    assert_int_equal(get_plainly(simulation, keys[LAYOUT_SLOTS]), STATUS_NOT_FOUND);
    assert_true(simulation_sync(simulation));
    simulation_cut_power(simulation);
    assert_int_equal(get_plainly(simulation, keys[0]), STATUS_OK);
    assert_int_equal(get_plainly(simulation, keys[LAYOUT_SLOTS]), STATUS_NOT_FOUND);
    simulation_destroy(simulation);
}

static void test_a_pool_that_was_moved_away_is_not_touched_by_its_second_name(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_plain(POOL_FSYNC_NO, 8);
    set(simulation, 1, 100);
    simulation_close(simulation);
    /* A crash between link and unlink has left both names of the new file. */
    char second[sizeof simulation->data_path + 8];
    char away[sizeof simulation->data_path + 8];
    struct stat before;
    struct stat after;
    snprintf(second, sizeof second, "%s.new", simulation->data_path);
    snprintf(away, sizeof away, "%s.old", simulation->data_path);
    assert_int_equal(link(simulation->data_path, second), 0);
    assert_int_equal(rename(simulation->data_path, away), 0);
    assert_int_equal(stat(away, &before), 0);
    simulation_begin(simulation);
    simulation_close(simulation);
    assert_int_equal(rename(away, simulation->data_path), 0);
    assert_int_equal(stat(simulation->data_path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    unlink(simulation->index_path);
    simulation->restarting = true;
    simulation_begin(simulation);
    simulation_resume(simulation);
    assert_int_not_equal(simulation->clients[0].view.key[1].states[0].version, 0);
    simulation_destroy(simulation);
}

static void test_a_new_pool_is_its_owners_alone_whatever_had_its_temporary_name(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_plain(POOL_FSYNC_NO, 8);
    simulation_close(simulation);
    unlink(simulation->data_path);
    char second[sizeof simulation->data_path + 8];
    struct stat status;
    snprintf(second, sizeof second, "%s.new", simulation->data_path);
    int file = open(second, O_RDWR | O_CREAT, 0666);
    assert_true(file >= 0);
    assert_int_equal(fchmod(file, 0666), 0);
    simulation_begin(simulation);
    assert_int_equal(fstat(file, &status), 0);
    assert_int_equal(status.st_size, 0);
    assert_int_equal(stat(simulation->data_path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    close(file);
    simulation_close(simulation);
    simulation_destroy(simulation);
}

/* Between two stores into the mapping, the kernel may write the page to the disk. */
static void test_the_header_of_a_pool_that_shrinks_is_written_in_one_piece(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_plain(POOL_FSYNC_NO, 12);
    set(simulation, 1, 100);
    simulation_close(simulation);
    simulation->options.memory_bytes = UINT64_C(8) << 16;
    plan_fault(simulation, (struct fault){CALL_SYNC, 0, 0});
    simulation_begin(simulation);
    assert_int_equal(atomic_load(&system_state.made[CALL_WRITE]), 1);
    mend_system();
    simulation_destroy(simulation);
}

static void test_an_index_of_another_boot_is_not_believed(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_plain(POOL_FSYNC_NO, 8);
    set(simulation, 1, 100);
    simulation_close(simulation);
    /* After a power cut, some pages of the index are on the disk, because the index is never
     * synced. */
    int file = open(simulation->index_path, O_RDWR | O_CLOEXEC);
    struct layout_index_header header;
    static const char zeros[64 << 10];
    assert_int_equal(pread(file, &header, sizeof header, 0), sizeof header);
    header.boot_id ^= 2;
    assert_int_equal(pwrite(file, &header, sizeof header, 0), sizeof header);
    assert_int_equal(pwrite(file, zeros, sizeof zeros, (off_t)header.buckets_offset), sizeof zeros);
    close(file);
    simulation->restarting = true;
    simulation_begin(simulation);
    simulation_resume(simulation);
    simulation_destroy(simulation);
}

int main(int count, char **arguments) {
    const struct CMUnitTest tests[] = {
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
