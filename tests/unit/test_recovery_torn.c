/* Records that a crash has torn: only the torn record is lost. */
#include "recovery_support.h"

#include "store/pool_private.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static struct store store;

static void a_torn_record_is_all_that_is_lost(void **state) {
    (void)state;
    store_crash(&store, store_three, NULL);
    tear(&store, "second-value");
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
    tear(&store, "third-value");
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

/* Seals the segment of "a", as if the segment were full. */
static void store_one_and_seal(struct store *child, void *argument) {
    (void)argument;
    EXPECT(store_set(child, "a", "first-value", 0) == STATUS_OK);
    for (uint32_t segment = 0; segment < child->pool->view.segment_count; segment++) {
        segments_seal(&child->pool->segments, segment);
    }
}

/* A write that is never completed, and a complete write behind it. */
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
        assert_true(bytes < 2 * 1000 + BLOCK); /* earlier bytes, in the block and across its ends */
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
    tear(&store, "new-value");
    store_open(&store);
    expect_there(&store, "k", "old-value");
    /* The tombstone does not take effect when it is moved, either. */
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

/* Recovery recognises each pair, although sequence numbers of other threads lie between. */
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
        segment_walk(&cursor, &store.pool->segments.data, segment,
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

#define PERSISTENT(test) STORE_TEST(test, .segments = 32, .persist = true)
#define BOTH(test)                                                                                 \
    STORE_TEST(test, .segments = 32, .persist = true),                                             \
        STORE_TEST(test, .segments = 12, .persist = true)

int main(void) {
    const struct CMUnitTest tests[] = {
        PERSISTENT(a_torn_record_is_all_that_is_lost),
        PERSISTENT(a_torn_record_at_the_end_is_written_over),
        PERSISTENT(a_segment_that_goes_on_does_not_say_any_more_that_it_ended),
        PERSISTENT(any_torn_place_loses_no_more_than_what_lies_there),
        BOTH(an_update_that_was_torn_behind_its_tombstone_leaves_the_old_version),
        PERSISTENT(tombstones_of_updates_on_several_threads_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
