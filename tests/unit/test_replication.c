/* A replicated pool: what its operations propose, what they reply when the log has it, which
 * records of the log are applied, and how far the file says that they are. */
#include "recovery_support.h"

#include "store/positions.h"
#include "store/replication.h"

#include <sched.h>
#include <stdlib.h>

enum { PARTITIONS = 2 };

#define KEY bytes_from_string("k")
#define LATER_S (CLOCK_START_S + 1000)

static struct store store;

/* A log that answers when the test says so. */
struct fake {
    struct proposal *proposal; /* the last that was submitted */
    unsigned submitted;
    unsigned settled;
    unsigned confirms; /* how often it was asked to confirm */
    char own_key[POOL_KEY_MAX + 1];
    uint64_t own_sequence; /* of own_key: what was written by its proposal last */
    uint64_t flush;
    uint64_t read_sequence; /* what the reader has come to last */
};

static struct fake fake;

static struct proposal *fake_create(void *context, void (*wake)(void *), void *wake_context) {
    (void)context;
    (void)wake;
    (void)wake_context;
    return calloc(1, sizeof(struct proposal));
}

static void fake_release(struct proposal *proposal) {
    buffer_finish(&proposal->data);
    free(proposal);
}

static void fake_submit(struct proposal *proposal) {
    fake.proposal = proposal;
    fake.submitted++;
}

static void fake_confirm(struct proposal *proposal, struct bytes key) {
    assert_true(bytes_equal(key, KEY));
    fake.proposal = proposal;
    fake.confirms++;
}

static void fake_settle(struct proposal *proposal) {
    (void)proposal;
    fake.settled++;
}

static uint64_t fake_get_flush(void *context, struct bytes key) {
    (void)context;
    (void)key;
    return fake.flush;
}

static bool fake_admits_own(void *context, struct bytes key, uint64_t sequence) {
    (void)context;
    if (fake.read_sequence >= sequence) {
        return false;
    }
    memcpy(fake.own_key, key.data, key.size);
    fake.own_key[key.size] = '\0';
    fake.own_sequence = sequence;
    return true;
}

static bool fake_admits_read(void *context, struct bytes key, uint64_t sequence) {
    (void)context;
    fake.read_sequence = sequence;
    return !bytes_equal(key, bytes_from_string(fake.own_key)) || sequence >= fake.own_sequence;
}

static const struct pool_replication replication = {
    .create = fake_create,
    .release = fake_release,
    .submit = fake_submit,
    .confirm = fake_confirm,
    .get_flush = fake_get_flush,
    .settle = fake_settle,
    .admits_own = fake_admits_own,
    .admits_read = fake_admits_read,
};

static void begin_replicated(void) {
    pool_set_replication(store.pool, &replication);
}

static int setup(void **state) {
    (void)state;
    struct pool_options options = store_options(16);
    options.persist = true;
    options.fsync = POOL_FSYNC_EVERYSEC;
    options.partitions = PARTITIONS;
    fake = (struct fake){0};
    store_begin(&store, options);
    begin_replicated();
    store.thread.proposal = fake_create(NULL, NULL, NULL);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fake_release(store.thread.proposal);
    store.thread.proposal = NULL;
    store_end(&store);
    return 0;
}

static void acknowledge(uint64_t sequence) {
    store.thread.proposal->change.sequence = sequence;
    atomic_store(&store.thread.proposal->state, PROPOSAL_ACKNOWLEDGED);
}

static void plan_again(bool confirmed) {
    store.thread.proposal->confirmed = confirmed;
    atomic_store(&store.thread.proposal->state, PROPOSAL_AGAIN);
}

static enum status set_again(const char *value) {
    store_thread_refresh(&store.thread);
    return pool_store(store.pool, &store.thread, KEY,
                      &(struct pool_store){.value = bytes_from_string(value),
                                           .client_flags = 7,
                                           .expiry_s = LATER_S},
                      NULL);
}

/* A whole set, which the log has at this sequence. */
static void set_at(const char *value, uint64_t sequence) {
    assert_int_equal(set_again(value), STATUS_NEEDS_ROOM);
    acknowledge(sequence);
    assert_int_equal(set_again(value), STATUS_OK);
}

