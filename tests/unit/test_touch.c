/* A touch of a large value changes the expiry in place: nothing is copied, clients see only the new
 * expiry, and no ended item comes back. */
#include "store_support.h"

#include "base/hash.h"
#include "store/compaction.h"
#include "store/operations.h"
#include "store/pool_private.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

enum {
    LARGE = 6000,
    TOUCHES = 1000,
    STORED_S = 1000, /* the first expiry, in seconds after the start */
    LEASE_MS = 120000,
    IDLE_S = 100,
};

static struct store store;
static char large[LARGE + 1];

static void set_large(struct store *in, const char *key, char fill, uint32_t expiry_s) {
    memset(large, fill, LARGE);
    EXPECT(store_set(in, key, large, expiry_s) == STATUS_OK);
}

static void touch(struct store *in, const char *key, uint32_t expiry_s) {
    EXPECT(store_touch(in, key, expiry_s) == STATUS_OK);
}

static void expect_large(struct store *in, const char *key, char fill, uint32_t expiry_s) {
    struct item item;
    memset(large, fill, LARGE);
    EXPECT(store_get(in, key, &item) == STATUS_OK);
    EXPECT(bytes_equal(item.value, bytes_from(large, LARGE)));
    EXPECT(item.expiry_s == expiry_s);
}

/* How many bytes the records take, in all segments in use. */
static uint64_t appended_bytes(const struct store *in) {
    const struct lookup_view *view = &in->pool->view;
    uint64_t bytes = 0;
    for (uint32_t segment = 0; segment < view->segment_count; segment++) {
        bytes += atomic_load(&view->segments[segment].fill);
    }
    return bytes;
}

static uint32_t segment_of(const struct store *in, const char *key) {
    struct lookup_hit hit;
    EXPECT(operations_find(in->pool, bytes_from_string(key), &hit));
    return lookup_location_segment(&in->pool->view, layout_slot_location(hit.slot_value));
}

/* Stops the janitor's work until the pool is closed. */
static void hold_janitor(struct store *in) {
    uint64_t sequence;
    store_thread_leave(&in->thread);
    while (pool_hold(in->pool, 1, LEASE_MS, &sequence) != STATUS_OK) {
        sched_yield();
    }
}

/* Moves the records out of the key's segment, and leaves the old copies where they are. */
static void move_without_freeing(struct store *in, const char *key) {
    uint32_t segment = segment_of(in, key);
    hold_janitor(in);
    segments_seal(&in->pool->segments, segment);
    compaction_begin(in->pool);
    EXPECT(compaction_empty(in->pool, segment, 0, clock_now_s()));
    EXPECT(segment_of(in, key) != segment);
}

/* ---- at the same time as the janitor ---- */

struct emptying {
    uint32_t segment;
    uint32_t now_s;
    bool emptied;
};

static void *empty_segment(void *argument) {
    struct emptying *emptying = argument;
    emptying->emptied = compaction_empty(store.pool, emptying->segment, 0, emptying->now_s);
    return NULL;
}

/* Waits until the thread has worked for some milliseconds. After so long, it must be waiting for a
 * lock. */
static void await_work(pthread_t thread) {
    clockid_t clock;
    struct timespec worked = {0};
    EXPECT(pthread_getcpuclockid(thread, &clock) == 0);
    while (worked.tv_sec == 0 && worked.tv_nsec < 20000000) {
        EXPECT(clock_gettime(clock, &worked) == 0);
        sched_yield();
    }
}

static void an_item_that_is_touched_while_the_janitor_looks_at_it_stays(void **state) {
    (void)state;
    set_large(&store, "big", 'a', CLOCK_START_S + 100);
    struct bytes key = bytes_from_string("big");
    uint64_t hash = hash_key(store.pool->view.hash_seed, key);
    struct emptying emptying = {segment_of(&store, "big"), CLOCK_START_S + 100, false};
    hold_janitor(&store);
    segments_seal(&store.pool->segments, emptying.segment);
    compaction_begin(store.pool);
    struct layout_bucket *bucket = index_lock(&store.pool->index, hash);
    struct lookup_hit hit;
    EXPECT(index_find(&store.pool->index, bucket, hash, key, &hit));
    pthread_t janitor;
    EXPECT(pthread_create(&janitor, NULL, empty_segment, &emptying) == 0);
    await_work(janitor); /* it has read the item, which has expired by its clock */
    record_touch(hit.at, CLOCK_START_S + 200, hit.record.sequence + 1);
    index_unlock(bucket);
    EXPECT(pthread_join(janitor, NULL) == 0);
    EXPECT(emptying.emptied);
    expect_large(&store, "big", 'a', CLOCK_START_S + 200);
}

