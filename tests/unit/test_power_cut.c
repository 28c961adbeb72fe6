/* What a power cut leaves, and what a pool makes of it: thousands of states of the file, each of
 * which the disk may be in when the power goes, opened and compared with what clients were told.
 *
 * STAYD_SOAK_SECONDS lets it run for longer, with other seeds; STAYD_SEED repeats one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "exam.h"
#include "store/compaction.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SHARED_BY = 4,       /* tests that run for as long as they are allowed to */
    COURSE_BEGINS = 300, /* operations before anybody looks: then segments are used again */
};

/* How one client's work goes. */
struct exam_course {
    unsigned operations;    /* that are looked at */
    unsigned sync_percent;  /* after an operation */
    unsigned look_percent;  /* after an operation, and at a sync */
    unsigned cut_per_mille; /* after an operation */
    unsigned time_percent;
};

static void exam_step(struct exam *exam, const struct exam_course *course) {
    struct client *client = &exam->clients[0];
    client_step(client, exam->pool, &exam->threads[0]);
    if (random_chance(&exam->random, 2)) {
        room_wake(&exam->pool->room);
    }
    exam_wait_for_janitor(exam);
    disk_record(exam->disk);
    exam_moment(exam, course->look_percent);
    if (random_chance(&exam->random, course->sync_percent) || client_needs_sync(client) ||
        client_flush_uncertain(client)) {
        if (!exam_sync(exam)) {
            exam_fail(exam, "a sync failed");
        }
    }
    exam_look(exam);
    if (random_chance(&exam->random, course->time_percent)) {
        client_pass_time(client, exam->pool, &exam->threads[0], 1 + random_below(&exam->random, 5));
        exam_wait_for_janitor(exam);
    }
    if (random_below(&exam->random, 1000) < course->cut_per_mille) {
        exam_cut(exam);
    }
}

static void exam_step_many(struct exam *exam, const struct exam_course *course, unsigned operations,
                           bool looks) {
    struct exam_course unseen = *course;
    unseen.look_percent = 0;
    unseen.cut_per_mille = 0;
    exam->sync_percent = looks ? 40 : 0;
    for (unsigned i = 0; i < operations; i++) {
        exam_step(exam, looks ? course : &unseen);
    }
}

/* One seed after the other, until the time is over. */
static void exam_run(const struct pool_options *options, const struct client_habits *habits,
                     const struct exam_course *course, uint64_t short_ms) {
    bool only;
    uint64_t seed = machine_first_seed(&only);
    machine_let_timers_run(true);
    uint64_t end_ms = clock_monotonic_ms() + machine_test_ms(short_ms, SHARED_BY);
    uint64_t states = 0;
    uint64_t cuts = 0;
    uint64_t compacted = 0;
    unsigned seeds = 0;
    do {
        struct exam *exam = exam_create(seed++, options, habits, 1);
        exam_begin(exam);
        exam_step_many(exam, course, COURSE_BEGINS, false);
        exam_step_many(exam, course, course->operations, true);
        exam_cut(exam);
        exam_close(exam);
        states += exam->states;
        cuts += exam->cuts;
        compacted += exam->compacted;
        exam_destroy(exam);
        machine_let_timers_run(true);
        seeds++;
    } while (!only && clock_monotonic_ms() < end_ms);
    print_message("    %u seeds, %llu states, %llu power cuts, %llu segments compacted\n", seeds,
                  (unsigned long long)states, (unsigned long long)cuts,
                  (unsigned long long)compacted);
    assert_true(compacted > 0);
}

static void test_always_loses_nothing_acknowledged_in_any_power_cut(void **unused) {
    (void)unused;
    struct pool_options options = exam_options(POOL_FSYNC_ALWAYS, 8);
    exam_run(&options,
             &(struct client_habits){.keys = 60,
                                     .value_max_bytes = 1900,
                                     .deletes = 15,
                                     .touches = 10,
                                     .adds = 5,
                                     .expiring = 40,
                                     .already = 5,
                                     .flushes_per_mille = 2,
                                     .delayed_per_mille = 2},
             &(struct exam_course){.operations = 300,
                                   .sync_percent = 60,
                                   .look_percent = 30,
                                   .cut_per_mille = 4,
                                   .time_percent = 3},
             900);
}

