/* Writes on their way to the log: what becomes of them when answers say no, come late, or are lost.
 */
#include "writes_support.h"

static void a_write_that_is_stored_is_told_so(void **state) {
    (void)state;
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(0, 0);
    assert_string_equal(request.subject, "p.test.0.k.aw");
    answer_write(&request, ENGINE_STORED, 5);
    assert_int_equal(finish_set("one"), STATUS_OK);
    assert_int_equal(store_cas(&store, "k"), 5);
    assert_true(atomic_load(&woken) > 0);
    read_record("one", 5); /* the reader comes to it too */
}

static void a_conflict_waits_for_the_reader_and_is_planned_again(void **state) {
    (void)state;
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(0, 0);
    answer_write(&request, ENGINE_CONFLICT, 4);
    assert_true(proposal_is_in_flight(store.thread.proposal));
    read_record("other", 4);
    settle_down(store.thread.proposal);
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    request = expect_write(1, 4);
    answer_write(&request, ENGINE_STORED, 6);
    assert_int_equal(finish_set("one"), STATUS_OK);
    read_record("one", 6);
}

static void a_conflict_with_a_tombstone_expects_the_tombstone(void **state) {
    (void)state;
    read_record("other", 3);
    read_record(NULL, 4);
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(0, 0);
    answer_write(&request, ENGINE_CONFLICT, 4);
    settle_down(store.thread.proposal);
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    request = expect_write(1, 4);
    answer_write(&request, ENGINE_STORED, 5);
    assert_int_equal(finish_set("one"), STATUS_OK);
    read_record("one", 5);
}

static void what_nobody_took_is_sent_again(void **state) {
    (void)state;
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(0, 0);
    answer_write(&request, ENGINE_BUSY, 0);
    request = expect_write(1, 0);
    answer_write(&request, ENGINE_ABSENT, 0);
    request = expect_write(2, 0);
    answer_write(&request, ENGINE_STORED, 1);
    assert_int_equal(finish_set("one"), STATUS_OK);
    read_record("one", 1);
}

static void a_lost_answer_is_found_in_the_log(void **state) {
    (void)state;
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(0, 0);
    struct fake_request asked = expect_find(1);
    answer_find(&asked, &request, 9);
    assert_int_equal(finish_set("one"), STATUS_OK);
    assert_int_equal(store_cas(&store, "k"), 9);
    read_record("one", 9);
}

static void the_same_write_is_sent_under_the_same_condition(void **state) {
    (void)state;
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    struct fake_request first = expect_write(0, 0);
    struct fake_request asked = expect_find(1);
    answer_find(&asked, NULL, 0);
    struct fake_request second = expect_write(2, 0);
    assert_memory_equal(first.payload, second.payload, first.payload_size);
    /* The first one was stored after all, late. So the second one is a conflict with it. */
    answer_write(&second, ENGINE_CONFLICT, 8);
    asked = expect_find(3);
    answer_find(&asked, &first, 8);
    assert_int_equal(finish_set("one"), STATUS_OK);
    read_record("one", 8);
}

/* The answer was lost, and another host has written since: this write may have been stored before
 * that and seen by others. To make it again would bring back what they have deleted. */
static void an_unclear_write_is_never_planned_again(void **state) {
    (void)state;
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    expect_write(0, 0);
    struct fake_request asked = expect_find(1);
    struct buffer tombstone = {0};
    const struct replica other = {.key = KEY, .removed = true};
    assert_true(message_write(&tombstone, &other, (struct message_id){5, 5}));
    const struct engine_found found = {.is_answered = true,
                                       .is_there = true,
                                       .sequence = 9,
                                       .payload = bytes_from(tombstone.data, tombstone.size)};
    writes_take_found(writes, asked.token, &found);
    buffer_finish(&tombstone);
    settle_down(store.thread.proposal);
    assert_int_equal(set_value("one"), STATUS_UNAVAILABLE);
    assert_int_equal(fake_engine_count(&fake), 2);
    read_record(NULL, 9);
    expect_gone(&store, "k");
}

static void the_reader_finds_the_write_whose_answer_was_lost(void **state) {
    (void)state;
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(0, 0);
    struct replica replica = {.key = KEY, .sequence = 6};
    struct message_id id;
    assert_int_equal(message_read(bytes_from(request.payload, request.payload_size), &replica, &id),
                     MESSAGE_GOOD);
    store_thread_refresh(&store.thread);
    assert_int_equal(pool_apply(store.pool, &store.thread, &replica, false), STATUS_OK);
    writes_note_record(writes, &id, 6, false);
    pool_note_position(store.pool, 0, 6);
    assert_int_equal(finish_set("one"), STATUS_OK);
    assert_int_equal(fake_engine_count(&fake), 1);
}