static enum status apply(const char *value, uint64_t sequence) {
    store_thread_refresh(&store.thread);
    const struct replica replica = {
        .key = KEY,
        .value = bytes_from_string(value != NULL ? value : ""),
        .removed = value == NULL,
        .sequence = sequence,
    };
    return pool_apply(store.pool, &store.thread, &replica, false);
}

static void a_set_is_made_when_the_log_has_it(void **state) {
    (void)state;
    assert_int_equal(set_again("one"), STATUS_NEEDS_ROOM);
    const struct proposal *proposal = fake.proposal;
    assert_int_equal(proposal->expected, 0);
    assert_false(proposal->change.removed);
    assert_int_equal(proposal->change.client_flags, 7);
    assert_int_equal(proposal->change.expiry_s, LATER_S);
    assert_int_equal(proposal->change.accessed_s, CLOCK_START_S);
    assert_memory_equal(proposal->change.value.data, "one", 3);
    expect_gone(&store, "k");
    assert_int_equal(set_again("one"), STATUS_NEEDS_ROOM); /* it is still on the way */
    assert_int_equal(fake.submitted, 1);
    acknowledge(41);
    assert_int_equal(set_again("one"), STATUS_OK);
    expect_there(&store, "k", "one");
    assert_int_equal(store_cas(&store, "k"), 41);
    assert_int_equal(fake.settled, 1);
    assert_int_equal(fake.own_sequence, 41);
    assert_int_equal(set_again("two"), STATUS_NEEDS_ROOM);
    assert_int_equal(fake.proposal->expected, 41);
}

static enum status store_with(const struct pool_store *request) {
    store_thread_refresh(&store.thread);
    return pool_store(store.pool, &store.thread, KEY, request, NULL);
}

static const struct pool_store add = {.mode = POOL_ADD, .value = {.data = "x", .size = 1}};

static void a_condition_that_fails_is_confirmed_and_not_proposed(void **state) {
    (void)state;
    const struct pool_store cas = {.value = add.value, .compare_cas = true, .cas = 4};
    const struct pool_store replace = {.mode = POOL_REPLACE, .value = add.value};
    const struct {
        const struct pool_store *request;
        bool is_there;
        enum status status;
    } cases[] = {
        {&add, true, STATUS_NOT_STORED},
        {&cas, true, STATUS_EXISTS},
        {&cas, false, STATUS_NOT_FOUND},
        {&replace, false, STATUS_NOT_STORED},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(apply(cases[i].is_there ? "one" : NULL, 5 + i), STATUS_OK);
        assert_int_equal(store_with(cases[i].request), STATUS_NEEDS_ROOM);
        assert_int_equal(fake.confirms, i + 1);
        plan_again(true);
        assert_int_equal(store_with(cases[i].request), cases[i].status);
        assert_int_equal(fake.settled, i + 1);
    }
    assert_int_equal(fake.submitted, 0);
    assert_int_equal(store_with(&replace), STATUS_NEEDS_ROOM); /* another request: once more */
    assert_int_equal(fake.confirms, 5);
}

/* The host was behind: another host has deleted the item before the add began. */
static void a_condition_that_holds_when_it_is_confirmed_is_proposed(void **state) {
    (void)state;
    assert_int_equal(apply("one", 5), STATUS_OK);
    assert_int_equal(store_with(&add), STATUS_NEEDS_ROOM);
    assert_int_equal(apply(NULL, 6), STATUS_OK);
    plan_again(true);
    assert_int_equal(store_with(&add), STATUS_NEEDS_ROOM);
    assert_int_equal(fake.submitted, 1);
    /* Another host was faster. The request has been confirmed already, since it began. */
    assert_int_equal(apply("two", 7), STATUS_OK);
    atomic_store(&store.thread.proposal->state, PROPOSAL_AGAIN);
    assert_int_equal(store_with(&add), STATUS_NOT_STORED);
    assert_int_equal(fake.confirms, 1);
}

static enum status fetch(bool fresh, struct pool_fetched *fetched) {
    store_thread_refresh(&store.thread);
    return pool_fetch(store.pool, &store.thread, KEY, &(struct pool_fetch){.fresh = fresh},
                      fetched);
}

