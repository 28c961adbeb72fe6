/* evict = no: new keys are refused so early that every update and delete of an existing item still
 * succeeds (invariant 7), for any number of segments and any sizes of values. */
#include "store_support.h"

#include "store/pool_private.h"

#include <sched.h>
#include <stdlib.h>

enum { KEYS_MAX = 20000, REFUSED_ENOUGH = 200 };

static struct store store;

struct case_of {
    unsigned segments;
    uint32_t item_max_bytes;
    uint32_t least_bytes; /* of values */
    uint32_t most_bytes;
    bool persist;
};

static struct {
    uint32_t size;
    unsigned version;
    bool there;
} items[KEYS_MAX];

static uint32_t any_size(const struct case_of *which, uint64_t *random) {
    return which->least_bytes + random_below(random, which->most_bytes - which->least_bytes + 1);
}

static enum status put(unsigned number, uint32_t size) {
    unsigned version = items[number].version + 1;
    enum status status =
        store_set_number(&store, number, version, size, CLOCK_START_S + 1000 + number % 7 * 90000);
    if (status == STATUS_OK) {
        items[number].size = size;
        items[number].version = version;
        items[number].there = true;
    }
    return status;
}

/* Makes half new keys and half updates, until no new key has been accepted for a while. */
static unsigned fill(const struct case_of *which, uint64_t *random) {
    unsigned count = 0;
    unsigned refused = 0;
    while (refused < REFUSED_ENOUGH && count < KEYS_MAX) {
        if (put(count, any_size(which, random)) == STATUS_OK) {
            count++;
            refused = 0;
        } else {
            refused++;
        }
        if (count > 0) {
            unsigned number = random_below(random, count);
            EXPECT(put(number, items[number].size) == STATUS_OK);
        }
    }
    return count;
}

/* Makes updates of the same size, deletes, and updates that grow into the room of deleted items. */
static void churn(const struct case_of *which, unsigned count, uint64_t *random, unsigned rounds) {
    int64_t spare = 0; /* bytes of deleted items, less what their tombstones take */
    for (unsigned round = 0; round < rounds; round++) {
        unsigned number = random_below(random, count);
        if (!items[number].there) {
            continue;
        }
        uint32_t size = items[number].size;
        unsigned what = random_below(random, 10);
        if (what == 0) {
            EXPECT(store_delete_number(&store, number) == STATUS_OK);
            items[number].there = false;
            spare += (int64_t)size - 64;
        } else if (what == 1 && spare > 2 * (int64_t)size / 4 &&
                   size + size / 4 <= which->most_bytes) {
            EXPECT(put(number, size + size / 4) == STATUS_OK);
            spare -= 2 * (int64_t)size / 4;
        } else {
            EXPECT(put(number, size) == STATUS_OK);
        }
    }
}

static void run(const struct case_of *which) {
    uint64_t random = which->segments + which->most_bytes;
    struct pool_options options = store_options(which->segments);
    options.item_max_bytes = which->item_max_bytes;
    options.persist = which->persist;
    memset(items, 0, sizeof items);
    store_begin(&store, options);
    unsigned count = fill(which, &random);
    EXPECT(count > 3);
    churn(which, count, &random, scaled(count < 1000 ? 3000 : 2 * count));
    for (unsigned number = 0; number < count; number++) {
        EXPECT(store_has_number(&store, number, items[number].version, items[number].size) ==
               items[number].there);
    }
    store_end(&store);
}

