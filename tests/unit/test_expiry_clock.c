/* A wrong wall clock hides items until it is corrected, and removes none. */
#include "store_support.h"

#include "store/pool_private.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ITEMS = 500, SIZE = 500, DAY_S = 86400, AHEAD_S = 40 * DAY_S, TTL_S = 14 * DAY_S };

static struct store store;

static void fill(void) {
    for (unsigned number = 0; number < ITEMS; number++) {
        EXPECT(store_set_number(&store, number, 0, SIZE, clock_now_s() + TTL_S + number % 7) ==
               STATUS_OK);
    }
}

static unsigned count_there(void) {
    unsigned there = 0;
    for (unsigned number = 0; number < ITEMS; number++) {
        there += store_has_number(&store, number, 0, SIZE);
    }
    return there;
}

static uint64_t count_kept(void) {
    struct pool_stats stats;
    store_stats(&store, &stats);
    return stats.items;
}

/* Lets time pass. The janitor reads the clock as often as it does in a daemon. */
static void let_pass(uint32_t time_s) {
    for (; time_s > 0; time_s -= time_s < 30 ? time_s : 30) {
        clock_advance_s(time_s < 30 ? time_s : 30);
        store_run_janitor(&store, 1);
    }
}

/* Simulates a restart of the system: its boot id changes. */
static void reboot(uint32_t off_s) {
    store_close(&store);
    int file = open(store.data_path, O_RDWR);
    const uint64_t other = 1;
    EXPECT(pwrite(file, &other, sizeof other, offsetof(struct layout_data_header, clock_boot_id)) ==
           sizeof other);
    close(file);
    clock_advance_s(off_s);
    store_open(&store);
}

static void die(struct store *killed, void *argument) {
    (void)argument;
    store_run_janitor(killed, 2);
}

static void a_clock_that_jumps_ahead_takes_nothing_away(void **state) {
    (void)state;
    fill();
    clock_step_s(AHEAD_S);
    store_run_janitor(&store, 3);
    EXPECT(count_there() == 0);
    let_pass(EXPIRY_CLOCK_TRUST_S - 60);
    clock_step_s(-AHEAD_S);
    store_run_janitor(&store, 3);
    EXPECT(count_there() == ITEMS);
    let_pass(TTL_S % 3600 + 60);
    EXPECT(count_there() == ITEMS);
}

static void it_does_not_when_the_daemon_is_killed_or_stopped_meanwhile(void **state) {
    (void)state;
    fill();
    store_run_janitor(&store, 1);
    clock_step_s(AHEAD_S);
    store_survive(&store, die, NULL);
    store_run_janitor(&store, 3);
    EXPECT(count_there() == 0);
    store_reopen(&store);
    store_run_janitor(&store, 3);
    clock_step_s(-AHEAD_S);
    EXPECT(count_there() == ITEMS);
    store_survive(&store, die, NULL);
    EXPECT(count_there() == ITEMS);
}

static void a_clock_that_has_kept_its_time_for_minutes_is_trusted(void **state) {
    (void)state;
    fill();
    clock_step_s(AHEAD_S);
    store_run_janitor(&store, 1);
    let_pass(EXPIRY_CLOCK_TRUST_S - 60);
    EXPECT(count_kept() == ITEMS);
    let_pass(90);
    EXPECT(count_kept() == 0);
    store_set_number(&store, 0, 0, SIZE, clock_now_s() + 10); /* and goes on to be */
    let_pass(30);
    EXPECT(count_kept() == 0);
}

static void a_system_that_slept_has_a_clock_that_is_right(void **state) {
    (void)state;
    fill();
    clock_advance_s(TTL_S + 10);
    store_run_janitor(&store, 3);
    EXPECT(count_kept() == 0);
}

static void small_steps_are_followed(void **state) {
    (void)state;
    static const int steps_s[] = {3, -4, 2, -3, 4};
    for (size_t i = 0; i < sizeof steps_s / sizeof steps_s[0]; i++) {
        clock_step_s(steps_s[i]);
        store_run_janitor(&store, 1);
        store_set_number(&store, 0, 0, SIZE, clock_now_s() + 10);
        clock_advance_s(9);
        store_run_janitor(&store, 2);
        EXPECT(store_has_number(&store, 0, 0, SIZE));
        clock_advance_s(1);
        store_run_janitor(&store, 2);
        EXPECT(count_kept() == 0);
    }
}

