/* Moving records, and using their segments again, step by step. The janitor is paused, and the test
 * does its work. */
#include "store_support.h"

#include "base/hash.h"
#include "store/compaction.h"
#include "store/io.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

enum { ITEMS = 100, SIZE = 300, LEASE_MS = 120000 };

static struct store store;

static void hold_janitor(void) {
    uint64_t sequence;
    store_thread_leave(&store.thread);
    while (pool_hold(store.pool, 1, LEASE_MS, &sequence) != STATUS_OK) {
        sched_yield();
    }
    store_thread_refresh(&store.thread);
}

static void begin(uint32_t idle_timeout_s) {
    struct pool_options options = store_options(12);
    options.persist = true;
    options.fsync = POOL_FSYNC_NO;
    options.idle_timeout_s = idle_timeout_s;
    store_begin_threads(&store, options, 2);
    for (unsigned number = 0; number < ITEMS; number++) {
        EXPECT(store_set_number(&store, number, 0, SIZE, 0) == STATUS_OK);
    }
    hold_janitor();
}

static int finish(void **state) {
    (void)state;
    store_io = &store_io_system;
    store_end(&store);
    return 0;
}

static struct lookup_hit find(unsigned number) {
    char text[POOL_KEY_MAX];
    struct bytes key = bytes_from(text, number_key(text, number));
    uint64_t hash = hash_key(store.pool->view.hash_seed, key);
    struct lookup_hit hit;
    enum lookup_outcome outcome;
    while ((outcome = lookup_find(&store.pool->view, hash, key, &hit)) == LOOKUP_BUSY) {
        sched_yield();
    }
    EXPECT(outcome == LOOKUP_FOUND);
    return hit;
}

/* The segment of an item. From now on nothing is appended to it. */
static uint32_t seal_segment_of(unsigned number) {
    uint64_t location = layout_slot_location(find(number).slot_value);
    uint32_t segment = lookup_location_segment(&store.pool->view, location);
    segments_seal(&store.pool->segments, segment);
    return segment;
}

static uint32_t segment_state(uint32_t segment) {
    return atomic_load(&store.pool->view.segments[segment].state);
}

/* ---- a thread that does the janitor's work, and whether it makes progress ---- */

struct step {
    void (*run)(struct step *step);
    uint32_t segment;
    bool done_well;
    _Atomic bool done;
    pthread_t thread;
};

static _Atomic unsigned syncs;

static int count_sync(int file) {
    (void)file;
    atomic_fetch_add(&syncs, 1);
    return 0;
}

static void *step_main(void *argument) {
    struct step *step = argument;
    step->run(step);
    atomic_store(&step->done, true);
    return NULL;
}

static void step_start(struct step *step) {
    EXPECT(pthread_create(&step->thread, NULL, step_main, step) == 0);
}

/* Waits long enough for a thread to make the mistake that the test looks for. */
static void give_it_time(void) {
    struct timespec wait = {.tv_nsec = 30000000};
    nanosleep(&wait, NULL);
}

static void run_begin(struct step *step) {
    (void)step;
    compaction_begin(store.pool);
}

static void run_free(struct step *step) {
    step->done_well = compaction_free(store.pool, &step->segment, 1);
}

static void no_segment_is_walked_while_a_thread_may_be_writing_into_it(void **state) {
    (void)state;
    begin(0);
    seal_segment_of(0);
    store_thread_refresh(&store.thread); /* it may have reserved room, and may write later */
    struct step step = {.run = run_begin};
    step_start(&step);
    give_it_time();
    EXPECT(!atomic_load(&step.done));
    store_thread_leave(&store.thread);
    pthread_join(step.thread, NULL);
}

