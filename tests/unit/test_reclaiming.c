/* A full pool (evict = no): how it reclaims the room of deleted, expired and replaced items. Moving
 * the items beside them changes nothing else. */
#include "store_support.h"

static struct store store;

static void room_comes_back_when_items_are_deleted(void **state) {
    (void)state;
    enum { SIZE = 400 };
    unsigned stored = store_fill(&store, 0, SIZE, 0);
    for (unsigned number = 0; number < stored; number += 2) {
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    unsigned taken = store_fill(&store, stored, SIZE, 0) - stored;
    assert_true(taken > stored / 5); /* in a small pool; in a large pool, nearly half */
    for (unsigned number = 0; number < stored + taken; number++) {
        EXPECT(store_has_number(&store, number, 0, SIZE) == (number >= stored || number % 2 == 1));
    }
}

static void room_comes_back_when_items_expire_among_living_ones(void **state) {
    (void)state;
    enum { SIZE = 400, ONE_IN = 8 };
    unsigned number = 0;
    /* Every eighth item expires: too few in each segment for the janitor to act before room is
     * needed. */
    while (store_set_number(&store, number, 0, SIZE,
                            CLOCK_START_S + (number % ONE_IN ? 20 : 10) * 86400) == STATUS_OK) {
        number++;
    }
    unsigned stored = number;
    EXPECT(store_set_number(&store, stored, 0, SIZE, CLOCK_START_S + 86400) == STATUS_NO_MEMORY);
    clock_advance_s(10 * 86400);
    store_run_janitor(&store, 1); /* a second later, say */
    unsigned taken = store_fill(&store, stored, SIZE, clock_now_s() + 86400) - stored;
    assert_true(taken > stored / ONE_IN / 2);
    for (number = 0; number < stored; number++) {
        EXPECT(store_has_number(&store, number, 0, SIZE) == (number % ONE_IN != 0));
    }
}

static void room_comes_back_when_items_in_open_segments_expire(void **state) {
    (void)state;
    /* Each class has an open segment, and in a small pool these are most of the segments. */
    static const uint32_t ttls_s[] = {200, 2000, 20000, 80000, 500000, 2000000};
    enum { TTLS = 6, SIZE = 1000 };
    unsigned number = 0;
    while (store_set_number(&store, number, 0, SIZE,
                            CLOCK_START_S + ttls_s[number % TTLS] / (number < 2 * TTLS ? 1 : 2)) ==
           STATUS_OK) {
        number++;
    }
    unsigned stored = number;
    assert_true(stored > 100);
    clock_advance_s(ttls_s[TTLS - 1] / 2); /* all but a few of the first twelve have expired */
    store_run_janitor(&store, 1);
    unsigned taken = store_fill(&store, stored, SIZE, clock_now_s() + 500) - stored;
    assert_true(taken > stored / 2);
}

static void moving_an_item_changes_nothing_that_a_client_sees(void **state) {
    (void)state;
    enum { KEPT = 50, SIZE = 300 };
    struct item before[KEPT];
    char key[POOL_KEY_MAX];
    unsigned stored = store_fill(&store, 0, SIZE, 0);
    for (unsigned i = 0; i < KEPT; i++) {
        /* The items are in all segments, and have every option that an item can have. */
        size_t key_size = number_key(key, i * (stored / KEPT));
        char value[SIZE];
        struct pool_store request = {
            .value = bytes_from(value, sizeof value),
            .client_flags = i % 2 ? 0xffffffff - i : 0,
            .expiry_s = i % 3 ? CLOCK_START_S + 100000 + i : 0,
            .set_cas = i % 5 == 0,
            .new_cas = UINT64_MAX - i,
        };
        number_value(value, sizeof value, i * (stored / KEPT), 1);
        store_thread_refresh(&store.thread);
        EXPECT(pool_store(store.pool, &store.thread, bytes_from(key, key_size), &request, NULL) ==
               STATUS_OK);
        if (i % 4 == 1) {
            struct pool_delete invalidation = {.invalidate = true};
            EXPECT(pool_delete(store.pool, &store.thread, bytes_from(key, key_size),
                               &invalidation) == STATUS_OK);
            struct pool_fetched fetched;
            struct pool_fetch won = {.win_stale = true};
            EXPECT(i % 8 == 1 || pool_fetch(store.pool, &store.thread, bytes_from(key, key_size),
                                            &won, &fetched) == STATUS_OK);
        }
        EXPECT(i % 7 != 0 || store_get(&store, key, &before[i]) == STATUS_OK); /* fetched */
        EXPECT(store_get(&store, key, &before[i]) == STATUS_OK);
        before[i].fetched = true; /* by this */
    }
    clock_advance_s(10);
    uint64_t moved = store_stats_now(&store).counters[POOL_BYTES_MOVED];
    for (unsigned number = 0; number < stored; number++) {
        if (number % (stored / KEPT) != 0 || number / (stored / KEPT) >= KEPT) {
            EXPECT(store_delete_number(&store, number) == STATUS_OK);
        }
    }
    store_fill(&store, stored, SIZE, 0); /* over all items that existed */
    assert_true(store_stats_now(&store).counters[POOL_BYTES_MOVED] >= moved + KEPT * SIZE);
    for (unsigned i = 0; i < KEPT; i++) {
        struct item after;
        unsigned number = i * (stored / KEPT);
        number_key(key, number);
        EXPECT(store_has_number(&store, number, 1, SIZE));
        EXPECT(store_get(&store, key, &after) == STATUS_OK);
        assert_int_equal(after.client_flags, before[i].client_flags);
        assert_int_equal(after.expiry_s, before[i].expiry_s);
        assert_true(after.cas == before[i].cas);
        assert_int_equal(after.stale, before[i].stale);
        assert_int_equal(after.token_sent, before[i].token_sent);
        assert_int_equal(after.fetched, before[i].fetched);
    }
}

static void a_mix_of_sizes_does_not_wear_the_pool_out(void **state) {
    (void)state;
    enum { KEYS = 400 };
    uint64_t random = 8;
    size_t sizes[KEYS] = {0};
    unsigned versions[KEYS] = {0};
    uint64_t live = 0;
    uint64_t limit = store_stats_now(&store).capacity_bytes * 6 / 10;
    unsigned refused = 0;
    for (unsigned round = 1; round < scaled(20000); round++) {
        unsigned number = random_below(&random, KEYS);
        size_t size = random_below(&random, 4) == 0 ? random_below(&random, 14000)
                                                    : random_below(&random, 400);
        if (versions[number] != 0 && (live > limit || random_below(&random, 4) == 0)) {
            EXPECT(store_delete_number(&store, number) == STATUS_OK);
            live -= sizes[number];
            versions[number] = 0;
        } else if (live + size < limit) {
            uint32_t expiry_s = random_below(&random, 3) == 0
                                    ? 0
                                    : clock_now_s() + 100 + random_below(&random, 3000000);
            enum status status = store_set_number(&store, number, round, size, expiry_s);
            EXPECT(status == STATUS_OK || status == STATUS_NO_MEMORY);
            if (status != STATUS_OK) {
                refused++; /* live bytes are far below the limit, so a refusal must be rare */
                continue;
            }
            live -= versions[number] != 0 ? sizes[number] : 0;
            live += size;
            sizes[number] = size;
            versions[number] = round;
        }
    }
    assert_int_equal(refused, 0);
    for (unsigned number = 0; number < KEYS; number++) {
        EXPECT(versions[number] == 0 ||
               store_has_number(&store, number, versions[number], sizes[number]));
    }
}

/* Records of a little more than half a segment: moving them gains nothing, and the janitor must
 * notice that. */
static void a_fragmented_pool_comes_to_rest(void **state) {
    (void)state;
    struct pool_options options = store_options(32);
    options.item_max_bytes = 60 << 10;
    options.persist = *(bool *)*state;
    store_begin(&store, options);
    unsigned stored = store_fill(&store, 0, STORE_SEGMENT * 6 / 10, 0);
    assert_true(stored >= 16);
    for (unsigned number = stored; number < stored + 10; number++) {
        EXPECT(store_set_number(&store, number, 0, 100, 0) == STATUS_OK ||
               store_stats_now(&store).full); /* small ones may find room beside them */
    }
    uint64_t before = store_stats_now(&store).counters[POOL_BYTES_MOVED];
    store_run_janitor(&store, 20);
    uint64_t moved = store_stats_now(&store).counters[POOL_BYTES_MOVED] - before;
    assert_true(moved <= store_stats_now(&store).capacity_bytes); /* each moved once at most */
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_has_number(&store, number, 0, STORE_SEGMENT * 6 / 10));
    }
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    assert_true(store_fill(&store, 0, 100, 0) > 10000);
    store_end(&store);
}