static void a_step_back_takes_nothing_away(void **state) {
    (void)state;
    fill();
    clock_step_s(-AHEAD_S);
    let_pass(2 * EXPIRY_CLOCK_TRUST_S);
    EXPECT(count_there() == ITEMS);
    clock_step_s(AHEAD_S);
    store_run_janitor(&store, 3);
    EXPECT(count_there() == ITEMS);
}

static void a_sleep_is_no_time_in_which_a_clock_proves_right(void **state) {
    (void)state;
    fill();
    clock_step_s(AHEAD_S);
    store_run_janitor(&store, 1);
    clock_advance_s(EXPIRY_CLOCK_TRUST_S);
    store_run_janitor(&store, 2);
    clock_step_s(-AHEAD_S);
    EXPECT(count_there() == ITEMS);
}

static void a_start_with_a_clock_from_the_past_takes_nothing_away(void **state) {
    (void)state;
    fill();
    int64_t back_s = (int64_t)clock_now_s() - 100; /* a start in 1970 */
    store_crash(&store, die, NULL);
    clock_step_s(-back_s);
    store_open(&store);
    EXPECT(count_there() == ITEMS);
    let_pass(2 * EXPIRY_CLOCK_TRUST_S);
    store_reopen(&store);
    clock_step_s(back_s);
    store_run_janitor(&store, 3);
    EXPECT(count_there() == ITEMS);
}

static void after_a_reboot_nothing_goes_before_the_clock_has_lasted(void **state) {
    (void)state;
    fill();
    reboot(AHEAD_S);
    let_pass(EXPIRY_CLOCK_TRUST_S - 60);
    EXPECT(count_there() == 0);
    EXPECT(count_kept() == ITEMS);
    let_pass(90);
    EXPECT(count_kept() == 0);
}

static void after_a_reboot_what_had_expired_before_goes_at_once(void **state) {
    (void)state;
    store_set_number(&store, 0, 0, SIZE, clock_now_s() + 10);
    clock_advance_s(20);
    reboot(0);
    store_run_janitor(&store, 2);
    EXPECT(count_kept() == 0);
}

static void a_start_in_the_same_run_of_the_system_goes_on_believing(void **state) {
    (void)state;
    fill();
    store_reopen(&store);
    clock_advance_s(TTL_S + 10);
    store_run_janitor(&store, 3);
    EXPECT(count_kept() == 0);
}

static void a_file_without_a_note_opens_and_loses_nothing(void **state) {
    (void)state;
    fill();
    store_close(&store);
    static const char
        zeros[sizeof(struct layout_data_header) - offsetof(struct layout_data_header, clock_s)];
    int file = open(store.data_path, O_RDWR);
    EXPECT(pwrite(file, zeros, sizeof zeros, offsetof(struct layout_data_header, clock_s)) ==
           sizeof zeros);
    close(file);
    clock_step_s(AHEAD_S);
    store_open(&store);
    store_run_janitor(&store, 3);
    clock_step_s(-AHEAD_S);
    EXPECT(count_there() == ITEMS);
}

static void work_in_doubt(struct store *killed, void *argument) {
    (void)argument;
    clock_step_s(AHEAD_S);
    store_run_janitor(killed, 2);
    EXPECT(store_delete_number(killed, 1) == STATUS_NOT_FOUND);
    EXPECT(store_set_number(killed, 2, 0, SIZE, 1) == STATUS_OK); /* expires at once */
    EXPECT(store_set_number(killed, 3, 1, SIZE, clock_now_s() + 60) == STATUS_OK);
    char key[POOL_KEY_MAX];
    number_key(key, 4);
    EXPECT(store_touch(killed, key, clock_now_s() + 60) == STATUS_NOT_FOUND);
}

/* A session that was logged out while the clock was wrong does not come back when the clock is
 * right. */
static void what_is_deleted_while_hidden_stays_gone(void **state) {
    (void)state;
    fill();
    store_survive(&store, work_in_doubt, NULL);
    clock_step_s(-AHEAD_S);
    EXPECT(!store_has_number(&store, 1, 0, SIZE));
    EXPECT(!store_has_number(&store, 2, 0, SIZE));
    EXPECT(store_has_number(&store, 3, 1, SIZE));
    EXPECT(store_has_number(&store, 4, 0, SIZE));
    EXPECT(count_there() == ITEMS - 3);
}