static void test_a_completed_sync_keeps_all_that_came_before_it(void **unused) {
    (void)unused;
    struct pool_options options = exam_options(POOL_FSYNC_NO, 8);
    exam_run(&options,
             &(struct client_habits){.keys = 60,
                                     .value_max_bytes = 1900,
                                     .deletes = 15,
                                     .touches = 10,
                                     .adds = 5,
                                     .expiring = 40,
                                     .already = 5,
                                     .flushes_per_mille = 2,
                                     .delayed_per_mille = 2},
             &(struct exam_course){.operations = 300,
                                   .sync_percent = 5,
                                   .look_percent = 30,
                                   .cut_per_mille = 4,
                                   .time_percent = 3},
             900);
}

static void test_what_ended_never_comes_back_after_many_power_cuts(void **unused) {
    (void)unused;
    struct pool_options options = exam_options(POOL_FSYNC_NO, 10);
    exam_run(&options,
             &(struct client_habits){.keys = 40,
                                     .value_max_bytes = 1200,
                                     .deletes = 30,
                                     .touches = 30,
                                     .adds = 5,
                                     .expiring = 70,
                                     .already = 5,
                                     .flushes_per_mille = 3,
                                     .delayed_per_mille = 3},
             &(struct exam_course){.operations = 400,
                                   .sync_percent = 2,
                                   .look_percent = 5,
                                   .cut_per_mille = 20,
                                   .time_percent = 5},
             900);
}

/* ---- more than one thread ---- */

/* A client on a thread of its own. */
struct writer {
    struct exam *exam;
    unsigned number;
    unsigned batches;
    _Atomic unsigned *writing;
    pthread_t thread;
    bool failed;
};

static void *write_batches(void *argument) {
    struct writer *writer = argument;
    struct exam *exam = writer->exam;
    struct client *client = &exam->clients[writer->number];
    struct store_thread *thread = &exam->threads[writer->number];
    for (unsigned i = 0; i < writer->batches && !writer->failed; i++) {
        for (uint32_t left = 1 + random_below(&client->random, 4); left > 0; left--) {
            client_step(client, exam->pool, thread);
        }
        writer->failed = exam_await_ticket(exam, writer->number) != STATUS_OK;
        client_acknowledge(client);
    }
    atomic_fetch_sub(writer->writing, 1);
    return NULL;
}

/* What the kernel does: brings some page or other to the disk, while all goes on. */
static bool write_back(struct exam *exam, _Atomic unsigned *writing) {
    while (atomic_load(writing) > 0) {
        disk_record_some(exam->disk, &exam->random, 8);
        exam_moment(exam, 30);
        if (!exam_look_quietly(exam)) {
            return false;
        }
        if (random_chance(&exam->random, 5)) {
            room_wake(&exam->pool->room);
        }
    }
    return true;
}

/* All clients at once, until each has done its batches. */
static void write_at_once(struct exam *exam, unsigned batches) {
    struct writer writers[EXAM_CLIENTS_MAX];
    _Atomic unsigned writing = exam->client_count;
    for (unsigned i = 0; i < exam->client_count; i++) {
        writers[i] = (struct writer){exam, i, batches, &writing, 0, false};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_batches, &writers[i]), 0);
    }
    bool kept = write_back(exam, &writing);
    bool synced = true;
    for (unsigned i = 0; i < exam->client_count; i++) {
        pthread_join(writers[i].thread, NULL);
        synced = synced && !writers[i].failed;
    }
    if (!kept || !synced) {
        exam_fail(exam, kept ? "a sync failed" : exam->wrong);
    }
    exam_wait_for_janitor(exam);
    exam_look(exam);
}

static void
test_many_writers_lose_nothing_acknowledged_while_pages_are_written_back(void **unused) {
    (void)unused;
    struct pool_options options = exam_options(POOL_FSYNC_ALWAYS, 12);
    struct client_habits habits = {.keys = 40,
                                   .value_max_bytes = 1900,
                                   .deletes = 15,
                                   .touches = 15,
                                   .adds = 5,
                                   .expiring = 30};
    bool only;
    uint64_t seed = machine_first_seed(&only);
    struct exam *exam = exam_create(seed, &options, &habits, EXAM_CLIENTS_MAX);
    exam->later_percent = 0; /* the clock is everybody's */
    exam_begin(exam);
    uint64_t end_ms = clock_monotonic_ms() + machine_test_ms(700, SHARED_BY);
    do {
        write_at_once(exam, 100);
        exam_cut(exam);
    } while (clock_monotonic_ms() < end_ms);
    exam_close(exam);
    print_message("    %llu states, %llu power cuts, %llu segments compacted\n",
                  (unsigned long long)exam->states, (unsigned long long)exam->cuts,
                  (unsigned long long)exam->compacted);
    assert_true(exam->compacted > 0);
    exam_destroy(exam);
}