/* A segment has room for three of the smaller or two of the larger records, but only for one of
 * each. This wastes more room than these sizes should, and compaction must notice that it gains
 * nothing. */
static void a_pool_whose_records_do_not_pack_comes_to_rest(void **state) {
    (void)state;
    static const size_t sizes[] = {STORE_SEGMENT * 27 / 100, STORE_SEGMENT * 47 / 100};
    enum { SIZES = 2 };
    struct pool_options options = store_options(32);
    options.item_max_bytes = 60 << 10;
    store_begin(&store, options);
    unsigned stored = 0;
    while (store_set_number(&store, stored, 0, sizes[stored % SIZES], 0) == STATUS_OK) {
        stored++;
    }
    uint64_t capacity = store_stats_now(&store).capacity_bytes;
    assert_true(stored > 30);
    for (unsigned number = stored; number < stored + 20; number++) {
        EXPECT(store_set_number(&store, number, 0, STORE_SEGMENT / 2, 0) == STATUS_NO_MEMORY);
    }
    assert_true(store_stats_now(&store).counters[POOL_BYTES_MOVED] < 3 * capacity);
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_has_number(&store, number, 0, sizes[number % SIZES]));
        if (number % 4 == 0) {
            EXPECT(store_delete_number(&store, number) == STATUS_OK);
        }
    }
    EXPECT(store_set_number(&store, stored, 0, STORE_SEGMENT / 2, 0) == STATUS_OK);
    store_end(&store);
}

