/* A process that reads a mapped pool (reader.h): it reads what the daemon would reply, or asks over
 * the socket. */
#include "reader_support.h"

#include <unistd.h>

static struct store store;

static void what_is_stored_is_read_as_it_is(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading, &store);
    const struct pool_store request = {.value = bytes_from_string("the value"),
                                       .client_flags = 77,
                                       .expiry_s = CLOCK_START_S + 100};
    struct item stored;
    EXPECT(pool_store(store.pool, &store.thread, bytes_from_string("key"), &request, &stored) ==
           STATUS_OK);
    expect_read(&reading, "key", "the value");
    assert_int_equal(reading.item.client_flags, 77);
    assert_int_equal(reading.item.expiry_s, CLOCK_START_S + 100);
    assert_int_equal(reading.item.cas, stored.cas);
    EXPECT(store_set(&store, "key", "", 0) == STATUS_OK);
    expect_read(&reading, "key", "");
    assert_int_equal(read_key(&reading, "another"), READER_MISS);
    assert_int_equal(reader_get(&reading.view, bytes_from_string("key"), NULL, 0, &reading.item),
                     READER_HIT);
    EXPECT(store_set(&store, "key", "12345", 0) == STATUS_OK);
    assert_int_equal(
        reader_get(&reading.view, bytes_from_string("key"), reading.value, 4, &reading.item),
        READER_SMALL);
    assert_int_equal(reading.item.value_size, 5);
    reading_end(&reading);
}

static void every_item_is_found_while_the_index_grows(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading, &store);
    unsigned count = store_fill(&store, 0, 40, 0);
    for (unsigned number = 0; number < count; number++) {
        char key[POOL_KEY_MAX];
        char value[64];
        size_t size = number_key(key, number);
        number_value(value, 40, number, 0);
        assert_int_equal(reader_get(&reading.view, bytes_from(key, size), reading.value,
                                    sizeof reading.value, &reading.item),
                         READER_HIT);
        assert_memory_equal(reading.value, value, 40);
    }
    reading_end(&reading);
}

static void a_touch_is_seen_at_once(void **state) {
    (void)state;
    struct reading reading;
    char large[6000];
    reading_begin(&reading, &store);
    memset(large, 'v', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    EXPECT(store_set(&store, "big", large, CLOCK_START_S + 100) == STATUS_OK);
    for (uint32_t i = 101; i < 110; i++) {
        EXPECT(store_touch(&store, "big", CLOCK_START_S + i) == STATUS_OK);
        expect_read(&reading, "big", large);
        assert_int_equal(reading.item.expiry_s, CLOCK_START_S + i);
    }
    atomic_store(&store.pool->view.index->durable_sequence,
                 atomic_load(&store.pool->view.index->sequence) - 1);
    assert_int_equal(read_key(&reading, "big"), READER_ASK); /* maybe not on the disk yet */
    reading_end(&reading);
}

static void what_has_ended_is_a_miss_at_once(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading, &store);
    EXPECT(store_set(&store, "deleted", "v", 0) == STATUS_OK);
    EXPECT(store_set(&store, "expired", "v", CLOCK_START_S + 10) == STATUS_OK);
    EXPECT(store_set(&store, "flushed", "v", 0) == STATUS_OK);
    EXPECT(store_delete(&store, "deleted") == STATUS_OK);
    assert_int_equal(read_key(&reading, "deleted"), READER_MISS);
    clock_advance_s(9);
    expect_read(&reading, "expired", "v");
    clock_advance_s(1);
    assert_int_equal(read_key(&reading, "expired"), READER_MISS);
    expect_read(&reading, "flushed", "v");
    store.thread.now_s = clock_now_s();
    EXPECT(pool_flush(store.pool, &store.thread, 0) == STATUS_OK);
    assert_int_equal(read_key(&reading, "flushed"), READER_MISS);
    reading_end(&reading);
}