static void work_a_while(struct exam *exam, unsigned operations) {
    for (unsigned i = 0; i < operations; i++) {
        client_step(&exam->clients[0], exam->pool, &exam->threads[0]);
        disk_record(exam->disk);
        exam_moment(exam, 20);
        exam_look(exam);
    }
}

static void test_everysec_syncs_by_itself_and_keeps_what_came_before(void **unused) {
    (void)unused;
    struct pool_options options = exam_options(POOL_FSYNC_EVERYSEC, 8);
    struct client_habits habits = {
        .keys = 60, .value_max_bytes = 1900, .deletes = 15, .touches = 10, .expiring = 30};
    struct exam *exam = exam_create(1, &options, &habits, 1);
    machine_let_timers_run(true);
    exam->later_percent = 0; /* the janitor goes by the clock all the time */
    exam_begin(exam);
    work_a_while(exam, 400);
    exam_await_interval(exam);
    work_a_while(exam, 100);
    exam_cut(exam);
    exam_destroy(exam);
}

/* ---- single cuts, of known pages ---- */

static const struct client_habits plain_habits = {.keys = 60, .value_max_bytes = 1900};

/* The pages that a power cut takes back to the last sync: these, or all others. */
struct loss {
    size_t first_page;
    size_t last_page;
    bool all_others;
};

static bool loss_takes(void *context, size_t page) {
    const struct loss *loss = context;
    return (page >= loss->first_page && page <= loss->last_page) != loss->all_others;
}

static size_t segment_page(const struct exam *exam, int64_t segment) {
    return 1 + (size_t)segment * exam->pool->view.segment_bytes / LAYOUT_PAGE;
}

/* The byte of the file at which the next record of this class goes. */
static uint64_t next_byte_of(struct exam *exam, unsigned class) {
    const struct segments *segments = &exam->pool->segments;
    uint32_t segment = (uint32_t)segments->heads[0][class].segment;
    return LAYOUT_PAGE + (uint64_t)segment * exam->pool->view.segment_bytes +
           atomic_load(&exam->pool->view.segments[segment].fill);
}

static uint64_t next_byte(struct exam *exam) {
    return next_byte_of(exam, SEGMENT_CLASSES - 1); /* of items without expiry */
}

static void set(struct exam *exam, unsigned key, uint32_t ttl_s, uint32_t size_bytes) {
    assert_int_equal(client_set(&exam->clients[0], exam->pool, &exam->threads[0], key,
                                ttl_s == 0 ? 0 : machine_now_s() + ttl_s, size_bytes),
                     STATUS_OK);
}

static void touch(struct exam *exam, unsigned key, uint32_t ttl_s) {
    assert_int_equal(client_touch(&exam->clients[0], exam->pool, &exam->threads[0], key,
                                  machine_now_s() + ttl_s),
                     STATUS_OK);
}

/* Fills up to so many bytes before the end of a page, with items that live so long. */
static void fill_page_of(struct exam *exam, uint32_t ttl_s, uint32_t left_bytes) {
    unsigned class = segment_class(ttl_s == 0 ? UINT32_MAX : ttl_s);
    for (unsigned key = 50;; key++) {
        uint32_t room = LAYOUT_PAGE - (uint32_t)(next_byte_of(exam, class) % LAYOUT_PAGE);
        room = room < left_bytes + 100 ? room + LAYOUT_PAGE : room;
        uint32_t size = room - left_bytes;
        if (size <= 1800) {
            /* The key is "a:session:NN": 12 bytes beside the record's head. */
            set(exam, key, ttl_s, size - (uint32_t)sizeof(struct layout_record) - 12);
            return;
        }
        set(exam, key, ttl_s, 1500);
    }
}

static void fill_page(struct exam *exam, uint32_t left_bytes) {
    fill_page_of(exam, 0, left_bytes);
}

/* Opens a pool with some items, all on the disk. */
static struct exam *begin_with_items(enum pool_fsync fsync) {
    struct pool_options options = exam_options(fsync, 8);
    struct exam *exam = exam_create(1, &options, &plain_habits, 1);
    exam->sync_percent = 0;
    exam_begin(exam);
    for (unsigned key = 0; key < 20; key++) {
        set(exam, key, 0, 100);
    }
    assert_true(exam_sync(exam));
    return exam;
}

