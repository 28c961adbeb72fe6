/* Power cuts: thousands of states of the file that a power cut may leave are opened as pools and
 * compared with the replies that clients got.
 *
 * STAYD_SOAK_SECONDS lets it run for longer, with other seeds; STAYD_SEED repeats one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "simulation.h"

enum {
    SHARED_BY = 6,       /* tests that share STAYD_SOAK_SECONDS */
    COURSE_BEGINS = 300, /* operations before the first check: then segments are used again */
};

/* How one client works. */
struct simulation_course {
    unsigned operations;    /* that are looked at */
    unsigned sync_percent;  /* after an operation */
    unsigned look_percent;  /* after an operation, and at a sync */
    unsigned cut_per_mille; /* after an operation */
    unsigned time_percent;
};

static void simulation_step(struct simulation *simulation, const struct simulation_course *course) {
    struct client *client = &simulation->clients[0];
    client_step(client, simulation->pool, &simulation->threads[0]);
    if (random_chance(&simulation->random, 2)) {
        room_wake(&simulation->pool->room);
    }
    simulation_wait_for_janitor(simulation);
    disk_record(simulation->disk);
    simulation_keep_image(simulation, course->look_percent);
    if (random_chance(&simulation->random, course->sync_percent) || client_needs_sync(client) ||
        client_flush_uncertain(client)) {
        if (!simulation_sync(simulation)) {
            simulation_fail(simulation, "a sync failed");
        }
    }
    simulation_check_images(simulation);
    if (random_chance(&simulation->random, course->time_percent)) {
        client_pass_time(client, simulation->pool, &simulation->threads[0],
                         1 + random_below(&simulation->random, 5));
        simulation_wait_for_janitor(simulation);
    }
    if (random_below(&simulation->random, 1000) < course->cut_per_mille) {
        simulation_cut_power(simulation);
    }
}

static void simulation_step_many(struct simulation *simulation,
                                 const struct simulation_course *course, unsigned operations,
                                 bool looks) {
    struct simulation_course unseen = *course;
    unseen.look_percent = 0;
    unseen.cut_per_mille = 0;
    simulation->sync_percent = looks ? 40 : 0;
    for (unsigned i = 0; i < operations; i++) {
        simulation_step(simulation, looks ? course : &unseen);
    }
}

/* Tests one seed after another, until the time is over. */
static void simulation_run(const struct pool_options *options, const struct client_habits *habits,
                           const struct simulation_course *course, uint64_t short_ms) {
    bool only;
    uint64_t seed = environment_first_seed(&only);
    environment_let_timers_run(true);
    uint64_t end_ms = clock_monotonic_ms() + environment_test_ms(short_ms, SHARED_BY);
    uint64_t states = 0;
    uint64_t cuts = 0;
    uint64_t compacted = 0;
    unsigned seeds = 0;
    do {
        struct simulation *simulation = simulation_create(seed++, options, habits, 1);
        simulation_begin(simulation);
        simulation_step_many(simulation, course, COURSE_BEGINS, false);
        simulation_step_many(simulation, course, course->operations, true);
        simulation_cut_power(simulation);
        simulation_close(simulation);
        states += simulation->states;
        cuts += simulation->cuts;
        compacted += simulation->compacted;
        simulation_destroy(simulation);
        environment_let_timers_run(true);
        seeds++;
    } while (!only && clock_monotonic_ms() < end_ms);
    print_message("    %u seeds, %llu states, %llu power cuts, %llu segments compacted\n", seeds,
                  (unsigned long long)states, (unsigned long long)cuts,
                  (unsigned long long)compacted);
    assert_true(compacted > 0);
}

static const struct client_habits all_habits = {.keys = 60,
                                                .value_max_bytes = 1900,
                                                .deletes = 15,
                                                .touches = 10,
                                                .adds = 5,
                                                .expiring = 40,
                                                .already = 5,
                                                .flushes_per_mille = 2,
                                                .delayed_per_mille = 2};

