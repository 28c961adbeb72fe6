/* Power cuts that lose certain pages. Each case once caused a fault, or would cause one if the
 * store left out a step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "simulation.h"
#include "store/compaction.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct client_habits plain_habits = {.keys = 60, .value_max_bytes = 1900};

/* The pages that a power cut resets to the last sync: these, or all others. */
struct loss {
    size_t first_page;
    size_t last_page;
    bool all_others;
};

static bool loss_takes(void *context, size_t page) {
    const struct loss *loss = context;
    return (page >= loss->first_page && page <= loss->last_page) != loss->all_others;
}

static size_t segment_page(const struct simulation *simulation, int64_t segment) {
    return 1 + (size_t)segment * simulation->pool->view.segment_bytes / LAYOUT_PAGE;
}

/* The byte of the file at which the next record of this class begins. */
static uint64_t next_byte_of(struct simulation *simulation, unsigned class) {
    const struct segments *segments = &simulation->pool->segments;
    uint32_t segment = (uint32_t)segments->heads[0][class].segment;
    return LAYOUT_PAGE + (uint64_t)segment * simulation->pool->view.segment_bytes +
           atomic_load(&simulation->pool->view.segments[segment].fill);
}

static uint64_t next_byte(struct simulation *simulation) {
    return next_byte_of(simulation, SEGMENT_CLASSES - 1); /* the class of items without expiry */
}

static void set(struct simulation *simulation, unsigned key, uint32_t ttl_s, uint32_t size_bytes) {
    assert_int_equal(client_set(&simulation->clients[0], simulation->pool, &simulation->threads[0],
                                key, ttl_s == 0 ? 0 : environment_now_s() + ttl_s, size_bytes),
                     STATUS_OK);
}

static void touch(struct simulation *simulation, unsigned key, uint32_t ttl_s) {
    assert_int_equal(client_touch(&simulation->clients[0], simulation->pool,
                                  &simulation->threads[0], key, environment_now_s() + ttl_s),
                     STATUS_OK);
}

/* Stores items with this TTL until `left_bytes` remain before the end of a page. */
static void fill_page_of(struct simulation *simulation, uint32_t ttl_s, uint32_t left_bytes) {
    unsigned class = segment_class(ttl_s == 0 ? UINT32_MAX : ttl_s);
    for (unsigned key = 50;; key++) {
        uint32_t room = LAYOUT_PAGE - (uint32_t)(next_byte_of(simulation, class) % LAYOUT_PAGE);
        room = room < left_bytes + 100 ? room + LAYOUT_PAGE : room;
        uint32_t size = room - left_bytes;
        if (size <= 1800) {
            /* The key is "a:session:NN": 12 bytes beside the record's head. */
            set(simulation, key, ttl_s, size - (uint32_t)sizeof(struct layout_record) - 12);
            return;
        }
        set(simulation, key, ttl_s, 1500);
    }
}

static void fill_page(struct simulation *simulation, uint32_t left_bytes) {
    fill_page_of(simulation, 0, left_bytes);
}

/* Opens a pool with some items, all on the disk. */
static struct simulation *begin_with_items(enum pool_fsync fsync) {
    struct pool_options options = simulation_options(fsync, 8);
    struct simulation *simulation = simulation_create(1, &options, &plain_habits, 1);
    simulation->sync_percent = 0;
    simulation_begin(simulation);
    for (unsigned key = 0; key < 20; key++) {
        set(simulation, key, 0, 100);
    }
    assert_true(simulation_sync(simulation));
    return simulation;
}

static void cut_pages(struct simulation *simulation, struct loss loss) {
    disk_cut_pages(simulation->disk, loss_takes, &loss, simulation->looked_at.bytes);
    simulation_restart_from(simulation, simulation->looked_at.bytes);
}

/* Cuts the power after a sync, so that no data is lost. */
static void cut_nothing(struct simulation *simulation) {
    assert_true(simulation_sync(simulation));
    cut_pages(simulation, (struct loss){1, 0, false});
}