static void cut_pages(struct exam *exam, struct loss loss) {
    disk_cut_pages(exam->disk, loss_takes, &loss, exam->looked_at.bytes);
    exam_cut_to(exam, exam->looked_at.bytes);
}

/* Cuts the power when nothing is lost by it. */
static void cut_nothing(struct exam *exam) {
    assert_true(exam_sync(exam));
    cut_pages(exam, (struct loss){1, 0, false});
}

static void pass_time(struct exam *exam, uint32_t by_s) {
    client_pass_time(&exam->clients[0], exam->pool, &exam->threads[0], by_s);
}

static bool there(struct exam *exam, unsigned key) {
    const struct client_key *known = &exam->clients[0].view.key[key];
    return known->states[known->count - 1].version != 0;
}

/* The segment that the next record without expiry goes into. */
static uint32_t open_segment(struct exam *exam) {
    return (uint32_t)exam->pool->segments.heads[0][SEGMENT_CLASSES - 1].segment;
}

/* Writes until records go into a new segment. */
static uint32_t fill_segment(struct exam *exam) {
    uint32_t full = open_segment(exam);
    while (open_segment(exam) == full) {
        set(exam, 59, 0, 1900);
    }
    return full;
}

static void test_a_shorter_life_that_was_torn_takes_nothing_away(void **unused) {
    (void)unused;
    struct exam *exam = begin_with_items(POOL_FSYNC_NO);
    set(exam, 7, 0, 1500);
    fill_segment(exam);
    assert_true(exam_sync(exam));
    /* The tombstone ends a page, the new version begins in it and is lost. */
    fill_page(exam, 100);
    uint32_t segment = open_segment(exam);
    size_t page = next_byte(exam) / LAYOUT_PAGE;
    touch(exam, 7, 1000);
    cut_pages(exam, (struct loss){page + 1, page + 1, false});
    assert_true(there(exam, 7));
    assert_true(exam_move_segment(exam, segment));
    cut_nothing(exam);
    assert_true(there(exam, 7));
    exam_destroy(exam);
}

/* Its beginning is on the disk, and the next one is written over it. */
static void test_a_version_that_was_torn_is_not_made_whole_by_what_comes_after_it(void **unused) {
    (void)unused;
    enum { KEY = 30, DAY_S = 86400 };
    struct exam *exam = begin_with_items(POOL_FSYNC_NO);
    set(exam, KEY, 40 * DAY_S, 1000);
    fill_page_of(exam, 45 * DAY_S, 104);
    assert_true(exam_sync(exam));
    size_t page = next_byte_of(exam, segment_class(45 * DAY_S)) / LAYOUT_PAGE;
    touch(exam, KEY, 50 * DAY_S);
    cut_pages(exam, (struct loss){page + 1, page + 1, false});
    assert_int_equal(exam->clients[0].view.key[KEY].states[0].expiry_s,
                     machine_now_s() + 40 * DAY_S);
    touch(exam, KEY, 60 * DAY_S); /* in the same place; what was in the lost page is the same */
    cut_pages(exam, (struct loss){page, page, false});
    assert_int_equal(exam->clients[0].view.key[KEY].states[0].expiry_s,
                     machine_now_s() + 40 * DAY_S);
    exam_destroy(exam);
}

static void
test_a_version_that_moves_with_its_tombstone_does_not_take_the_one_before(void **unused) {
    (void)unused;
    struct exam *exam = begin_with_items(POOL_FSYNC_NO);
    set(exam, 7, 0, 1500);
    fill_segment(exam);
    fill_page(exam, 100);
    assert_true(exam_sync(exam));
    uint32_t segment = open_segment(exam);
    touch(exam, 7, 1000);
    /* Both halves are copied, and the disk gets the copy of the tombstone alone. */
    exam_wait_for_janitor(exam);
    segments_seal(&exam->pool->segments, segment);
    compaction_begin(exam->pool);
    assert_true(compaction_empty(exam->pool, segment, 0, machine_now_s()));
    size_t copies = segment_page(exam, exam->pool->segments.heads[1][SEGMENT_CLASSES - 1].segment);
    cut_pages(exam, (struct loss){copies, copies + 1, .all_others = true});
    assert_true(there(exam, 7));
    exam_destroy(exam);
}