static void no_segment_is_written_over_while_a_thread_may_read_it(void **state) {
    (void)state;
    begin(0);
    struct store_io counted = store_io_system;
    counted.sync = count_sync;
    store_io = &counted;
    atomic_store(&syncs, 0);
    struct step step = {.run = run_free, .segment = seal_segment_of(0)};
    store_thread_leave(&store.thread);
    compaction_begin(store.pool);
    struct item item;
    EXPECT(store_get(&store, "key-0", &item) == STATUS_OK);
    EXPECT(compaction_empty(store.pool, step.segment, 0, clock_now_s()));
    step_start(&step);
    give_it_time();
    EXPECT(atomic_load(&syncs) == 0 && segment_state(step.segment) == LAYOUT_SEGMENT_SEALED);
    char value[SIZE];
    number_value(value, SIZE, 0, 0);
    EXPECT(bytes_equal(item.value, bytes_from(value, SIZE)));
    store_thread_leave(&store.thread); /* for good: the other thread may begin to wait only later */
    pthread_join(step.thread, NULL);
    EXPECT(step.done_well && segment_state(step.segment) == LAYOUT_SEGMENT_FREE);
    EXPECT(atomic_load(&syncs) == 2); /* one sync of the copies, and one of the header */
}

/* So another process rejects what it has copied out of the segment. */
static void each_slot_that_pointed_into_a_segment_has_another_version_afterwards(void **state) {
    (void)state;
    begin(0);
    struct lookup_hit hits[ITEMS];
    for (unsigned number = 0; number < ITEMS; number++) {
        hits[number] = find(number);
        EXPECT(lookup_unchanged(&hits[number]));
    }
    uint32_t segment = seal_segment_of(0);
    store_thread_leave(&store.thread);
    compaction_begin(store.pool);
    EXPECT(compaction_empty(store.pool, segment, 0, clock_now_s()));
    for (unsigned number = 0; number < ITEMS; number++) {
        EXPECT(!lookup_unchanged(&hits[number]));
    }
}

/* A large record leaves much of its segment unused, and leaves as much unused in any segment that
 * it is moved to. */