/* Runs one seed. The clients sync at these intervals. */
static struct simulation_course course_with_syncs(unsigned percent) {
    return (struct simulation_course){.operations = 300,
                                      .sync_percent = percent,
                                      .look_percent = 30,
                                      .cut_per_mille = 4,
                                      .time_percent = 3};
}

static void test_always_loses_nothing_acknowledged_in_any_power_cut(void **unused) {
    (void)unused;
    struct pool_options options = simulation_options(POOL_FSYNC_ALWAYS, 8);
    struct simulation_course course = course_with_syncs(60);
    simulation_run(&options, &all_habits, &course, 900);
}

static void test_a_completed_sync_keeps_all_that_came_before_it(void **unused) {
    (void)unused;
    struct pool_options options = simulation_options(POOL_FSYNC_NO, 8);
    struct simulation_course course = course_with_syncs(5);
    simulation_run(&options, &all_habits, &course, 900);
}

static void test_what_ended_never_comes_back_after_many_power_cuts(void **unused) {
    (void)unused;
    struct pool_options options = simulation_options(POOL_FSYNC_NO, 10);
    simulation_run(&options,
                   &(struct client_habits){.keys = 40,
                                           .value_max_bytes = 1200,
                                           .deletes = 30,
                                           .touches = 30,
                                           .adds = 5,
                                           .expiring = 70,
                                           .already = 5,
                                           .flushes_per_mille = 3,
                                           .delayed_per_mille = 3},
                   &(struct simulation_course){.operations = 400,
                                               .sync_percent = 2,
                                               .look_percent = 5,
                                               .cut_per_mille = 20,
                                               .time_percent = 5},
                   900);
}

/* Values of more than a page, whose expiry is changed in place. */
static void test_no_touch_of_a_large_value_breaks_a_promise_in_a_power_cut(void **unused) {
    (void)unused;
    static const enum pool_fsync policies[] = {POOL_FSYNC_ALWAYS, POOL_FSYNC_NO};
    for (unsigned i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct pool_options options = simulation_options(policies[i], 10);
        options.item_max_bytes = 8 << 10;
        simulation_run(&options,
                       &(struct client_habits){.keys = 30,
                                               .value_max_bytes = 7500,
                                               .deletes = 10,
                                               .touches = 60,
                                               .adds = 5,
                                               .expiring = 80,
                                               .already = 3,
                                               .flushes_per_mille = 2,
                                               .delayed_per_mille = 2},
                       &(struct simulation_course){.operations = 400,
                                                   .sync_percent = 5,
                                                   .look_percent = 5,
                                                   .cut_per_mille = 20,
                                                   .time_percent = 5},
                       400);
    }
}

/* ---- more than one thread ---- */

/* A client on a thread of its own. */
struct writer {
    struct simulation *simulation;
    unsigned number;
    unsigned batches;
    _Atomic unsigned *writing;
    pthread_t thread;
    bool failed;
};

static void *write_batches(void *argument) {
    struct writer *writer = argument;
    struct simulation *simulation = writer->simulation;
    struct client *client = &simulation->clients[writer->number];
    struct store_thread *thread = &simulation->threads[writer->number];
    for (unsigned i = 0; i < writer->batches && !writer->failed; i++) {
        for (uint32_t left = 1 + random_below(&client->random, 4); left > 0; left--) {
            client_step(client, simulation->pool, thread);
        }
        writer->failed = simulation_await_ticket(simulation, writer->number) != STATUS_OK;
        client_acknowledge(client);
    }
    atomic_fetch_sub(writer->writing, 1);
    return NULL;
}

/* Does what the kernel does: writes pages to the disk at random while the clients work. */
static bool write_back(struct simulation *simulation, _Atomic unsigned *writing) {
    while (atomic_load(writing) > 0) {
        disk_record_some(simulation->disk, &simulation->random, 8);
        simulation_keep_image(simulation, 30);
        if (!simulation_check_images_quietly(simulation)) {
            return false;
        }
        if (random_chance(&simulation->random, 5)) {
            room_wake(&simulation->pool->room);
        }
    }
    return true;
}