static void test_a_segment_is_written_over_only_when_the_disk_has_it_as_free(void **unused) {
    (void)unused;
    struct exam *exam = begin_with_items(POOL_FSYNC_NO);
    uint32_t segment = open_segment(exam);
    size_t first = segment_page(exam, segment);
    for (unsigned key = 50; next_byte(exam) / LAYOUT_PAGE < first + 3; key++) {
        set(exam, key, 0, 1500);
    }
    /* The tombstone is pages behind the items. */
    for (unsigned key = 0; key < 20; key++) {
        assert_int_equal(client_delete(&exam->clients[0], exam->pool, &exam->threads[0], key),
                         STATUS_OK);
    }
    size_t tombstones = next_byte(exam) / LAYOUT_PAGE;
    fill_segment(exam);
    assert_true(exam_sync(exam));
    assert_true(exam_move_segment(exam, segment));
    /* Used again at once; the disk gets nothing of that but what lies over the tombstones. */
    for (unsigned key = 30; key < 45; key++) {
        set(exam, key, 10, 1500);
    }
    const struct segment_head *head = &exam->pool->segments.heads[0][0];
    assert_int_equal(head->segment, segment);
    assert_true(atomic_load(&exam->pool->view.segments[segment].fill) / LAYOUT_PAGE >
                tombstones - first + 1);
    cut_pages(exam, (struct loss){tombstones - 1, tombstones + 1, .all_others = true});
    for (unsigned key = 0; key < 20; key++) {
        assert_false(there(exam, key));
    }
    exam_destroy(exam);
}

static void test_an_item_stays_gone_when_its_end_is_lost_and_its_successor_is_not(void **unused) {
    (void)unused;
    struct exam *exam = begin_with_items(POOL_FSYNC_NO);
    fill_page(exam, 100);
    size_t page = next_byte(exam) / LAYOUT_PAGE;
    assert_int_equal(client_delete(&exam->clients[0], exam->pool, &exam->threads[0], 3), STATUS_OK);
    set(exam, 3, 10, 200); /* in a segment of its own class */
    cut_pages(exam, (struct loss){page, page, false});
    assert_true(there(exam, 3));
    /* The successor and its segment go; the segment of the first version stays as it is. */
    int64_t segment = exam->pool->segments.heads[0][0].segment;
    assert_int_not_equal(segment, SEGMENT_NONE);
    pass_time(exam, 20);
    exam_run_janitor(exam);
    assert_int_equal(atomic_load(&exam->pool->view.segments[segment].state), LAYOUT_SEGMENT_FREE);
    cut_nothing(exam);
    assert_false(there(exam, 3));
    exam_destroy(exam);
}

static void test_no_cas_is_given_out_twice_though_all_was_lost_twice(void **unused) {
    (void)unused;
    struct exam *exam = begin_with_items(POOL_FSYNC_NO);
    for (int cut = 0; cut < 3; cut++) {
        set(exam, 30, 0, 100);
        exam_look(exam); /* the client has noted its CAS */
        cut_pages(exam, (struct loss){0, SIZE_MAX, false});
        assert_false(there(exam, 30));
    }
    set(exam, 30, 0, 100);
    exam_look(exam);
    exam_destroy(exam);
}

/* Where a clean stop is cut in two, and the start after it. */
static void test_a_clean_stop_is_whole_wherever_it_is_cut(void **unused) {
    (void)unused;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct pool_options options = exam_options(POOL_FSYNC_NO, 8);
        struct exam *exam = exam_create(seed, &options, &plain_habits, 1);
        exam->sync_percent = 100;
        exam_begin(exam);
        for (int i = 0; i < 50; i++) {
            client_step(&exam->clients[0], exam->pool, &exam->threads[0]);
        }
        exam_close(exam);
        exam_look(exam);
        exam_moment(exam, 100);
        exam_begin(exam); /* with the index as it lies */
        exam_resume(exam);
        for (int i = 0; i < 10; i++) {
            client_step(&exam->clients[0], exam->pool, &exam->threads[0]);
        }
        exam_look(exam);
        exam_cut(exam);
        exam_destroy(exam);
    }
}

/* ---- a start that is cut ---- */

enum { CUTS_A_SYNC = 8, CUTS_MAX = 64, IDLE_S = 100, IDLE_KEYS = 30 };