static void compaction_begins_where_it_gains_most(void **state) {
    (void)state;
    enum { LARGE = 1000, SMALL = 150, DELETED = 30 };
    struct pool_options options = store_options(12);
    options.persist = true;
    options.fsync = POOL_FSYNC_NO;
    options.item_max_bytes = 60 << 10;
    store_begin(&store, options);
    hold_janitor();
    EXPECT(store_set_number(&store, LARGE, 0, STORE_SEGMENT * 6 / 10, 0) == STATUS_OK);
    uint32_t with_large = seal_segment_of(LARGE);
    for (unsigned number = 0; number < SMALL; number++) {
        EXPECT(store_set_number(&store, number, 0, SIZE, 0) == STATUS_OK);
    }
    uint32_t with_small = seal_segment_of(0);
    for (unsigned number = 1; number <= DELETED; number++) {
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    store_thread_leave(&store.thread);
    uint32_t capacity = segment_capacity(&store.pool->view);
    EXPECT(compaction_run(store.pool, capacity / 4, false, clock_now_s()) == 1);
    EXPECT(segment_state(with_small) == LAYOUT_SEGMENT_FREE);
    EXPECT(segment_state(with_large) == LAYOUT_SEGMENT_SEALED);
    EXPECT(compaction_gain_bytes(store.pool) < capacity / 2);
}

static void what_finds_no_room_to_move_to_stays_where_it_is(void **state) {
    (void)state;
    begin(0);
    uint32_t segment = seal_segment_of(0);
    segments_limit(&store.pool->segments, 0); /* none is free */
    store_thread_leave(&store.thread);
    compaction_begin(store.pool);
    EXPECT(!compaction_empty(store.pool, segment, 0, clock_now_s()));
    EXPECT(segment_state(segment) == LAYOUT_SEGMENT_SEALED);
    for (int start = 0; start < 2; start++) {
        for (unsigned number = 0; number < ITEMS; number++) {
            EXPECT(store_has_number(&store, number, 0, SIZE));
        }
        store_reopen(&store);
    }
}

static void moving_an_item_keeps_when_and_that_it_was_read(void **state) {
    (void)state;
    begin(1000);
    clock_advance_s(100);
    struct item before;
    struct item after;
    EXPECT(store_get(&store, "key-0", &before) == STATUS_OK && !before.fetched);
    clock_advance_s(100);
    uint32_t segment = seal_segment_of(0);
    store_thread_leave(&store.thread);
    compaction_begin(store.pool);
    EXPECT(compaction_empty(store.pool, segment, 0, clock_now_s()));
    EXPECT(store_get(&store, "key-0", &after) == STATUS_OK);
    EXPECT(after.fetched && after.accessed_s == CLOCK_START_S + 100 && after.cas == before.cas);
}

/* ---- a read at the moment of a move ---- */

static _Atomic bool moving;

/* Moves an item to and fro, in the janitor's way. */
static void *move_again_and_again(void *argument) {
    (void)argument;
    while (atomic_load(&moving)) {
        uint32_t segment = seal_segment_of(0);
        compaction_begin(store.pool);
        EXPECT(compaction_empty(store.pool, segment, 0, clock_now_s()));
        EXPECT(compaction_free(store.pool, &segment, 1));
    }
    return NULL;
}

static void a_read_is_noted_though_the_item_moves_at_that_moment(void **state) {
    (void)state;
    begin(1000000);
    for (unsigned number = 1; number < ITEMS; number++) {
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    struct store_io counted = store_io_system;
    counted.sync = count_sync;
    store_io = &counted;
    atomic_store(&moving, true);
    pthread_t mover;
    store_thread_leave(&store.thread);
    EXPECT(pthread_create(&mover, NULL, move_again_and_again, NULL) == 0);
    uint32_t reads = scaled(100000);
    uint32_t lost = 0;
    for (uint32_t read = 0; read < reads; read++) {
        struct item item;
        clock_advance_s(1);
        EXPECT(store_get(&store, "key-0", &item) == STATUS_OK);
        EXPECT(store_get(&store, "key-0", &item) == STATUS_OK);
        lost += item.accessed_s != clock_now_s();
        store_thread_leave(&store.thread);
    }
    atomic_store(&moving, false);
    pthread_join(mover, NULL);
    EXPECT(lost == 0);
}

#define TEST(test) cmocka_unit_test_teardown(test, finish)

/* Whether the pool has taken a sequence for the hold of this asker. */
static bool hold_waits_for(uint64_t asker) {
    pthread_mutex_lock(&store.pool->room.lock);
    bool waits = store.pool->hold.asker == asker;
    pthread_mutex_unlock(&store.pool->room.lock);
    return waits;
}

/* The number of a connection that has ended soon belongs to another connection. */
static void a_hold_is_not_given_to_another_who_asks_under_the_same_number(void **state) {
    (void)state;
    uint64_t sequence;
    struct pool_options options = store_options(12);
    options.persist = true;
    store_begin_threads(&store, options, 2);
    store_thread_leave(&store.thread);
    while (!hold_waits_for(7)) {
        EXPECT(pool_hold(store.pool, 7, LEASE_MS, &sequence) == STATUS_BUSY);
        sched_yield();
    }
    pool_end_hold_asker(store.pool, 7);
    store_thread_refresh(&store.thread);
    EXPECT(store_set(&store, "written", "later", 0) == STATUS_OK);
    uint64_t written = atomic_load(&store.pool->view.index->sequence);
    store_thread_leave(&store.thread);
    while (pool_hold(store.pool, 7, LEASE_MS, &sequence) != STATUS_OK) {
        sched_yield();
    }
    store_thread_refresh(&store.thread);
    assert_true(sequence > written);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(no_segment_is_walked_while_a_thread_may_be_writing_into_it),
        TEST(no_segment_is_written_over_while_a_thread_may_read_it),
        TEST(each_slot_that_pointed_into_a_segment_has_another_version_afterwards),
        TEST(compaction_begins_where_it_gains_most),
        TEST(what_finds_no_room_to_move_to_stays_where_it_is),
        TEST(moving_an_item_keeps_when_and_that_it_was_read),
        TEST(a_read_is_noted_though_the_item_moves_at_that_moment),
        TEST(a_hold_is_not_given_to_another_who_asks_under_the_same_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
