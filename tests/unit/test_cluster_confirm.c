/* Conditions that fail: they are answered when the pool has all that the log has. */
#include "writes_support.h"

static enum status add_with(struct store_thread *thread) {
    store_thread_refresh(thread);
    return pool_store(store.pool, thread, KEY,
                      &(struct pool_store){.mode = POOL_ADD, .value = bytes_from_string("added")},
                      NULL);
}

static enum status finish_add(struct store_thread *thread) {
    settle_down(thread->proposal);
    return add_with(thread);
}

static void one_confirmation_answers_all_that_wait_when_it_is_sent(void **state) {
    (void)state;
    struct store_thread others[2] = {store.thread, store.thread};
    read_record("one", 2);
    assert_int_equal(add_with(&store.thread), STATUS_NEEDS_ROOM);
    expect_confirmation(0);
    for (unsigned i = 0; i < 2; i++) { /* too late for the first one, which may be stored already */
        others[i].proposal = create_proposal(NULL, note_wake, &woken);
        assert_int_equal(add_with(&others[i]), STATUS_NEEDS_ROOM);
    }
    writes_note_confirmation(writes, 0, 1);
    assert_int_equal(finish_add(&store.thread), STATUS_NOT_STORED);
    assert_true(proposal_is_in_flight(others[0].proposal));
    assert_true(proposal_is_in_flight(others[1].proposal));
    expect_confirmation(1);
    writes_note_confirmation(writes, 0, 1); /* once more, late */
    assert_true(proposal_is_in_flight(others[0].proposal));
    writes_note_confirmation(writes, 0, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(finish_add(&others[i]), STATUS_NOT_STORED);
        writes_release_proposal(others[i].proposal);
    }
    assert_int_equal(fake_engine_count(&fake), 2);
}

/* This host was behind: it has an item that another host has deleted before the add began. */
static void a_condition_that_holds_after_all_becomes_a_write(void **state) {
    (void)state;
    read_record("one", 2);
    assert_int_equal(add_with(&store.thread), STATUS_NEEDS_ROOM);
    expect_confirmation(0);
    read_record(NULL, 3);
    writes_note_confirmation(writes, 0, 1);
    assert_int_equal(finish_add(&store.thread), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(1, 0);
    answer_write(&request, ENGINE_CONFLICT, 3);
    assert_int_equal(finish_add(&store.thread), STATUS_NEEDS_ROOM);
    request = expect_write(2, 3);
    answer_write(&request, ENGINE_STORED, 5);
    assert_int_equal(finish_add(&store.thread), STATUS_OK);
    read_record("added", 5);
}

/* A node that has lost the others may name a conflict with an old record. */
static void a_condition_that_fails_after_a_conflict_is_confirmed(void **state) {
    (void)state;
    struct store_thread second = store.thread;
    second.proposal = create_proposal(NULL, note_wake, &woken);
    assert_int_equal(add_with(&store.thread), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_write(0, 0);
    answer_write(&request, ENGINE_CONFLICT, 4);
    read_record("other", 4);
    assert_int_equal(finish_add(&store.thread), STATUS_NEEDS_ROOM);
    expect_confirmation(1);
    const struct pool_store plain = {.value = bytes_from_string("two")};
    assert_int_equal(pool_store(store.pool, &second, KEY, &plain, NULL), STATUS_NEEDS_ROOM);
    assert_int_equal(fake_engine_count(&fake), 2); /* the add has the key still */
    writes_note_confirmation(writes, 0, 1);
    assert_int_equal(finish_add(&store.thread), STATUS_NOT_STORED);
    settle_down(second.proposal);
    assert_int_equal(pool_store(store.pool, &second, KEY, &plain, NULL), STATUS_NEEDS_ROOM);
    request = expect_write(2, 4);
    answer_write(&request, ENGINE_STORED, 6);
    settle_down(second.proposal);
    assert_int_equal(pool_store(store.pool, &second, KEY, &plain, NULL), STATUS_OK);
    writes_release_proposal(second.proposal);
    read_record("two", 6);
}

static void a_lost_confirmation_is_sent_again(void **state) {
    (void)state;
    read_record("one", 2);
    assert_int_equal(add_with(&store.thread), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_confirmation(0);
    writes_take_confirmation_outcome(writes, request.token, ENGINE_ABSENT, 0);
    request = expect_confirmation(1); /* its answer is lost */
    expect_confirmation(2);
    writes_take_confirmation_outcome(writes, request.token, ENGINE_STORED, 5);
    assert_true(proposal_is_in_flight(store.thread.proposal));
    writes_note_confirmation(writes, 0, 2);
    assert_int_equal(finish_add(&store.thread), STATUS_NOT_STORED);
}

static void a_condition_that_nobody_confirms_is_not_answered(void **state) {
    (void)state;
    read_record("one", 2);
    assert_int_equal(add_with(&store.thread), STATUS_NEEDS_ROOM);
    expect_confirmation(0);
    writes_release_proposal(store.thread.proposal); /* its connection ends meanwhile */
    store.thread.proposal = create_proposal(NULL, note_wake, &woken);
    fake.refuses = true;
    assert_int_equal(add_with(&store.thread), STATUS_NEEDS_ROOM);
    assert_int_equal(finish_add(&store.thread), STATUS_UNAVAILABLE);
    fake.refuses = false;
}

static void a_confirmation_in_a_log_that_was_made_anew_is_not_believed(void **state) {
    (void)state;
    read_record("one", 40);
    assert_int_equal(add_with(&store.thread), STATUS_NEEDS_ROOM);
    struct fake_request request = expect_confirmation(0);
    writes_take_confirmation_outcome(writes, request.token, ENGINE_STORED, 7);
    assert_int_equal(finish_add(&store.thread), STATUS_UNAVAILABLE);
    assert_int_equal(add_with(&store.thread), STATUS_NEEDS_ROOM);
    assert_int_equal(finish_add(&store.thread), STATUS_UNAVAILABLE);
    assert_int_equal(fake_engine_count(&fake), 1);
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, writes_setup_patient, writes_teardown)
#define HASTY(test) cmocka_unit_test_setup_teardown(test, writes_setup, writes_teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_confirmation_answers_all_that_wait_when_it_is_sent),
        TEST(a_condition_that_holds_after_all_becomes_a_write),
        TEST(a_condition_that_fails_after_a_conflict_is_confirmed),
        HASTY(a_lost_confirmation_is_sent_again),
        HASTY(a_condition_that_nobody_confirms_is_not_answered),
        TEST(a_confirmation_in_a_log_that_was_made_anew_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