static void a_flush_that_has_fallen_due_is_left_to_the_daemon(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading, &store);
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    store.thread.now_s = clock_now_s();
    EXPECT(pool_flush(store.pool, &store.thread, clock_now_s() + 10) == STATUS_OK);
    expect_read(&reading, "key", "v");
    /* The state before the daemon performs the flush, and during the flush. The janitor is paused.
     */
    struct layout_index_header *index = store.pool->view.index;
    pthread_mutex_lock(&store.pool->flush_lock);
    atomic_store(&index->flush_due_s, clock_now_s());
    enum reader_outcome due = read_key(&reading, "key");
    atomic_store(&index->flush_due_s, 0);
    uint64_t flushed = atomic_exchange(&index->flush_sequence, LAYOUT_FLUSHING);
    enum reader_outcome under_way = read_key(&reading, "key");
    atomic_store(&index->flush_sequence, flushed);
    pthread_mutex_unlock(&store.pool->flush_lock);
    assert_int_equal(under_way, READER_ASK);
    assert_int_equal(due, READER_ASK);
    reading_end(&reading);
}

static void the_limits_on_age_hold_for_readers(void **state) {
    (void)state;
    store.options.idle_timeout_s = 80;
    store_reopen(&store);
    struct reading reading;
    reading_begin(&reading, &store);
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    clock_advance_s(9);
    expect_read(&reading, "key", "v");
    clock_advance_s(1); /* an eighth of the limit: the daemon must learn that the item is in use */
    assert_int_equal(read_key(&reading, "key"), READER_ASK);
    struct item item;
    EXPECT(store_get(&store, "key", &item) == STATUS_OK);
    expect_read(&reading, "key", "v");
    clock_advance_s(80);
    assert_int_equal(read_key(&reading, "key"), READER_MISS);
    reading_end(&reading);
    store.options.idle_timeout_s = 0;
    store.options.max_lifetime_s = 50;
    store_reopen(&store);
    reading_begin(&reading, &store);
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    expect_read(&reading, "key", "v");
    clock_advance_s(50);
    assert_int_equal(read_key(&reading, "key"), READER_MISS);
    reading_end(&reading);
}

static void what_is_not_on_the_disk_yet_is_left_to_the_daemon(void **state) {
    (void)state;
    store.options.fsync = POOL_FSYNC_ALWAYS;
    store_reopen(&store);
    struct reading reading;
    reading_begin(&reading, &store);
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    uint64_t ticket = pool_take_ticket(store.pool, &store.thread);
    while (pool_check_ticket(store.pool, ticket) != STATUS_OK) {
        usleep(1000);
    }
    enum reader_outcome outcome;
    for (int tries = 0; (outcome = read_key(&reading, "key")) == READER_ASK && tries < 10;
         tries++) {
        EXPECT(store_set(&store, "other", "v", 0) == STATUS_OK); /* a sync more */
        ticket = pool_take_ticket(store.pool, &store.thread);
        while (pool_check_ticket(store.pool, ticket) != STATUS_OK) {
            usleep(1000);
        }
    }
    assert_int_equal(outcome, READER_HIT);
    fault_fail_syncs(true);
    EXPECT(store_set(&store, "key", "newer", 0) == STATUS_OK);
    assert_int_equal(read_key(&reading, "key"), READER_ASK);
    fault_none();
    reading_end(&reading);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_BOTH(what_is_stored_is_read_as_it_is),
        ON_BOTH(every_item_is_found_while_the_index_grows),
        ON_BOTH(a_touch_is_seen_at_once),
        ON_BOTH(what_has_ended_is_a_miss_at_once),
        ON_BOTH(a_flush_that_has_fallen_due_is_left_to_the_daemon),
        ON_BOTH(the_limits_on_age_hold_for_readers),
        ON_PERSISTENT(what_is_not_on_the_disk_yet_is_left_to_the_daemon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
