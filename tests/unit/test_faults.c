/* Failing system calls. Each call that the store makes for a file fails once, at each place in
 * turn, while a pool is made, works, compacts, stops, starts, grows and shrinks. In all cases no
 * acknowledged change is lost, no change is acknowledged that is not on the disk, and the file can
 * be used when the calls work again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "failing_system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SHARED_BY = 11 }; /* calls of let_each_fail */

static const struct client_habits habits = {
    .keys = 24,
    .value_max_bytes = 1900,
    .deletes = 10,
    .touches = 20,
    .expiring = 40,
    .flushes_per_mille = 5,
};

static void fail_with(struct simulation *simulation, const char *what) {
    char message[CLIENT_MESSAGE_MAX + 128];
    snprintf(message, sizeof message, "%s number %u fails with %s: %s",
             call_names[system_state.planned.call], system_state.planned.number,
             system_state.planned.error == 0 ? "less than was asked for"
                                             : strerror(system_state.planned.error),
             what);
    simulation_fail(simulation, message);
}

/* The pool's contents agree with the replies that the client got. `power`: they also agree after a
 * power cut. */
static void look_at_all(struct simulation *simulation) {
    for (int i = 0; i < 3; i++) {
        disk_record(simulation->disk);
        simulation_keep_image(simulation, 100);
    }
    mend_system();
    if (!simulation_check_images_quietly(simulation)) {
        fail_with(simulation, simulation->wrong);
    }
    if (simulation->clients[0].wrong[0] != '\0') {
        fail_with(simulation, simulation->clients[0].wrong);
    }
}

/* The pool could not make a write durable. It must report this, and never acknowledge a write
 * again. */
static void expect_read_only(struct simulation *simulation) {
    struct pool_stats stats;
    pool_get_stats(simulation->pool, &stats);
    if (!stats.read_only) {
        fail_with(simulation, "the pool is not read-only");
    }
    unsigned key = 0;
    if (client_set(&simulation->clients[0], simulation->pool, &simulation->threads[0], key, 0,
                   10) != STATUS_READ_ONLY) {
        fail_with(simulation, "a write is not refused");
    }
    simulation_run_janitor(simulation);
    if (atomic_load(&system_state.syncs_since) > 0) {
        fail_with(simulation, "the sync is made again");
    }
}

/* Does some operations, and lets some be acknowledged at a time. False: the pool accepts no
 * more. */
static bool work(struct simulation *simulation, unsigned operations) {
    struct client *client = &simulation->clients[0];
    for (unsigned i = 1; i <= operations; i++) {
        if (client_step(client, simulation->pool, &simulation->threads[0]) == STATUS_READ_ONLY) {
            return false;
        }
        simulation_wait_for_janitor(simulation);
        if (i % 20 == 0 && !simulation_sync(simulation)) {
            return false;
        }
    }
    return simulation_sync(simulation);
}

/* Opens the pool. If that fails, opens it again when the system works again. */
static void open_somehow(struct simulation *simulation) {
    char error[POOL_ERROR_MAX];
    simulation->restarting = true;
    if (!simulation_open(simulation, error)) {
        if (!fault_happened()) {
            fail_with(simulation, error);
        }
        if (error[0] == '\0') {
            fail_with(simulation, "there is no message");
        }
        disk_unmap(simulation->disk);
        mend_system();
        if (!simulation_open(simulation, error)) {
            fail_with(simulation, error);
        }
    }
    simulation_resume(simulation);
    simulation->restarting = false;
}

/* Lets the client work. If the pool has to give up, checks what it has done, and starts it
 * again. */
static void work_somehow(struct simulation *simulation, unsigned operations) {
    if (work(simulation, operations)) {
        return;
    }
    if (!fault_happened()) {
        fail_with(simulation, "the pool gives up without a reason");
    }
    expect_read_only(simulation);
    look_at_all(simulation);
    simulation_close(simulation);
    open_somehow(simulation);
    look_at_all(
        simulation); /* every item that can be seen is on the disk, whether acknowledged or not */
    if (!work(simulation, operations)) {
        fail_with(simulation, "the pool gives up again");
    }
}