static void *sweep_segment(void *argument) {
    const struct emptying *sweeping = argument;
    compaction_sweep(store.pool, sweeping->segment, sweeping->now_s);
    return NULL;
}

/* The touch comes in the last second of the item's idle timeout. */
static void an_item_that_is_read_during_a_sweep_falls_due_again(void **state) {
    (void)state;
    store.options.idle_timeout_s = IDLE_S;
    store_reopen(&store);
    EXPECT(store_set(&store, "small", "v", 0) == STATUS_OK);
    struct bytes key = bytes_from_string("small");
    uint64_t hash = hash_key(store.pool->view.hash_seed, key);
    struct emptying sweeping = {segment_of(&store, "small"), CLOCK_START_S + IDLE_S, false};
    hold_janitor(&store);
    struct layout_bucket *bucket = index_lock(&store.pool->index, hash);
    struct lookup_hit hit;
    EXPECT(index_find(&store.pool->index, bucket, hash, key, &hit));
    pthread_t janitor;
    EXPECT(pthread_create(&janitor, NULL, sweep_segment, &sweeping) == 0);
    await_work(janitor);
    record_note_access(hit.at, CLOCK_START_S + IDLE_S - 1);
    index_unlock(bucket);
    EXPECT(pthread_join(janitor, NULL) == 0);
    expect_there(&store, "small", "v");
    const struct layout_segment *info = &store.pool->view.segments[sweeping.segment];
    EXPECT(atomic_load(&info->first_expiry_s) == CLOCK_START_S + 2 * IDLE_S - 1);
}

static void run_janitor(struct store *child, void *argument) {
    (void)argument;
    store_run_janitor(child, 3);
}

static void a_touch_of_a_large_value_appends_nothing(void **state) {
    (void)state;
    set_large(&store, "big", 'a', CLOCK_START_S + STORED_S);
    uint64_t cas = store_cas(&store, "big");
    uint64_t before = appended_bytes(&store);
    for (uint32_t i = 1; i <= TOUCHES; i++) {
        touch(&store, "big", CLOCK_START_S + STORED_S + i);
        touch(&store, "big", CLOCK_START_S + STORED_S + i); /* the same again */
    }
    touch(&store, "big", 0);
    EXPECT(appended_bytes(&store) == before);
    EXPECT(store_cas(&store, "big") == cas);
    expect_large(&store, "big", 'a', 0);
}

static void a_touch_of_a_small_value_is_a_new_record(void **state) {
    (void)state;
    EXPECT(store_set(&store, "small", "v", CLOCK_START_S + STORED_S) == STATUS_OK);
    uint64_t before = appended_bytes(&store);
    touch(&store, "small", CLOCK_START_S + STORED_S + 1);
    EXPECT(appended_bytes(&store) > before);
}

static void touch_often(struct store *child, void *argument) {
    for (uint32_t i = 1; i <= *(uint32_t *)argument; i++) {
        touch(child, "big", CLOCK_START_S + STORED_S + i);
    }
}

static void the_last_touch_survives_crashes_and_stops(void **state) {
    (void)state;
    uint32_t touches = 10;
    set_large(&store, "big", 'a', CLOCK_START_S + STORED_S);
    store_survive(&store, touch_often, &touches);
    expect_large(&store, "big", 'a', CLOCK_START_S + STORED_S + touches);
    touch(&store, "big", CLOCK_START_S + 2 * STORED_S);
    store_reopen(&store);
    expect_large(&store, "big", 'a', CLOCK_START_S + 2 * STORED_S);
    clock_advance_s(2 * STORED_S - 1);
    expect_large(&store, "big", 'a', CLOCK_START_S + 2 * STORED_S);
    clock_advance_s(1);
    expect_gone(&store, "big");
}

/* A record can be touched a limited number of times. Then the item is written again. */
static void an_item_can_be_touched_for_ever(void **state) {
    (void)state;
    uint32_t touches = LAYOUT_TOUCHES_MAX;
    set_large(&store, "big", 'a', CLOCK_START_S + STORED_S);
    uint64_t cas = store_cas(&store, "big");
    uint64_t before = appended_bytes(&store);
    touch_often(&store, &touches);
    EXPECT(appended_bytes(&store) == before);
    touch(&store, "big", CLOCK_START_S + 10 * STORED_S);
    EXPECT(appended_bytes(&store) > before);
    before = appended_bytes(&store);
    touch(&store, "big", CLOCK_START_S + 11 * STORED_S);
    EXPECT(appended_bytes(&store) == before);
    EXPECT(store_cas(&store, "big") == cas);
    expect_large(&store, "big", 'a', CLOCK_START_S + 11 * STORED_S);
}