static void pass_time(struct simulation *simulation, uint32_t by_s) {
    client_pass_time(&simulation->clients[0], simulation->pool, &simulation->threads[0], by_s);
}

static bool there(struct simulation *simulation, unsigned key) {
    const struct client_key *known = &simulation->clients[0].view.key[key];
    return known->states[known->count - 1].version != 0;
}

/* The segment that the next record without expiry goes into. */
static uint32_t open_segment(struct simulation *simulation) {
    return (uint32_t)simulation->pool->segments.heads[0][SEGMENT_CLASSES - 1].segment;
}

/* Writes until records go into a new segment. */
static uint32_t fill_segment(struct simulation *simulation) {
    uint32_t full = open_segment(simulation);
    while (open_segment(simulation) == full) {
        set(simulation, 59, 0, 1900);
    }
    return full;
}

static void test_a_shorter_life_that_was_torn_takes_nothing_away(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_with_items(POOL_FSYNC_NO);
    set(simulation, 7, 0, 1500);
    fill_segment(simulation);
    assert_true(simulation_sync(simulation));
    /* The tombstone is at the end of a page. The new version begins in that page and is lost. */
    fill_page(simulation, 100);
    uint32_t segment = open_segment(simulation);
    size_t page = next_byte(simulation) / LAYOUT_PAGE;
    touch(simulation, 7, 1000);
    cut_pages(simulation, (struct loss){page + 1, page + 1, false});
    assert_true(there(simulation, 7));
    assert_true(simulation_move_segment(simulation, segment));
    cut_nothing(simulation);
    assert_true(there(simulation, 7));
    simulation_destroy(simulation);
}

/* The beginning of the lost version is on the disk, and the next version is written over it. */
static void test_a_version_that_was_torn_is_not_made_whole_by_what_comes_after_it(void **unused) {
    (void)unused;
    enum { KEY = 30, DAY_S = 86400 };
    struct simulation *simulation = begin_with_items(POOL_FSYNC_NO);
    set(simulation, KEY, 40 * DAY_S, 1000);
    fill_page_of(simulation, 45 * DAY_S, 104);
    assert_true(simulation_sync(simulation));
    size_t page = next_byte_of(simulation, segment_class(45 * DAY_S)) / LAYOUT_PAGE;
    touch(simulation, KEY, 50 * DAY_S);
    cut_pages(simulation, (struct loss){page + 1, page + 1, false});
    assert_int_equal(simulation->clients[0].view.key[KEY].states[0].expiry_s,
                     environment_now_s() + 40 * DAY_S);
    touch(simulation, KEY,
          60 * DAY_S); /* at the same place; the bytes in the lost page are the same as before */
    cut_pages(simulation, (struct loss){page, page, false});
    assert_int_equal(simulation->clients[0].view.key[KEY].states[0].expiry_s,
                     environment_now_s() + 40 * DAY_S);
    simulation_destroy(simulation);
}

static void
test_a_version_that_moves_with_its_tombstone_does_not_take_the_one_before(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_with_items(POOL_FSYNC_NO);
    set(simulation, 7, 0, 1500);
    fill_segment(simulation);
    fill_page(simulation, 100);
    assert_true(simulation_sync(simulation));
    uint32_t segment = open_segment(simulation);
    touch(simulation, 7, 1000);
    /* Compaction copies both records, and only the copy of the tombstone reaches the disk. */
    simulation_wait_for_janitor(simulation);
    segments_seal(&simulation->pool->segments, segment);
    compaction_begin(simulation->pool);
    assert_true(compaction_empty(simulation->pool, segment, 0, environment_now_s()));
    size_t copies =
        segment_page(simulation, simulation->pool->segments.heads[1][SEGMENT_CLASSES - 1].segment);
    cut_pages(simulation, (struct loss){copies, copies + 1, .all_others = true});
    assert_true(there(simulation, 7));
    simulation_destroy(simulation);
}