/* Runs all clients in parallel, until each has done its batches. */
static void write_at_once(struct simulation *simulation, unsigned batches) {
    struct writer writers[SIMULATION_CLIENTS_MAX];
    _Atomic unsigned writing = simulation->client_count;
    for (unsigned i = 0; i < simulation->client_count; i++) {
        writers[i] = (struct writer){simulation, i, batches, &writing, 0, false};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_batches, &writers[i]), 0);
    }
    bool kept = write_back(simulation, &writing);
    bool synced = true;
    for (unsigned i = 0; i < simulation->client_count; i++) {
        pthread_join(writers[i].thread, NULL);
        synced = synced && !writers[i].failed;
    }
    if (!kept || !synced) {
        simulation_fail(simulation, kept ? "a sync failed" : simulation->wrong);
    }
    simulation_wait_for_janitor(simulation);
    simulation_check_images(simulation);
}

static void
test_many_writers_lose_nothing_acknowledged_while_pages_are_written_back(void **unused) {
    (void)unused;
    struct pool_options options = simulation_options(POOL_FSYNC_ALWAYS, 12);
    struct client_habits habits = {.keys = 40,
                                   .value_max_bytes = 1900,
                                   .deletes = 15,
                                   .touches = 15,
                                   .adds = 5,
                                   .expiring = 30};
    bool only;
    uint64_t seed = environment_first_seed(&only);
    struct simulation *simulation =
        simulation_create(seed, &options, &habits, SIMULATION_CLIENTS_MAX);
    simulation->later_percent = 0; /* all clients have the same clock */
    simulation_begin(simulation);
    uint64_t end_ms = clock_monotonic_ms() + environment_test_ms(700, SHARED_BY);
    do {
        write_at_once(simulation, 100);
        simulation_cut_power(simulation);
    } while (clock_monotonic_ms() < end_ms);
    simulation_close(simulation);
    print_message("    %llu states, %llu power cuts, %llu segments compacted\n",
                  (unsigned long long)simulation->states, (unsigned long long)simulation->cuts,
                  (unsigned long long)simulation->compacted);
    assert_true(simulation->compacted > 0);
    simulation_destroy(simulation);
}

static void work_a_while(struct simulation *simulation, unsigned operations) {
    for (unsigned i = 0; i < operations; i++) {
        client_step(&simulation->clients[0], simulation->pool, &simulation->threads[0]);
        disk_record(simulation->disk);
        simulation_keep_image(simulation, 20);
        simulation_check_images(simulation);
    }
}

static void test_everysec_syncs_by_itself_and_keeps_what_came_before(void **unused) {
    (void)unused;
    struct pool_options options = simulation_options(POOL_FSYNC_EVERYSEC, 8);
    struct client_habits habits = {
        .keys = 60, .value_max_bytes = 1900, .deletes = 15, .touches = 10, .expiring = 30};
    struct simulation *simulation = simulation_create(1, &options, &habits, 1);
    environment_let_timers_run(true);
    simulation->later_percent = 0; /* the janitor follows the clock all the time */
    simulation_begin(simulation);
    work_a_while(simulation, 400);
    simulation_await_interval(simulation);
    work_a_while(simulation, 100);
    simulation_cut_power(simulation);
    simulation_destroy(simulation);
}

int main(int count, char **arguments) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_always_loses_nothing_acknowledged_in_any_power_cut),
        cmocka_unit_test(test_a_completed_sync_keeps_all_that_came_before_it),
        cmocka_unit_test(test_what_ended_never_comes_back_after_many_power_cuts),
        cmocka_unit_test(test_no_touch_of_a_large_value_breaks_a_promise_in_a_power_cut),
        cmocka_unit_test(test_many_writers_lose_nothing_acknowledged_while_pages_are_written_back),
        cmocka_unit_test(test_everysec_syncs_by_itself_and_keeps_what_came_before),
    };
    if (count > 1) {
        cmocka_set_test_filter(arguments[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