static void a_read_is_confirmed_only_if_it_must_be_fresh(void **state) {
    (void)state;
    struct pool_fetched fetched;
    assert_int_equal(apply("one", 5), STATUS_OK);
    assert_int_equal(fetch(false, &fetched), STATUS_OK);
    assert_int_equal(fetch(true, &fetched), STATUS_NEEDS_ROOM);
    assert_int_equal(fake.confirms, 1);
    assert_int_equal(apply("two", 6), STATUS_OK);
    plan_again(true);
    assert_int_equal(fetch(true, &fetched), STATUS_OK);
    assert_memory_equal(fetched.item.value.data, "two", 3);
    proposal_end(store.pool, store.thread.proposal);
    assert_int_equal(fetch(true, &fetched), STATUS_NEEDS_ROOM);
    store.thread.proposal->failure = STATUS_UNAVAILABLE;
    atomic_store(&store.thread.proposal->state, PROPOSAL_FAILED);
    assert_int_equal(fetch(true, &fetched), STATUS_UNAVAILABLE);
}

static enum status increment(uint64_t *number) {
    store_thread_refresh(&store.thread);
    struct pool_fetched fetched;
    return pool_arithmetic(store.pool, &store.thread, KEY, &(struct pool_arithmetic){.delta = 5},
                           number, &fetched);
}

static void a_reply_says_what_was_proposed_whatever_came_after_it(void **state) {
    (void)state;
    uint64_t number = 0;
    set_at("10", 5);
    assert_int_equal(increment(&number), STATUS_NEEDS_ROOM);
    assert_memory_equal(fake.proposal->change.value.data, "15", 2);
    assert_int_equal(apply("99", 8), STATUS_OK); /* another host, after this one */
    acknowledge(7);
    assert_int_equal(increment(&number), STATUS_OK);
    assert_int_equal(number, 15);
    expect_there(&store, "k", "99");
}

static void an_item_that_is_created_is_won_although_the_reader_was_first(void **state) {
    (void)state;
    struct pool_fetched fetched;
    const struct pool_fetch request = {
        .create = true, .create_expiry_s = LATER_S, .win_stale = true};
    store_thread_refresh(&store.thread);
    assert_int_equal(pool_fetch(store.pool, &store.thread, KEY, &request, &fetched),
                     STATUS_NEEDS_ROOM);
    const struct replica same = store.thread.proposal->change;
    struct replica delivered = same;
    delivered.sequence = 3;
    assert_int_equal(pool_apply(store.pool, &store.thread, &delivered, false), STATUS_OK);
    acknowledge(3);
    assert_int_equal(pool_fetch(store.pool, &store.thread, KEY, &request, &fetched), STATUS_OK);
    assert_true(fetched.created && fetched.won);
    assert_int_equal(fetched.item.cas, 3);
}

static void a_plan_on_an_old_item_is_made_again(void **state) {
    (void)state;
    uint64_t number = 0;
    set_at("10", 5);
    assert_int_equal(increment(&number), STATUS_NEEDS_ROOM);
    assert_int_equal(apply("20", 6), STATUS_OK);
    atomic_store(&store.thread.proposal->state, PROPOSAL_AGAIN);
    assert_int_equal(increment(&number), STATUS_NEEDS_ROOM);
    assert_int_equal(fake.proposal->expected, 6);
    acknowledge(7);
    assert_int_equal(increment(&number), STATUS_OK);
    assert_int_equal(number, 25);
    assert_int_equal(store_cas(&store, "k"), 7);
}

static void a_plan_that_has_nothing_to_change_any_more_lets_others_go_on(void **state) {
    (void)state;
    assert_int_equal(store_with(&add), STATUS_NEEDS_ROOM);
    assert_int_equal(apply("other", 6), STATUS_OK);
    plan_again(false);
    assert_int_equal(store_with(&add), STATUS_NEEDS_ROOM);
    plan_again(true);
    assert_int_equal(store_with(&add), STATUS_NOT_STORED);
    assert_int_equal(fake.settled, 1);
    assert_int_equal(atomic_load(&store.thread.proposal->state), PROPOSAL_IDLE);
}