static void a_late_answer_to_a_write_that_has_ended_is_ignored(void **state) {
    (void)state;
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    struct fake_request first = expect_write(0, 0);
    answer_write(&first, ENGINE_STORED, 5);
    assert_int_equal(finish_set("one"), STATUS_OK);
    assert_int_equal(set_value("two"), STATUS_NEEDS_ROOM);
    struct fake_request second = expect_write(1, 5);
    answer_write(&first, ENGINE_CONFLICT, 5);
    answer_write(&first, ENGINE_STORED, 5);
    assert_true(proposal_is_in_flight(store.thread.proposal));
    answer_write(&second, ENGINE_STORED, 6);
    assert_int_equal(finish_set("two"), STATUS_OK);
    assert_int_equal(store_cas(&store, "k"), 6);
    read_record("two", 6);
}

static enum status increment(uint64_t *number) {
    store_thread_refresh(&store.thread);
    return pool_arithmetic(store.pool, &store.thread, KEY, &(struct pool_arithmetic){.delta = 1},
                           number, NULL);
}

static enum status finish_increment(uint64_t *number) {
    settle_down(store.thread.proposal);
    return increment(number);
}

static struct message_id id_of(const struct fake_request *request) {
    struct replica replica = {.key = KEY};
    struct message_id id;
    assert_int_equal(
        message_read(bytes_from(request->payload, request->payload_size), &replica, &id),
        MESSAGE_GOOD);
    assert_true(replica.derived);
    return id;
}