static void a_touched_item_outlives_the_time_when_its_segment_was_due(void **state) {
    (void)state;
    char key[POOL_KEY_MAX];
    for (unsigned number = 0; number < 30; number++) {
        snprintf(key, sizeof key, "big-%u", number);
        set_large(&store, key, 'a', CLOCK_START_S + 100);
    }
    for (unsigned number = 0; number < 30; number += 3) {
        snprintf(key, sizeof key, "big-%u", number);
        touch(&store, key, CLOCK_START_S + 200);
    }
    clock_advance_s(100);
    store_run_janitor(&store, 3);
    for (unsigned number = 0; number < 30; number++) {
        snprintf(key, sizeof key, "big-%u", number);
        if (number % 3 == 0) {
            expect_large(&store, key, 'a', CLOCK_START_S + 200);
        } else {
            expect_gone(&store, key);
        }
    }
    clock_advance_s(100);
    store_run_janitor(&store, 3);
    EXPECT(store_stats_now(&store).items == 0);
}

/* ---- copies ---- */

static void touch_the_copy(struct store *child, void *argument) {
    (void)argument;
    touch(child, "big", CLOCK_START_S + 2 * STORED_S);
    move_without_freeing(child, "big");
    expect_large(child, "big", 'a', CLOCK_START_S + 2 * STORED_S);
    touch(child, "big", CLOCK_START_S + 3 * STORED_S);
    struct lookup_hit current;
    EXPECT(operations_find(child->pool, bytes_from_string("big"), &current));
    /* The old copy was read later than the new one. */
    for (uint32_t segment = 0; segment < child->pool->view.segment_count; segment++) {
        const struct layout_segment *info = &child->pool->view.segments[segment];
        struct segment_cursor cursor;
        segment_walk(&cursor, &child->pool->segments.data, segment, atomic_load(&info->fill));
        while (atomic_load(&info->state) != LAYOUT_SEGMENT_FREE && segment_next(&cursor)) {
            if (cursor.at != current.at) {
                record_note_access(cursor.at, CLOCK_START_S + 500);
            }
        }
    }
}

static void of_two_copies_the_one_that_was_touched_last_counts_after_a_crash(void **state) {
    (void)state;
    set_large(&store, "big", 'a', CLOCK_START_S + STORED_S);
    store_survive(&store, touch_the_copy, NULL);
    expect_large(&store, "big", 'a', CLOCK_START_S + 3 * STORED_S);
    clock_advance_s(3 * STORED_S);
    expect_gone(&store, "big");
    store_run_janitor(&store, 3);
    store_survive(&store, run_janitor, NULL);
    expect_gone(&store, "big");
}

/* ---- items that have ended ---- */

static void touch_twice_and_let_expire(struct store *child, void *argument) {
    (void)argument;
    set_large(child, "big", 'b', CLOCK_START_S + 20 * STORED_S); /* in a segment of its own */
    touch(child, "big", CLOCK_START_S + 30 * STORED_S);
    segments_seal(&child->pool->segments, segment_of(child, "big"));
    touch(child, "big", CLOCK_START_S + 10); /* a sooner expiry: a new record and a tombstone */
    clock_advance_s(10);
    expect_gone(child, "big");
    store_run_janitor(child, 3);
}

static void an_item_that_was_touched_to_a_sooner_expiry_does_not_come_back(void **state) {
    (void)state;
    set_large(&store, "big", 'a', CLOCK_START_S + STORED_S);
    set_large(&store, "beside", 'c', CLOCK_START_S + STORED_S);
    store_survive(&store, touch_twice_and_let_expire, NULL);
    clock_set_s(CLOCK_START_S + 10);
    expect_gone(&store, "big");
    store_survive(&store, run_janitor, NULL);
    expect_gone(&store, "big");
}

static void delete_touched(struct store *child, void *argument) {
    (void)argument;
    touch(child, "big", 0);
    EXPECT(store_delete(child, "big") == STATUS_OK);
    /* Longer than the item's first expiry. */
    clock_advance_s(2 * STORED_S);
    store_run_janitor(child, 3);
}

static void a_tombstone_lasts_as_long_as_the_touched_item_would_have(void **state) {
    (void)state;
    set_large(&store, "big", 'a', CLOCK_START_S + STORED_S);
    set_large(&store, "beside", 'b', 0);
    store_survive(&store, delete_touched, NULL);
    clock_set_s(CLOCK_START_S + 2 * STORED_S);
    expect_gone(&store, "big");
    EXPECT(store_tombstone_bytes(&store) > 0);
    expect_large(&store, "beside", 'b', 0);
}