static void a_full_pool_refuses_new_keys_rather_than_free_what_is_hidden(void **state) {
    (void)state;
    unsigned stored = 0;
    while (store_set_number(&store, stored, 0, SIZE, clock_now_s() + TTL_S) == STATUS_OK) {
        stored++;
    }
    clock_step_s(AHEAD_S);
    store_run_janitor(&store, 3);
    EXPECT(store_set_number(&store, stored, 0, SIZE, clock_now_s() + TTL_S) == STATUS_NO_MEMORY);
    clock_step_s(-AHEAD_S);
    for (unsigned number = 0; number < stored; number++) {
        EXPECT(store_has_number(&store, number, 0, SIZE));
    }
    let_pass(60); /* after that, time goes on normally */
    clock_advance_s(TTL_S);
    store_run_janitor(&store, 3);
    EXPECT(store_set_number(&store, stored, 0, SIZE, 0) == STATUS_OK);
}

static void a_flush_that_only_a_wrong_clock_makes_due_waits(void **state) {
    (void)state;
    fill();
    EXPECT(pool_flush(store.pool, &store.thread, clock_now_s() + DAY_S) == STATUS_OK);
    clock_step_s(AHEAD_S);
    store_thread_refresh(&store.thread);
    pool_tick(store.pool, &store.thread);
    store_run_janitor(&store, 2);
    clock_step_s(-AHEAD_S);
    EXPECT(count_there() == ITEMS);
    clock_advance_s(DAY_S);
    store_run_janitor(&store, 2);
    EXPECT(count_there() == 0);
}

/* A limit is raised while the clock is wrong. The items still expire by the old limit, according to
 * the right time. */
static void a_raised_limit_takes_nothing_away(void **state) {
    (void)state;
    store.options.idle_timeout_s = 10 * DAY_S;
    store_reopen(&store);
    for (unsigned number = 0; number < ITEMS; number++) {
        store_set_number(&store, number, 0, SIZE, 0);
    }
    store_close(&store);
    clock_step_s(AHEAD_S);
    store.options.idle_timeout_s = 20 * DAY_S;
    store_open(&store);
    store_run_janitor(&store, 2);
    clock_step_s(-AHEAD_S);
    EXPECT(count_there() == ITEMS);
}

static void an_idle_pool_writes_nothing_into_its_file(void **state) {
    (void)state;
    fill();
    let_pass(120);
    store_run_janitor(&store, 2);
    const struct mapping *mapping = &store.pool->data_mapping;
    EXPECT(mprotect(mapping->base, mapping->size_bytes, PROT_READ) == 0); /* or it would die */
    let_pass(3600);
    EXPECT(mprotect(mapping->base, mapping->size_bytes, PROT_READ | PROT_WRITE) == 0);
    EXPECT(count_there() == ITEMS);
}

#define VOLATILE(test) STORE_TEST(test, .segments = 64)
#define PERSISTENT(test) STORE_TEST(test, .segments = 64, .persist = true)

int main(void) {
    const struct CMUnitTest tests[] = {
        VOLATILE(a_clock_that_jumps_ahead_takes_nothing_away),
        PERSISTENT(a_clock_that_jumps_ahead_takes_nothing_away),
        PERSISTENT(it_does_not_when_the_daemon_is_killed_or_stopped_meanwhile),
        VOLATILE(a_clock_that_has_kept_its_time_for_minutes_is_trusted),
        VOLATILE(a_system_that_slept_has_a_clock_that_is_right),
        VOLATILE(small_steps_are_followed),
        VOLATILE(a_step_back_takes_nothing_away),
        VOLATILE(a_sleep_is_no_time_in_which_a_clock_proves_right),
        PERSISTENT(a_start_with_a_clock_from_the_past_takes_nothing_away),
        PERSISTENT(after_a_reboot_nothing_goes_before_the_clock_has_lasted),
        PERSISTENT(after_a_reboot_what_had_expired_before_goes_at_once),
        PERSISTENT(a_start_in_the_same_run_of_the_system_goes_on_believing),
        PERSISTENT(a_file_without_a_note_opens_and_loses_nothing),
        PERSISTENT(what_is_deleted_while_hidden_stays_gone),
        VOLATILE(a_full_pool_refuses_new_keys_rather_than_free_what_is_hidden),
        PERSISTENT(a_flush_that_only_a_wrong_clock_makes_due_waits),
        PERSISTENT(a_raised_limit_takes_nothing_away),
        PERSISTENT(an_idle_pool_writes_nothing_into_its_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