static void test_a_segment_is_written_over_only_when_the_disk_has_it_as_free(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_with_items(POOL_FSYNC_NO);
    uint32_t segment = open_segment(simulation);
    size_t first = segment_page(simulation, segment);
    for (unsigned key = 50; next_byte(simulation) / LAYOUT_PAGE < first + 3; key++) {
        set(simulation, key, 0, 1500);
    }
    /* The tombstone is several pages behind the items. */
    for (unsigned key = 0; key < 20; key++) {
        assert_int_equal(
            client_delete(&simulation->clients[0], simulation->pool, &simulation->threads[0], key),
            STATUS_OK);
    }
    size_t tombstones = next_byte(simulation) / LAYOUT_PAGE;
    fill_segment(simulation);
    assert_true(simulation_sync(simulation));
    assert_true(simulation_move_segment(simulation, segment));
    /* The segment is used again at once. Of its new bytes, only the page of the tombstones reaches
     * the disk. */
    for (unsigned key = 30; key < 45; key++) {
        set(simulation, key, 10, 1500);
    }
    const struct segment_head *head = &simulation->pool->segments.heads[0][0];
    assert_int_equal(head->segment, segment);
    assert_true(atomic_load(&simulation->pool->view.segments[segment].fill) / LAYOUT_PAGE >
                tombstones - first + 1);
    cut_pages(simulation, (struct loss){tombstones - 1, tombstones + 1, .all_others = true});
    for (unsigned key = 0; key < 20; key++) {
        assert_false(there(simulation, key));
    }
    simulation_destroy(simulation);
}

static void test_an_item_stays_gone_when_its_end_is_lost_and_its_successor_is_not(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_with_items(POOL_FSYNC_NO);
    fill_page(simulation, 100);
    size_t page = next_byte(simulation) / LAYOUT_PAGE;
    assert_int_equal(
        client_delete(&simulation->clients[0], simulation->pool, &simulation->threads[0], 3),
        STATUS_OK);
    set(simulation, 3, 10, 200); /* in a segment of its own class */
    cut_pages(simulation, (struct loss){page, page, false});
    assert_true(there(simulation, 3));
    /* The newer version is deleted and its segment freed; the segment of the first version stays as
     * it is. */
    int64_t segment = simulation->pool->segments.heads[0][0].segment;
    assert_int_not_equal(segment, SEGMENT_NONE);
    pass_time(simulation, 20);
    simulation_run_janitor(simulation);
    assert_int_equal(atomic_load(&simulation->pool->view.segments[segment].state),
                     LAYOUT_SEGMENT_FREE);
    cut_nothing(simulation);
    assert_false(there(simulation, 3));
    simulation_destroy(simulation);
}

static void test_no_cas_is_given_out_twice_though_all_was_lost_twice(void **unused) {
    (void)unused;
    struct simulation *simulation = begin_with_items(POOL_FSYNC_NO);
    for (int cut = 0; cut < 3; cut++) {
        set(simulation, 30, 0, 100);
        simulation_check_images(simulation); /* the client learns the CAS number */
        cut_pages(simulation, (struct loss){0, SIZE_MAX, false});
        assert_false(there(simulation, 30));
    }
    set(simulation, 30, 0, 100);
    simulation_check_images(simulation);
    simulation_destroy(simulation);
}

/* Power cuts during a clean stop, and during the start after it. */
static void test_a_clean_stop_is_whole_wherever_it_is_cut(void **unused) {
    (void)unused;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct pool_options options = simulation_options(POOL_FSYNC_NO, 8);
        struct simulation *simulation = simulation_create(seed, &options, &plain_habits, 1);
        simulation->sync_percent = 100;
        simulation_begin(simulation);
        for (int i = 0; i < 50; i++) {
            client_step(&simulation->clients[0], simulation->pool, &simulation->threads[0]);
        }
        simulation_close(simulation);
        simulation_check_images(simulation);
        simulation_keep_image(simulation, 100);
        simulation_begin(simulation); /* with the index as the stop left it */
        simulation_resume(simulation);
        for (int i = 0; i < 10; i++) {
            client_step(&simulation->clients[0], simulation->pool, &simulation->threads[0]);
        }
        simulation_check_images(simulation);
        simulation_cut_power(simulation);
        simulation_destroy(simulation);
    }
}

