/* When libstayd tries a server that has failed: how long it waits for a restart, and how long it
 * leaves the server alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "availability.h"
#include "base/clock.h"

#include <string.h>

enum { RESTART_WAIT_MS = 1000, PROBE_LIMIT_MS = 500, LATE_MS = 200 /* of this process */ };

static struct availability server;
static uint64_t probe; /* of the latest request that may try */

static int begin(void **state) {
    (void)state;
    availability_init(&server, RESTART_WAIT_MS, PROBE_LIMIT_MS);
    return 0;
}

static bool may_try(void) {
    char reason[AVAILABILITY_REASON_MAX];
    uint64_t given;
    bool may = availability_may_try(&server, &given, reason);
    probe = may ? given : probe;
    return may;
}

/* Lets the pause end. */
static void end_pause(void) {
    server.until_ms = 0;
}

/* Makes a try that fails at once; returns the length of the next pause. */
static uint64_t fail_once(bool refused) {
    uint64_t now_ms = clock_exact_ms();
    availability_failed(&server, now_ms, "it is away", refused);
    return server.until_ms - now_ms;
}

static void each_failed_try_doubles_the_pause(void **state) {
    (void)state;
    for (uint64_t expected_ms = 20; expected_ms < 10000; expected_ms *= 2) {
        assert_in_range(fail_once(false), expected_ms, expected_ms + LATE_MS);
        assert_true(availability_is_down(&server));
        end_pause();
    }
    for (int i = 0; i < 40; i++) {
        assert_in_range(fail_once(false), 10000, 10000 + LATE_MS);
    }
}

static void the_first_pause_is_as_long_as_the_try_was(void **state) {
    (void)state;
    uint64_t now_ms = clock_exact_ms();
    availability_failed(&server, now_ms - 3000, "it is away", false);
    assert_in_range(server.until_ms - now_ms, 3000, 3000 + LATE_MS);
}

static void a_server_that_refuses_is_tried_again_soon(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_in_range(fail_once(true), 1, 100 + LATE_MS);
    }
}

static void a_failure_beside_one_that_was_counted_does_not_count(void **state) {
    (void)state;
    uint64_t began_ms = clock_exact_ms() - 100;
    availability_failed(&server, began_ms, "it is away", false);
    uint64_t until_ms = server.until_ms;
    availability_failed(&server, began_ms, "it is away", false);
    assert_int_equal(server.until_ms, until_ms);
}

static void one_request_tries_when_the_pause_is_over(void **state) {
    (void)state;
    char reason[AVAILABILITY_REASON_MAX] = "";
    assert_true(may_try());
    fail_once(false);
    uint64_t none;
    assert_int_equal(probe, 0);
    assert_false(availability_may_try(&server, &none, reason));
    assert_int_equal(none, 0);
    assert_string_equal(reason, "it is away");
    end_pause();
    assert_true(may_try());
    assert_int_not_equal(probe, 0);
    assert_false(may_try());
    availability_release_probe(&server, &probe);
    assert_int_equal(probe, 0);
    assert_true(may_try());
    availability_answered(&server);
    assert_true(may_try());
    assert_int_equal(probe, 0);
    assert_true(may_try());
}

static void a_request_that_is_no_probe_ends_no_pause(void **state) {
    (void)state;
    assert_true(may_try());
    uint64_t before_the_outage = probe;
    fail_once(false);
    availability_release_probe(&server, &before_the_outage);
    assert_false(may_try());
    end_pause();
    assert_true(may_try());
    uint64_t given_up = probe;
    end_pause(); /* simulates a probe that has lasted too long */
    server.probe_limit_ms *= 2;
    assert_true(may_try());
    availability_release_probe(&server, &given_up);
    assert_false(may_try()); /* the other probe has not ended */
    fail_once(false);
    availability_release_probe(&server, &probe);
    assert_false(may_try());
}

static void one_silence_is_no_outage_and_two_are(void **state) {
    (void)state;
    uint64_t now_ms = clock_exact_ms();
    availability_note_silence(&server, now_ms, now_ms + 1, "it says nothing");
    assert_true(may_try()); /* the server has answered another request meanwhile */
    availability_note_silence(&server, clock_exact_ms(), 0, "it says nothing");
    assert_true(may_try());
    availability_answered(&server);
    availability_note_silence(&server, clock_exact_ms(), 0, "it says nothing");
    assert_true(may_try());
    availability_note_silence(&server, clock_exact_ms(), 0, "it says nothing");
    assert_false(may_try());
}

static void a_restart_is_waited_for_and_then_no_longer(void **state) {
    (void)state;
    uint64_t began_ms = clock_exact_ms();
    assert_int_equal(availability_find_retry_pause(&server, began_ms), 5);
    server.restart_began_ms -= 100;
    assert_in_range(availability_find_retry_pause(&server, began_ms), 25, 50);
    server.restart_began_ms -= 500;
    assert_int_equal(availability_find_retry_pause(&server, began_ms), 50);
    server.restart_by_ms = clock_exact_ms() + 2;
    assert_in_range(availability_find_retry_pause(&server, began_ms) + 1, 0, 3);
    server.restart_by_ms = clock_exact_ms();
    assert_int_equal(availability_find_retry_pause(&server, began_ms), -1);
    fail_once(true);
    assert_int_equal(availability_find_retry_pause(&server, began_ms), -1);
    availability_answered(&server);
    assert_int_equal(availability_find_retry_pause(&server, clock_exact_ms()), 5);
}

static void without_a_wait_the_first_refusal_is_the_last(void **state) {
    (void)state;
    availability_init(&server, 0, PROBE_LIMIT_MS);
    assert_int_equal(availability_find_retry_pause(&server, clock_exact_ms()), -1);
}

int main(void) {
#define UP(test) cmocka_unit_test_setup(test, begin)
    const struct CMUnitTest tests[] = {
        UP(each_failed_try_doubles_the_pause),
        UP(the_first_pause_is_as_long_as_the_try_was),
        UP(a_server_that_refuses_is_tried_again_soon),
        UP(a_failure_beside_one_that_was_counted_does_not_count),
        UP(one_request_tries_when_the_pause_is_over),
        UP(a_request_that_is_no_probe_ends_no_pause),
        UP(one_silence_is_no_outage_and_two_are),
        UP(a_restart_is_waited_for_and_then_no_longer),
        UP(without_a_wait_the_first_refusal_is_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