static void a_failure_is_told_once(void **state) {
    (void)state;
    assert_int_equal(set_again("one"), STATUS_NEEDS_ROOM);
    store.thread.proposal->failure = STATUS_UNAVAILABLE;
    atomic_store(&store.thread.proposal->state, PROPOSAL_FAILED);
    assert_int_equal(set_again("one"), STATUS_UNAVAILABLE);
    expect_gone(&store, "k");
    assert_int_equal(set_again("one"), STATUS_NEEDS_ROOM);
}

static void a_delete_asks_the_log_although_there_is_no_item_here(void **state) {
    (void)state;
    assert_int_equal(store_delete(&store, "k"), STATUS_NEEDS_ROOM);
    assert_true(fake.proposal->change.removed);
    assert_int_equal(fake.proposal->expected, 0);
    /* The log has a record of the key, which the pool has applied, and which removed it. */
    store.thread.proposal->has_named = true;
    store.thread.proposal->named = 12;
    atomic_store(&store.thread.proposal->state, PROPOSAL_AGAIN);
    assert_int_equal(store_delete(&store, "k"), STATUS_NEEDS_ROOM);
    assert_int_equal(fake.proposal->expected, 12);
    acknowledge(13);
    assert_int_equal(store_delete(&store, "k"), STATUS_NOT_FOUND);
}

static void what_was_deleted_is_not_brought_back_by_an_older_record(void **state) {
    (void)state;
    set_at("one", 5);
    assert_int_equal(store_delete(&store, "k"), STATUS_NEEDS_ROOM);
    assert_int_equal(fake.proposal->expected, 5);
    acknowledge(9);
    assert_int_equal(store_delete(&store, "k"), STATUS_OK);
    expect_gone(&store, "k");
    assert_int_equal(apply("older", 7), STATUS_OK); /* the reader is behind the own delete */
    expect_gone(&store, "k");
    assert_int_equal(apply(NULL, 9), STATUS_OK);
    assert_int_equal(apply("newer", 10), STATUS_OK);
    expect_there(&store, "k", "newer");
}

static void only_a_plain_set_does_not_depend_on_the_item(void **state) {
    (void)state;
    uint64_t number = 0;
    fake.flush = 33;
    assert_int_equal(set_again("1"), STATUS_NEEDS_ROOM);
    assert_false(fake.proposal->change.derived);
    acknowledge(40);
    assert_int_equal(set_again("1"), STATUS_OK);
    assert_int_equal(set_again("2"), STATUS_NEEDS_ROOM);
    assert_false(fake.proposal->change.derived);
    acknowledge(41);
    assert_int_equal(set_again("2"), STATUS_OK);
    assert_int_equal(increment(&number), STATUS_NEEDS_ROOM);
    assert_true(fake.proposal->change.derived);
    assert_int_equal(fake.proposal->change.flush, 33);
    acknowledge(42);
    assert_int_equal(increment(&number), STATUS_OK);
    const struct pool_store cas = {.value = bytes_from_string("x"), .compare_cas = true, .cas = 42};
    store_thread_refresh(&store.thread);
    assert_int_equal(pool_store(store.pool, &store.thread, KEY, &cas, NULL), STATUS_NEEDS_ROOM);
    assert_true(fake.proposal->change.derived);
}

static void what_another_host_has_deleted_meanwhile_is_not_written(void **state) {
    (void)state;
    assert_int_equal(set_again("one"), STATUS_NEEDS_ROOM);
    acknowledge(5);
    assert_int_equal(apply(NULL, 6), STATUS_OK); /* the reader is first, and 5 was replaced */
    assert_int_equal(set_again("one"), STATUS_OK);
    expect_gone(&store, "k");
}

static void only_newer_records_are_applied(void **state) {
    (void)state;
    assert_int_equal(apply("five", 5), STATUS_OK);
    assert_int_equal(apply("four", 4), STATUS_OK);
    assert_int_equal(apply("five again", 5), STATUS_OK);
    expect_there(&store, "k", "five");
    assert_int_equal(apply(NULL, 4), STATUS_OK);
    expect_there(&store, "k", "five");
    assert_int_equal(apply(NULL, 6), STATUS_OK);
    expect_gone(&store, "k");
}