static void tombstones_do_not_pile_up_beside_an_item_that_stays(void **state) {
    (void)state;
    /* This item stays in the oldest segment, and never expires. All tombstones are younger than it.
     */
    assert_int_equal(store_set(&store, "stays", "v", 0), STATUS_OK);
    uint64_t most = 0;
    for (unsigned number = 0; number < scaled(40000); number++) {
        EXPECT(store_set_number(&store, number, 0, 30, 0) == STATUS_OK);
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
        uint64_t bytes = store_tombstone_bytes(&store);
        most = bytes > most ? bytes : most;
    }
    assert_true(most < store_stats_now(&store).capacity_bytes / 2);
    expect_there(&store, "stays", "v");
}

static void tombstones_do_not_pile_up_beside_a_segment_that_stays_open(void **state) {
    (void)state;
    /* The only item of its class: its segment is never full. */
    assert_int_equal(store_set(&store, "stays", "v", CLOCK_START_S + 80000), STATUS_OK);
    for (unsigned number = 0; number < scaled(40000); number++) {
        EXPECT(store_set_number(&store, number, 0, 30, 0) == STATUS_OK);
        EXPECT(store_delete_number(&store, number) == STATUS_OK);
    }
    expect_there(&store, "stays", "v");
}

static void updates_with_sooner_expiries_do_not_pile_tombstones_up(void **state) {
    (void)state;
    char key[POOL_KEY_MAX];
    for (unsigned number = 0; number < 100; number++) {
        store_set_number(&store, number, 0, 100, 0);
    }
    for (unsigned round = 0; round < scaled(60000); round++) {
        number_key(key, round % 100);
        /* The expiry changes from never to two days and back. Every second change writes a
         * tombstone. */
        EXPECT(store_touch(&store, key, round / 100 % 2 ? 0 : CLOCK_START_S + 170000) == STATUS_OK);
    }
    for (unsigned number = 0; number < 100; number++) {
        EXPECT(store_has_number(&store, number, 0, 100));
    }
}

int main(void) {
    static bool volatile_pool = false;
    static bool persistent_pool = true;
    const struct CMUnitTest tests[] = {
        VOLATILE_AND_PERSISTENT(32, room_comes_back_when_items_are_deleted),
        VOLATILE_AND_PERSISTENT(8, room_comes_back_when_items_are_deleted),
        VOLATILE_AND_PERSISTENT(32, room_comes_back_when_items_expire_among_living_ones),
        VOLATILE_AND_PERSISTENT(8, room_comes_back_when_items_in_open_segments_expire),
        VOLATILE_AND_PERSISTENT(32, moving_an_item_changes_nothing_that_a_client_sees),
        VOLATILE_AND_PERSISTENT(32, a_mix_of_sizes_does_not_wear_the_pool_out),
        cmocka_unit_test_prestate(a_fragmented_pool_comes_to_rest, &volatile_pool),
        cmocka_unit_test_prestate(a_fragmented_pool_comes_to_rest, &persistent_pool),
        cmocka_unit_test(a_pool_whose_records_do_not_pack_comes_to_rest),
        VOLATILE_AND_PERSISTENT(8, tombstones_do_not_pile_up_beside_an_item_that_stays),
        VOLATILE_AND_PERSISTENT(8, tombstones_do_not_pile_up_beside_a_segment_that_stays_open),
        VOLATILE_AND_PERSISTENT(8, updates_with_sooner_expiries_do_not_pile_tombstones_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