static struct {
    struct exam *exam;
    struct store_io io; /* the disk, which keeps what a cut might leave before each sync */
    unsigned char *images[CUTS_MAX];
    unsigned count;
} cut_start;

static int cut_before_sync(int file) {
    struct exam *exam = cut_start.exam;
    disk_record(exam->disk);
    for (int i = 0; i < CUTS_A_SYNC && cut_start.count < CUTS_MAX; i++) {
        unsigned char *image = malloc(disk_size(exam->disk));
        assert_non_null(image);
        disk_cut(exam->disk, &exam->random, image);
        cut_start.images[cut_start.count++] = image;
    }
    return disk_io.sync(file);
}

static void expect_no_key(struct exam *exam, char keys[IDLE_KEYS][16]) {
    struct item item;
    store_thread_refresh(&exam->threads[0]);
    for (unsigned key = 0; key < IDLE_KEYS; key++) {
        assert_int_equal(
            pool_get(exam->pool, &exam->threads[0], bytes_from_string(keys[key]), &item),
            STATUS_NOT_FOUND);
    }
    store_thread_leave(&exam->threads[0]);
}

static void test_a_raised_limit_brings_nothing_back_wherever_its_start_is_cut(void **unused) {
    (void)unused;
    struct pool_options options = exam_options(POOL_FSYNC_NO, 8);
    options.idle_timeout_s = IDLE_S;
    struct exam *exam = exam_create(1, &options, &plain_habits, 1);
    exam_begin(exam);
    char keys[IDLE_KEYS][16];
    char value[1500] = {0};
    for (unsigned i = 0; i < 2 * IDLE_KEYS; i++) { /* older versions lie behind all */
        char *key = keys[i % IDLE_KEYS];
        snprintf(key, sizeof keys[0], "idle-%u", i % IDLE_KEYS);
        struct pool_store request = {.mode = POOL_SET, .value = bytes_from(value, sizeof value)};
        store_thread_refresh(&exam->threads[0]);
        assert_int_equal(
            pool_store(exam->pool, &exam->threads[0], bytes_from_string(key), &request, NULL),
            STATUS_OK);
    }
    store_thread_leave(&exam->threads[0]);
    exam_close(exam);
    machine_set_s(machine_now_s() + IDLE_S + 50);
    exam->options.idle_timeout_s = 10 * IDLE_S;
    cut_start.exam = exam;
    cut_start.count = 0;
    cut_start.io = disk_io;
    cut_start.io.sync = cut_before_sync;
    store_io = &cut_start.io;
    exam->restarting = true;
    exam_begin(exam);
    store_io = &disk_io;
    expect_no_key(exam, keys);
    assert_true(cut_start.count > 0);
    for (unsigned i = 0; i < cut_start.count; i++) {
        disk_power_off(exam->disk);
        exam_close(exam);
        unlink(exam->index_path);
        disk_power_on(exam->disk, cut_start.images[i]);
        exam_begin(exam);
        expect_no_key(exam, keys);
        free(cut_start.images[i]);
    }
    exam_destroy(exam);
}

int main(int count, char **arguments) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_always_loses_nothing_acknowledged_in_any_power_cut),
        cmocka_unit_test(test_a_completed_sync_keeps_all_that_came_before_it),
        cmocka_unit_test(test_what_ended_never_comes_back_after_many_power_cuts),
        cmocka_unit_test(test_many_writers_lose_nothing_acknowledged_while_pages_are_written_back),
        cmocka_unit_test(test_everysec_syncs_by_itself_and_keeps_what_came_before),
        cmocka_unit_test(test_a_shorter_life_that_was_torn_takes_nothing_away),
        cmocka_unit_test(test_a_version_that_was_torn_is_not_made_whole_by_what_comes_after_it),
        cmocka_unit_test(test_a_version_that_moves_with_its_tombstone_does_not_take_the_one_before),
        cmocka_unit_test(test_a_segment_is_written_over_only_when_the_disk_has_it_as_free),
        cmocka_unit_test(test_an_item_stays_gone_when_its_end_is_lost_and_its_successor_is_not),
        cmocka_unit_test(test_no_cas_is_given_out_twice_though_all_was_lost_twice),
        cmocka_unit_test(test_a_clean_stop_is_whole_wherever_it_is_cut),
        cmocka_unit_test(test_a_raised_limit_brings_nothing_back_wherever_its_start_is_cut),
    };
    if (count > 1) {
        cmocka_set_test_filter(arguments[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