static void no_update_and_no_delete_is_refused(void **state) {
    static const struct case_of cases[] = {
        {8, 16 << 10, 1, 400, true},
        {8, 16 << 10, 200, 600, false},
        {15, 60 << 10, 200, 600, true},
        {15, 60 << 10, 1, 55 << 10, true},
        {32, 60 << 10, 1000, 4000, true},
        {32, 60 << 10, 1000, 4000, false},
        {63, 60 << 10, 900, 2700, true},
        {63, 60 << 10, 1, 14 << 10, true},
        {64, 30 << 10, 20 << 10, 30 << 10, false},
        {128, 16 << 10, 1, 16 << 10, true},
        {256, 16 << 10, 4000, 12000, false},
        {1024, 16 << 10, 2000, 12000, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run(&cases[i]);
    }
}

/* A request that has waited too long is refused while no request is parked. Even then the turn ends
 * for the other requests. */
static void a_turn_in_which_a_request_gave_up_ends(void **state) {
    (void)state;
    struct pool_options options = store_options(16);
    options.persist = true;
    store_begin(&store, options);
    uint64_t turn = atomic_load(&store.pool->room.turn);
    EXPECT(!atomic_load(&store.pool->room.parked));
    store.thread.room_policy = STORE_REFUSES;
    EXPECT(room_ask(store.pool, &store.thread, SEGMENT_FOR_UPDATE) == STATUS_NO_MEMORY);
    store_thread_leave(&store.thread);
    while (!pool_should_retry(store.pool, turn)) {
        sched_yield();
    }
    store_thread_refresh(&store.thread);
    store.thread.room_policy = STORE_PARKS;
    EXPECT(room_ask(store.pool, &store.thread, SEGMENT_FOR_UPDATE) == STATUS_NEEDS_ROOM);
    store.thread.room_policy = STORE_WAITS;
    store_end(&store);
}

/* If a thread has claimed a segment, only that thread opens it. Records that fit into open segments
 * are stored. Other records wait for the end of the claim, and are not refused. */
static void a_claim_stops_nobody_who_needs_no_new_segment(void **state) {
    (void)state;
    store_begin(&store, store_options(16));
    struct room *room = &store.pool->room;
    struct store_thread other = {.index = store.thread.index + 1};
    EXPECT(store_set_number(&store, 0, 0, 100, 0) == STATUS_OK);
    atomic_store(&room->claim, room_claim(UINT32_MAX, &other));
    room_note_exhausted(room, segments_free_count(&store.pool->segments), true);
    store.thread.room_policy = STORE_PARKS;
    EXPECT(store_set_number(&store, 0, 1, 100, 0) == STATUS_OK);
    EXPECT(store_set_number(&store, 1, 0, 100, 0) == STATUS_OK);
    enum status status = STATUS_OK;
    for (unsigned version = 2; status == STATUS_OK && version < STORE_SEGMENT; version++) {
        room_note_exhausted(room, segments_free_count(&store.pool->segments), true);
        status = store_set_number(&store, 0, version, 5000, 0);
    }
    EXPECT(status == STATUS_NEEDS_ROOM);
    atomic_store(&room->claim, 0);
    EXPECT(store_set_number(&store, 0, 0, 5000, 0) == STATUS_OK);
    store.thread.room_policy = STORE_WAITS;
    store_end(&store);
}

/* The result of a pass holds for the segments that were free then. As soon as one of them has been
 * opened, a change asks for a pass again. */
static void a_pass_that_gained_nothing_is_believed_until_a_segment_is_opened(void **state) {
    (void)state;
    store_begin(&store, store_options(16));
    struct room *room = &store.pool->room;
    struct segments *segments = &store.pool->segments;
    store.thread.room_policy = STORE_PARKS;
    room_note_exhausted(room, segments_free_count(segments), true);
    EXPECT(room_ask(store.pool, &store.thread, SEGMENT_FOR_UPDATE) == STATUS_NO_MEMORY);
    uint32_t free_count = segments_free_count(segments);
    EXPECT(store_set_number(&store, 0, 0, 100, 0) == STATUS_OK);
    EXPECT(segments_free_count(segments) == free_count - 1);
    EXPECT(room_ask(store.pool, &store.thread, SEGMENT_FOR_UPDATE) == STATUS_NEEDS_ROOM);
    room_note_exhausted(room, free_count, true); /* the result of a pass from before that */
    EXPECT(room_ask(store.pool, &store.thread, SEGMENT_FOR_UPDATE) == STATUS_NEEDS_ROOM);
    store.thread.room_policy = STORE_WAITS;
    store_end(&store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_update_and_no_delete_is_refused),
        cmocka_unit_test(a_turn_in_which_a_request_gave_up_ends),
        cmocka_unit_test(a_claim_stops_nobody_who_needs_no_new_segment),
        cmocka_unit_test(a_pass_that_gained_nothing_is_believed_until_a_segment_is_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