/* ---- a start during which the power is cut ---- */

enum { CUTS_A_SYNC = 8, CUTS_MAX = 64, IDLE_S = 100, IDLE_KEYS = 30 };

static struct {
    struct simulation *simulation;
    struct store_io io; /* a disk that keeps a possible result of a power cut before each sync */
    unsigned char *images[CUTS_MAX];
    unsigned count;
} cut_start;

static int cut_before_sync(int file) {
    struct simulation *simulation = cut_start.simulation;
    disk_record(simulation->disk);
    for (int i = 0; i < CUTS_A_SYNC && cut_start.count < CUTS_MAX; i++) {
        unsigned char *image = malloc(disk_size(simulation->disk));
        assert_non_null(image);
        disk_cut(simulation->disk, &simulation->random, image);
        cut_start.images[cut_start.count++] = image;
    }
    return disk_io.sync(file);
}

static void expect_no_key(struct simulation *simulation, char keys[IDLE_KEYS][16]) {
    struct item item;
    store_thread_refresh(&simulation->threads[0]);
    for (unsigned key = 0; key < IDLE_KEYS; key++) {
        assert_int_equal(pool_get(simulation->pool, &simulation->threads[0],
                                  bytes_from_string(keys[key]), &item),
                         STATUS_NOT_FOUND);
    }
    store_thread_leave(&simulation->threads[0]);
}

static void test_a_raised_limit_brings_nothing_back_wherever_its_start_is_cut(void **unused) {
    (void)unused;
    struct pool_options options = simulation_options(POOL_FSYNC_NO, 8);
    options.idle_timeout_s = IDLE_S;
    struct simulation *simulation = simulation_create(1, &options, &plain_habits, 1);
    simulation_begin(simulation);
    char keys[IDLE_KEYS][16];
    char value[1500] = {0};
    for (unsigned i = 0; i < 2 * IDLE_KEYS; i++) { /* each of them has older versions in the file */
        char *key = keys[i % IDLE_KEYS];
        snprintf(key, sizeof keys[0], "idle-%u", i % IDLE_KEYS);
        struct pool_store request = {.mode = POOL_SET, .value = bytes_from(value, sizeof value)};
        store_thread_refresh(&simulation->threads[0]);
        assert_int_equal(pool_store(simulation->pool, &simulation->threads[0],
                                    bytes_from_string(key), &request, NULL),
                         STATUS_OK);
    }
    store_thread_leave(&simulation->threads[0]);
    simulation_close(simulation);
    environment_set_s(environment_now_s() + IDLE_S + 50);
    simulation->options.idle_timeout_s = 10 * IDLE_S;
    cut_start.simulation = simulation;
    cut_start.count = 0;
    cut_start.io = disk_io;
    cut_start.io.sync = cut_before_sync;
    store_io = &cut_start.io;
    simulation->restarting = true;
    simulation_begin(simulation);
    store_io = &disk_io;
    expect_no_key(simulation, keys);
    assert_true(cut_start.count > 0);
    for (unsigned i = 0; i < cut_start.count; i++) {
        disk_power_off(simulation->disk);
        simulation_close(simulation);
        unlink(simulation->index_path);
        disk_power_on(simulation->disk, cut_start.images[i]);
        simulation_begin(simulation);
        expect_no_key(simulation, keys);
        free(cut_start.images[i]);
    }
    simulation_destroy(simulation);
}

int main(int count, char **arguments) {
    const struct CMUnitTest tests[] = {
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