static void a_flush_ends_a_touched_item(void **state) {
    (void)state;
    set_large(&store, "big", 'a', CLOCK_START_S + STORED_S);
    touch(&store, "big", 0);
    store_thread_refresh(&store.thread);
    EXPECT(pool_flush(store.pool, &store.thread, 0) == STATUS_OK);
    expect_gone(&store, "big");
    EXPECT(store_touch(&store, "big", CLOCK_START_S + STORED_S) == STATUS_NOT_FOUND);
    if (store.options.persist) {
        store_survive(&store, run_janitor, NULL);
        expect_gone(&store, "big");
    }
}

/* If a touch is damaged, the item has the expiry with which it was stored, and the next touch
 * writes the item again. */
static void a_damaged_touch_costs_the_touch_and_no_more(void **state) {
    (void)state;
    set_large(&store, "big", 'a', CLOCK_START_S + STORED_S);
    touch(&store, "big", 0);
    struct lookup_hit hit;
    EXPECT(operations_find(store.pool, bytes_from_string("big"), &hit));
    EXPECT(hit.record.touchable && hit.record.touches == 1);
    atomic_fetch_xor(&record_touch_at(hit.at)->expiry, UINT64_C(1) << 40);
    expect_large(&store, "big", 'a', CLOCK_START_S + STORED_S);
    touch(&store, "big", CLOCK_START_S + 2 * STORED_S);
    expect_large(&store, "big", 'a', CLOCK_START_S + 2 * STORED_S);
}

/* ---- evictions, in a persistent cache ---- */

/* An old version lies in a segment that stays. The large new version is evicted, and a client
 * touches it after its tombstone was written and before its slot is removed. */
static void touch_what_is_being_evicted(struct store *child, void *argument) {
    const bool is_freed = *(bool *)argument;
    EXPECT(store_set(child, "big", "old", 0) == STATUS_OK);
    EXPECT(store_set(child, "stays", "v", 0) == STATUS_OK); /* so the janitor frees no segment */
    segments_seal(&child->pool->segments, segment_of(child, "big"));
    set_large(child, "big", 'n', CLOCK_START_S + STORED_S);
    uint32_t segment = segment_of(child, "big");
    hold_janitor(child);
    segments_seal(&child->pool->segments, segment);
    compaction_begin(child->pool);
    EXPECT(compaction_empty(child->pool, segment, UINT_MAX, clock_now_s()));
    touch(child, "big", CLOCK_START_S + 10 * STORED_S);
    expect_large(child, "big", 'n', CLOCK_START_S + 10 * STORED_S);
    if (is_freed) {
        store_thread_leave(&child->thread);
        EXPECT(compaction_free(child->pool, &segment, 1));
        expect_gone(child, "big");
    }
}

static void an_item_that_is_touched_while_it_is_evicted_does_not_come_back(void **state) {
    (void)state;
    for (int is_freed = 0; is_freed < 2; is_freed++) {
        bool freed = is_freed;
        store_end(&store);
        struct pool_options options = store_options(16);
        options.persist = true;
        options.evict = true;
        store_begin(&store, options);
        store_survive(&store, touch_what_is_being_evicted, &freed);
        expect_gone(&store, "big");
        /* Neither version comes back when the expiry has passed that the new one had first. */
        clock_advance_s(STORED_S + 1);
        store_survive(&store, run_janitor, NULL);
        expect_gone(&store, "big");
    }
}

#define ON_DISK(test) STORE_TEST(test, .segments = 16, .persist = true)
#define BOTH(test) STORE_TEST(test, .segments = 16), ON_DISK(test)

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(a_touch_of_a_large_value_appends_nothing),
        BOTH(a_touch_of_a_small_value_is_a_new_record),
        ON_DISK(the_last_touch_survives_crashes_and_stops),
        BOTH(an_item_can_be_touched_for_ever),
        BOTH(a_touched_item_outlives_the_time_when_its_segment_was_due),
        ON_DISK(an_item_that_is_touched_while_the_janitor_looks_at_it_stays),
        ON_DISK(an_item_that_is_read_during_a_sweep_falls_due_again),
        ON_DISK(of_two_copies_the_one_that_was_touched_last_counts_after_a_crash),
        ON_DISK(an_item_that_was_touched_to_a_sooner_expiry_does_not_come_back),
        ON_DISK(a_tombstone_lasts_as_long_as_the_touched_item_would_have),
        BOTH(a_flush_ends_a_touched_item),
        BOTH(a_damaged_touch_costs_the_touch_and_no_more),
        ON_DISK(an_item_that_is_touched_while_it_is_evicted_does_not_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