static void records_of_the_log_keep_their_times(void **state) {
    (void)state;
    struct item item;
    const struct replica replica = {.key = KEY,
                                    .value = bytes_from_string("v"),
                                    .expiry_s = LATER_S,
                                    .accessed_s = CLOCK_START_S - 50,
                                    .stale = true,
                                    .token_sent = true,
                                    .client_flags = 3,
                                    .sequence = 4};
    store_thread_refresh(&store.thread);
    assert_int_equal(pool_apply(store.pool, &store.thread, &replica, false), STATUS_OK);
    assert_int_equal(store_get(&store, "k", &item), STATUS_OK);
    assert_int_equal(item.accessed_s, CLOCK_START_S - 50);
    assert_true(item.stale && item.token_sent);
    assert_int_equal(item.client_flags, 3);
    assert_int_equal(item.expiry_s, LATER_S);
}

static void a_client_cannot_choose_a_cas(void **state) {
    (void)state;
    store_thread_refresh(&store.thread);
    const struct pool_store request = {
        .value = bytes_from_string("x"), .set_cas = true, .new_cas = 77};
    assert_int_equal(pool_store(store.pool, &store.thread, KEY, &request, NULL),
                     STATUS_UNSUPPORTED);
    assert_int_equal(fake.submitted, 0);
    assert_int_equal(set_again("one"), STATUS_NEEDS_ROOM);
}

/* Applies a record at `*argument`; an even one is noted in the file before the end. */
static void apply_and_note(struct store *child, void *argument) {
    uint64_t sequence = *(const uint64_t *)argument;
    pool_set_replication(child->pool, &replication);
    EXPECT(pool_set_log_id(child->pool, 1, 99));
    const struct replica replica = {
        .key = KEY, .value = bytes_from_string("v"), .sequence = sequence};
    store_thread_refresh(&child->thread);
    EXPECT(pool_apply(child->pool, &child->thread, &replica, false) == STATUS_OK);
    store_thread_leave(&child->thread);
    pool_note_position(child->pool, 1, sequence);
    while (sequence % 2 == 0 && pool_get_noted_position(child->pool, 1) != sequence) {
        sched_yield();
    }
}

static void the_file_counts_a_record_only_after_its_sync(void **state) {
    (void)state;
    uint64_t sequence = 3;
    store_crash(&store, apply_and_note, &sequence);
    store_open(&store);
    begin_replicated();
    assert_int_equal(pool_get_position(store.pool, 1), 0);
    assert_int_equal(pool_get_log_id(store.pool, 1), 99);
    sequence = 4;
    store_crash(&store, apply_and_note, &sequence);
    store_open(&store);
    begin_replicated();
    assert_int_equal(pool_get_position(store.pool, 1), 4);
    assert_int_equal(pool_get_position(store.pool, 0), 0);
    expect_there(&store, "k", "v");
    assert_int_equal(store_cas(&store, "k"), 4);
}

static void a_clean_stop_notes_the_last_position(void **state) {
    (void)state;
    assert_int_equal(apply("v", 4), STATUS_OK);
    pool_note_position(store.pool, 0, 4);
    store_reopen(&store);
    begin_replicated();
    assert_int_equal(pool_get_position(store.pool, 0), 4);
}

static void a_withheld_position_is_not_noted(void **state) {
    (void)state;
    assert_int_equal(apply("v", 4), STATUS_OK);
    pool_withhold_position(store.pool, 0, true);
    pool_note_position(store.pool, 0, 4);
    store_reopen(&store);
    begin_replicated();
    assert_int_equal(pool_get_position(store.pool, 0), 0);
    expect_there(&store, "k", "v");
}

static void a_pool_has_heard_of_all_partitions_when_it_has_heard_of_each(void **state) {
    (void)state;
    assert_int_equal(pool_get_heard_s(store.pool), 0);
    pool_note_heard(store.pool, 0, CLOCK_START_S + 9);
    store_reopen(&store);
    begin_replicated();
    assert_int_equal(pool_get_heard_s(store.pool), 0);
    pool_note_heard(store.pool, 0, CLOCK_START_S + 9);
    pool_note_heard(store.pool, 1, CLOCK_START_S + 7);
    store_reopen(&store);
    begin_replicated();
    assert_int_equal(pool_get_heard_s(store.pool), CLOCK_START_S + 7);
}