static void resize(struct simulation *simulation, unsigned segments) {
    simulation_close(simulation);
    simulation->options.memory_bytes = (uint64_t)segments << 16;
    simulation->spare.memory_bytes = simulation->options.memory_bytes;
    open_somehow(simulation);
}

/* Turns the file of a closed pool into one of the first version of the layout. */
static void age_file(struct simulation *simulation) {
    struct layout_data_header header;
    int file = open(simulation->data_path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(file, &header, sizeof header, 0), sizeof header);
    header.version = LAYOUT_VERSION_FIRST;
    atomic_store(&header.index_id, 0);
    header.header_crc = geometry_header_crc(&header);
    assert_int_equal(pwrite(file, &header, sizeof header, 0), sizeof header);
    close(file);
}

/* The life of a pool, with one fault in it. */
static void live(struct simulation *simulation) {
    open_somehow(simulation);
    work_somehow(simulation, 160);
    if (!simulation_move_all(simulation) && !fault_happened()) {
        fail_with(simulation, "nothing can be moved");
    }
    work_somehow(simulation, 30);
    simulation_close(simulation);
    if (simulation->seed % 2 == 0) {
        age_file(simulation);
    }
    open_somehow(simulation);
    work_somehow(simulation, 30);
    resize(simulation, 12);
    work_somehow(simulation, 30);
    resize(simulation, 9);
    work_somehow(simulation, 30);
    look_at_all(simulation);
    simulation_cut_power(simulation);
    if (!work(simulation, 30)) {
        fail_with(simulation, "the pool gives up after a power cut");
    }
}

/* Lets a pool live with this fault. False: the call that should fail was not made. */
static bool live_with(struct fault fault, uint64_t seed) {
    struct pool_options options = simulation_options(POOL_FSYNC_ALWAYS, 8);
    struct simulation *simulation = simulation_create(seed + fault.number, &options, &habits, 1);
    simulation->sync_percent = 0;
    plan_fault(simulation, fault);
    live(simulation);
    mend_system();
    bool happened = fault_happened();
    simulation_destroy(simulation);
    return happened;
}

/* Lets calls of one kind fail, one in each life: each call in turn, or in the short form one of
 * `step` calls. A soak repeats this with other operations. */
static void let_each_fail(enum call call, int error, unsigned step) {
    bool only;
    uint64_t seed = environment_first_seed(&only);
    environment_let_timers_run(true);
    uint64_t soak_ms = environment_test_ms(0, SHARED_BY);
    uint64_t end_ms = clock_monotonic_ms() + soak_ms;
    unsigned lives = 0;
    do {
        unsigned number = 1;
        while (live_with((struct fault){call, number, error}, seed)) {
            lives++;
            number += soak_ms > 0 ? 1 : step;
        }
        seed += number;
        environment_let_timers_run(true);
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
    let_each_fail(CALL_PUNCH, EIO, 1);
}

static void test_without_memory_for_a_mapping_nothing_is_lost(void **unused) {
    (void)unused;
    let_each_fail(CALL_MAP, ENOMEM, 1);
}

static void test_a_signal_or_a_short_write_is_no_failure(void **unused) {
    (void)unused;
    let_each_fail(CALL_SYNC, EINTR, 5);
    let_each_fail(CALL_ALLOCATE, EINTR, 1);
    let_each_fail(CALL_PUNCH, EINTR, 1);
    let_each_fail(CALL_WRITE, EINTR, 1);
    let_each_fail(CALL_WRITE, 0, 1);
}

int main(int count, char **arguments) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failed_sync_makes_the_pool_read_only_and_is_never_made_again),
        cmocka_unit_test(test_without_space_for_a_file_nothing_is_lost),
        cmocka_unit_test(test_without_memory_for_a_mapping_nothing_is_lost),
        cmocka_unit_test(test_a_signal_or_a_short_write_is_no_failure),
    };
    if (count > 1) {
        cmocka_set_test_filter(arguments[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