static void a_change_of_an_item_is_acknowledged_when_the_reader_has_come_to_it(void **state) {
    (void)state;
    uint64_t number = 0;
    read_record("7", 2);
    assert_int_equal(increment(&number), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(0, 2);
    answer_write(&request, ENGINE_STORED, 5);
    assert_true(proposal_is_in_flight(store.thread.proposal));
    struct message_id id = id_of(&request);
    read_record("8", 5);
    writes_note_record(writes, &id, 5, false);
    assert_int_equal(finish_increment(&number), STATUS_OK);
    assert_int_equal(number, 8);
}

static void a_change_of_an_item_from_before_a_flush_is_planned_again(void **state) {
    (void)state;
    uint64_t number = 0;
    read_record("7", 2);
    assert_int_equal(increment(&number), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(0, 2);
    answer_write(&request, ENGINE_STORED, 5); /* behind a flush at 4 */
    struct message_id id = id_of(&request);
    read_record(NULL, 4);
    atomic_store(&flushes[0], 4);
    writes_note_record(writes, &id, 5, true);
    read_record(NULL, 5);
    settle_down(store.thread.proposal);
    assert_int_equal(increment(&number), STATUS_NEEDS_ROOM);
    expect_confirmation(1);
    writes_note_confirmation(writes, 0, 1);
    assert_int_equal(finish_increment(&number), STATUS_NOT_FOUND);
}

static void a_change_whose_record_was_replaced_looks_for_a_flush(void **state) {
    (void)state;
    uint64_t number = 0;
    read_record("7", 2);
    assert_int_equal(increment(&number), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(0, 2);
    answer_write(&request, ENGINE_STORED, 5);
    read_record("50", 6); /* of another host */
    assert_int_equal(finish_increment(&number), STATUS_OK);
    assert_int_equal(number, 8);
    assert_int_equal(increment(&number), STATUS_NEEDS_ROOM);
    request = expect_write(1, 6);
    answer_write(&request, ENGINE_STORED, 8);
    atomic_store(&flushes[0], 7);
    read_record("3", 9); /* of another host */
    settle_down(store.thread.proposal);
    assert_int_equal(increment(&number), STATUS_NEEDS_ROOM);
    request = expect_write(2, 9);
    answer_write(&request, ENGINE_STORED, 10);
    read_record("4", 10);
    assert_int_equal(finish_increment(&number), STATUS_OK);
    assert_int_equal(number, 4);
}

static void a_log_that_was_made_anew_takes_no_writes(void **state) {
    (void)state;
    read_record("before", 40);
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(0, 40);
    answer_write(&request, ENGINE_STORED, 3);
    settle_down(store.thread.proposal);
    assert_int_equal(set_value("one"), STATUS_UNAVAILABLE);
    expect_there(&store, "k", "before");
    assert_int_equal(set_value("two"), STATUS_NEEDS_ROOM);
    settle_down(store.thread.proposal);
    assert_int_equal(set_value("two"), STATUS_UNAVAILABLE);
    assert_int_equal(fake_engine_count(&fake), 1);
}

static void a_write_ends_at_its_deadline(void **state) {
    (void)state;
    fake.refuses = true;
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    settle_down(store.thread.proposal);
    assert_int_equal(set_value("one"), STATUS_UNAVAILABLE);
    expect_gone(&store, "k");
    fake.refuses = false;
}

static void writes_of_one_key_go_one_after_the_other(void **state) {
    (void)state;
    struct store_thread second = store.thread;
    second.proposal = create_proposal(NULL, note_wake, &woken);
    const struct pool_store request = {.value = bytes_from_string("two")};
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    assert_int_equal(pool_store(store.pool, &second, KEY, &request, NULL), STATUS_NEEDS_ROOM);
    struct fake_request sent = expect_write(0, 0);
    assert_int_equal(fake_engine_count(&fake), 1);
    answer_write(&sent, ENGINE_STORED, 1);
    assert_int_equal(finish_set("one"), STATUS_OK);
    settle_down(second.proposal);
    assert_int_equal(pool_store(store.pool, &second, KEY, &request, NULL), STATUS_NEEDS_ROOM);
    sent = expect_write(1, 1); /* planned on what the first one has stored */
    answer_write(&sent, ENGINE_STORED, 2);
    settle_down(second.proposal);
    assert_int_equal(pool_store(store.pool, &second, KEY, &request, NULL), STATUS_OK);
    writes_release_proposal(second.proposal);
    read_record("two", 2);
    expect_there(&store, "k", "two");
}

static void a_connection_may_end_before_its_write(void **state) {
    (void)state;
    assert_int_equal(set_value("one"), STATUS_NEEDS_ROOM);
    struct fake_request sent = expect_write(0, 0);
    writes_release_proposal(store.thread.proposal);
    store.thread.proposal = create_proposal(NULL, note_wake, &woken);
    assert_int_equal(set_value("two"), STATUS_NEEDS_ROOM); /* waits behind the first one */
    assert_int_equal(fake_engine_count(&fake), 1);
    answer_write(&sent, ENGINE_STORED, 3);
    read_record("one", 3);
    settle_down(store.thread.proposal);
    assert_int_equal(set_value("two"), STATUS_NEEDS_ROOM);
    sent = expect_write(1, 3);
    answer_write(&sent, ENGINE_STORED, 4);
    assert_int_equal(finish_set("two"), STATUS_OK);
    read_record("two", 4);
}

static void what_is_deleted_or_expires_stays_in_the_log_for_a_while(void **state) {
    (void)state;
    store_thread_refresh(&store.thread);
    const struct pool_store request = {.value = bytes_from_string("v"),
                                       .expiry_s = clock_now_s() + 100};
    assert_int_equal(pool_store(store.pool, &store.thread, KEY, &request, NULL), STATUS_NEEDS_ROOM);
    struct fake_request sent = expect_write(0, 0);
    assert_int_equal(sent.ttl_s, 1100);
    answer_write(&sent, ENGINE_STORED, 1);
    settle_down(store.thread.proposal);
    assert_int_equal(pool_store(store.pool, &store.thread, KEY, &request, NULL), STATUS_OK);
    assert_int_equal(store_delete(&store, "k"), STATUS_NEEDS_ROOM);
    sent = expect_write(1, 1);
    assert_int_equal(sent.ttl_s, 1000);
    answer_write(&sent, ENGINE_STORED, 2);
    settle_down(store.thread.proposal);
    assert_int_equal(store_delete(&store, "k"), STATUS_OK);
    read_record(NULL, 2);
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, writes_setup_patient, writes_teardown)
#define HASTY(test) cmocka_unit_test_setup_teardown(test, writes_setup, writes_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_write_that_is_stored_is_told_so),
        TEST(a_conflict_waits_for_the_reader_and_is_planned_again),
        TEST(a_conflict_with_a_tombstone_expects_the_tombstone),
        TEST(what_nobody_took_is_sent_again),
        HASTY(a_lost_answer_is_found_in_the_log),
        HASTY(the_same_write_is_sent_under_the_same_condition),
        HASTY(an_unclear_write_is_never_planned_again),
        TEST(the_reader_finds_the_write_whose_answer_was_lost),
        TEST(a_late_answer_to_a_write_that_has_ended_is_ignored),
        TEST(a_change_of_an_item_is_acknowledged_when_the_reader_has_come_to_it),
        TEST(a_change_of_an_item_from_before_a_flush_is_planned_again),
        TEST(a_change_whose_record_was_replaced_looks_for_a_flush),
        TEST(a_log_that_was_made_anew_takes_no_writes),
        HASTY(a_write_ends_at_its_deadline),
        TEST(writes_of_one_key_go_one_after_the_other),
        TEST(a_connection_may_end_before_its_write),
        TEST(what_is_deleted_or_expires_stays_in_the_log_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