/* The items of another log are dropped here alone; their numbers are not those of the new log. */
static void dropped_items_do_not_hide_records_of_a_new_log(void **state) {
    (void)state;
    assert_int_equal(apply("old", 900), STATUS_OK);
    store_reopen(&store);
    assert_int_equal(pool_drop_items(store.pool, &store.thread), STATUS_OK);
    begin_replicated();
    expect_gone(&store, "k");
    assert_int_equal(apply("new", 3), STATUS_OK);
    expect_there(&store, "k", "new");
    assert_int_equal(store_cas(&store, "k"), 3);
}

/* A client's CAS of the log is never given out again by the plain pool. */
static void a_pool_that_leaves_its_log_begins_above_its_numbers(void **state) {
    (void)state;
    assert_int_equal(apply("v", UINT64_C(1) << 40), STATUS_OK);
    pool_note_position(store.pool, 1, UINT64_C(1) << 40);
    store_close(&store);
    store.options.partitions = 0;
    store_open(&store);
    expect_there(&store, "k", "v");
    assert_true(store_cas(&store, "k") == UINT64_C(1) << 40);
    store_set(&store, "other", "v", 0);
    assert_true(store_cas(&store, "other") > UINT64_C(1) << 40);
}

static void a_damaged_position_is_not_believed(void **state) {
    (void)state;
    pool_note_position(store.pool, 0, 4);
    store_close(&store);
    const char wrong = 5;
    write_bytes(store.data_path, &wrong, 1, offsetof(struct layout_data_header, partitions));
    store_open(&store);
    begin_replicated();
    assert_int_equal(pool_get_position(store.pool, 0), 0);
}

static void a_pool_keeps_its_partitions(void **state) {
    (void)state;
    assert_int_equal(apply("v", 4), STATUS_OK);
    store_close(&store);
    store.options.partitions = 3;
    assert_non_null(strstr(store_open_error(&store), "2 partitions"));
    store.options.partitions = 0;
    store_open(&store); /* it is a plain pool from now on */
    expect_there(&store, "k", "v");
    store_close(&store);
    store.options.partitions = PARTITIONS;
    assert_non_null(strstr(store_open_error(&store), "without a cluster"));
    store.options.partitions = 0;
    store_open(&store);
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_set_is_made_when_the_log_has_it),
        TEST(a_condition_that_fails_is_confirmed_and_not_proposed),
        TEST(a_condition_that_holds_when_it_is_confirmed_is_proposed),
        TEST(a_read_is_confirmed_only_if_it_must_be_fresh),
        TEST(a_reply_says_what_was_proposed_whatever_came_after_it),
        TEST(an_item_that_is_created_is_won_although_the_reader_was_first),
        TEST(a_plan_on_an_old_item_is_made_again),
        TEST(a_plan_that_has_nothing_to_change_any_more_lets_others_go_on),
        TEST(a_failure_is_told_once),
        TEST(a_delete_asks_the_log_although_there_is_no_item_here),
        TEST(what_was_deleted_is_not_brought_back_by_an_older_record),
        TEST(only_a_plain_set_does_not_depend_on_the_item),
        TEST(what_another_host_has_deleted_meanwhile_is_not_written),
        TEST(only_newer_records_are_applied),
        TEST(records_of_the_log_keep_their_times),
        TEST(a_client_cannot_choose_a_cas),
        TEST(the_file_counts_a_record_only_after_its_sync),
        TEST(a_clean_stop_notes_the_last_position),
        TEST(a_withheld_position_is_not_noted),
        TEST(a_pool_has_heard_of_all_partitions_when_it_has_heard_of_each),
        TEST(dropped_items_do_not_hide_records_of_a_new_log),
        TEST(a_pool_that_leaves_its_log_begins_above_its_numbers),
        TEST(a_damaged_position_is_not_believed),
        TEST(a_pool_keeps_its_partitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
