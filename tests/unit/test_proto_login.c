/* Before and after the login, over the text protocol. The right login is bob with the password
 * "secret word" (proto_support.c checks it). */
#include "proto_support.h"

#include <stdio.h>

#define LOGIN "set any 0 0 15\r\nbob secret word\r\n"
#define UNAUTHENTICATED "CLIENT_ERROR unauthenticated\r\n"
#define FAILURE "CLIENT_ERROR authentication failure\r\n"
#define BAD_FORMAT "CLIENT_ERROR bad authentication token format\r\n"

static void restart(struct talk *talk) {
    talk_restart(talk);
    talk->service.login_required = true;
    proto_connection_init(&talk->connection, &talk->service);
}

static uint64_t counter(struct talk *talk, enum pool_counter which) {
    struct pool_stats stats;
    pool_get_stats(talk->pool, &stats);
    return stats.counters[which];
}

static void a_right_login_opens_the_pool_and_is_no_item(void **state) {
    struct talk *talk = *state;
    restart(talk);
    talk_ask(talk, LOGIN, "STORED\r\n");
    assert_string_equal(talk->login, "bob:secret word");
    talk_ask(talk, "get any\r\nset k 0 0 1\r\nv\r\nget k\r\n",
             "END\r\nSTORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n");
    assert_int_equal(talk->logins, 1);
}

static void a_wrong_login_may_be_tried_again(void **state) {
    struct talk *talk = *state;
    restart(talk);
    talk_ask(talk, "set any 0 0 7\r\nbob bad\r\nget k\r\n", FAILURE UNAUTHENTICATED);
    talk_ask(talk, LOGIN "mn\r\n", "STORED\r\nMN\r\n");
    assert_int_equal(talk->logins, 2);
    assert_int_equal(counter(talk, POOL_AUTH_CMDS), 2);
    assert_int_equal(counter(talk, POOL_AUTH_ERRORS), 1);
}

/* Every command of the table, and words that are no command: each gets the same reply, and is not
 * carried out. */
static void before_the_login_nothing_is_done(void **state) {
    struct talk *talk = *state;
    static const char *const requests[] = {
        "get k\r\n",
        "gets k k2\r\n",
        "gat 0 k\r\n",
        "gats 0 k\r\n",
        "bget k\r\n",
        "touch k 1\r\n",
        "delete k\r\n",
        "delete k noreply\r\n",
        "incr k 1\r\n",
        "decr k 1\r\n",
        "flush_all\r\n",
        "flush_all noreply\r\n",
        "stats\r\n",
        "stats reset\r\n",
        "stats settings\r\n",
        "version\r\n",
        "verbosity 1\r\n",
        "quit\r\n",
        "hold 1\r\n",
        "shutdown\r\n",
        "cache_memlimit 1\r\n",
        "watch\r\n",
        "mg k v\r\n",
        "md k\r\n",
        "ma k\r\n",
        "mn\r\n",
        "nonsense\r\n",
        "\r\n",
        "\n",
        " \r\n",
        "SET any 0 0 15\r\n",
        /* with values, which are discarded */
        "add k 0 0 9\r\nflush_all\r\n",
        "replace k 0 0 9\r\nflush_all\r\n",
        "append k 0 0 9 noreply\r\nflush_all\r\n",
        "prepend k 0 0 9\r\nflush_all\r\n",
        "cas k 0 0 9 1\r\nflush_all\r\n",
        "ms k 9\r\nflush_all\r\n",
        "ms k 9 T0 q MA\r\nflush_all\r\n",
        "add k x 0 9\r\nflush_all\r\n",
    };
    talk_ask(talk, "set k 5 0 1\r\n1\r\n", "STORED\r\n");
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        talk->service.login_required = true;
        proto_connection_init(&talk->connection, &talk->service);
        talk_ask(talk, requests[i], UNAUTHENTICATED);
        assert_false(talk->closed);
        talk_ask(talk, LOGIN "get k\r\n", "STORED\r\nVALUE k 5 1\r\n1\r\nEND\r\n");
    }
    assert_int_equal(counter(talk, POOL_CMD_META), 0);
    assert_int_equal(counter(talk, POOL_CMD_FLUSH), 0);
}

/* If the start of the next request is unknown, the connection is closed, in the same way as after a
 * login. */
static void a_storage_line_without_a_length_closes_the_connection(void **state) {
    struct talk *talk = *state;
    static const char *const requests[] = {
        "set k 0 0 x\r\nflush_all\r\n",
        "set k 0 0\r\nflush_all\r\n",
        "set k 0 0 -1\r\n",
        "set k 0 0 9 a b\r\n",
        "set\r\n",
        "add k 0 0\r\n",
        "cas k 0 0 9\r\n",
        "ms k\r\n",
        "ms k x\r\n",
        "ms a 1 5\r\n",
        "set k 0 0 99999999999\r\n",
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        restart(talk);
        talk_send(talk, bytes_from_string(requests[i]));
        talk_expect(talk, bytes_from_string(UNAUTHENTICATED));
        assert_true(talk->closed);
    }
    restart(talk);
    talk_send(talk, bytes_from_string("POST / HTTP/1.1\r\n" LOGIN "flush_all\r\n"));
    assert_true(talk->closed);
    talk_expect(talk, bytes_from_string(""));
}

static void a_line_without_an_end_closes_the_connection(void **state) {
    struct talk *talk = *state;
    static const char *const heads[] = {"get ", "set ", "", "mg "};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        restart(talk);
        struct bytes line = talk_text(heads[i], 'k', 5000, "");
        talk_send(talk, line);
        free((char *)line.data);
        assert_true(talk->closed);
        talk_expect(talk, bytes_from_string("CLIENT_ERROR line too long\r\n"));
    }
}

static void what_is_no_user_and_password_is_judged_by_nobody(void **state) {
    struct talk *talk = *state;
    restart(talk);
    talk_ask(talk, "set any 0 0 3\r\nbob\r\n", BAD_FORMAT);
    talk_ask(talk, "set any 0 0 4\r\nbob \r\n", BAD_FORMAT);
    talk_ask(talk, "set any 0 0 0\r\n\r\n", BAD_FORMAT);
    talk_ask(talk, "set any 0 0 4\r\n    \r\n", BAD_FORMAT);
    talk_ask(talk, "set any 0 0 3 noreply\r\nbob\r\n", BAD_FORMAT); /* a login is answered */
    talk_ask(talk, "set any 0 0 15\r\nbob secret wordXX",
             "CLIENT_ERROR bad command line termination\r\n");
    struct bytes name = talk_text("set any 0 0 131\r\n", 'u', PROTO_LOGIN_USER_MAX + 1, " x\r\n");
    talk_ask(talk, name.data, BAD_FORMAT);
    free((char *)name.data);
    struct bytes password =
        talk_text("set any 0 0 514\r\nu ", 'p', PROTO_LOGIN_PASSWORD_MAX + 1, "\r\n");
    talk_ask(talk, password.data, BAD_FORMAT);
    free((char *)password.data);
    assert_int_equal(talk->logins, 0);

    password = talk_text("set any 0 0 513\r\nu ", 'p', PROTO_LOGIN_PASSWORD_MAX, "\r\n");
    talk_ask(talk, password.data, FAILURE);
    free((char *)password.data);
    assert_int_equal(talk->logins, 1);
    talk_ask(talk, LOGIN, "STORED\r\n");
}

/* Before a login, the daemon reads no value except that of a login. */
static void a_value_too_long_for_a_login_is_thrown_away_as_it_comes(void **state) {
    struct talk *talk = *state;
    restart(talk);
    talk_send(talk, bytes_from_string("set any 0 0 1000000\r\n"));
    talk_expect(talk, bytes_from_string(BAD_FORMAT));
    struct bytes piece = talk_text("", 'x', 1000, "");
    for (int i = 0; i < 1000; i++) {
        talk_send(talk, piece);
        assert_int_equal(talk->input.size, 0);
    }
    free((char *)piece.data);
    talk_ask(talk, "\r\n" LOGIN, "STORED\r\n");
}

static void the_line_of_a_login_may_say_anything_but_its_length(void **state) {
    struct talk *talk = *state;
    static const char *const lines[] = {
        "set any foo bar 15",  "set any 0 0 15 noreply",    "set any 0 0 15 more",
        " set  any 0   0  15", "set any 9 4000000000 15  ", "set \001\177 0 0 15",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        restart(talk);
        char request[200];
        snprintf(request, sizeof request, "%s\r\nbob secret word\r\n", lines[i]);
        talk_ask(talk, request, "STORED\r\n");
    }
    restart(talk);
    struct bytes line = talk_text("set ", 'k', 300, " 0 0 15\r\nbob secret word\r\n");
    talk_ask(talk, line.data, "STORED\r\n");
    free((char *)line.data);
}

static void a_login_that_is_cut_at_any_place_is_the_same(void **state) {
    struct talk *talk = *state;
    static const char stream[] = "get a\r\nadd a 0 0 3\r\nget\r\nset a 0 0 7\r\nbob bad\r\n" LOGIN
                                 "set a 0 0 1\r\nv\r\nget a\r\n";
    for (size_t cut = 1; cut < sizeof stream - 1; cut++) {
        restart(talk);
        talk_send(talk, bytes_from(stream, cut));
        talk_send(talk, bytes_from(stream + cut, sizeof stream - 1 - cut));
        talk_expect(talk, bytes_from_string(UNAUTHENTICATED UNAUTHENTICATED FAILURE
                                            "STORED\r\nSTORED\r\nVALUE a 0 1\r\nv\r\nEND\r\n"));
        assert_int_equal(talk->logins, 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TALK(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
        TALK(a_right_login_opens_the_pool_and_is_no_item),
        TALK(a_wrong_login_may_be_tried_again),
        TALK(before_the_login_nothing_is_done),
        TALK(a_storage_line_without_a_length_closes_the_connection),
        TALK(a_line_without_an_end_closes_the_connection),
        TALK(what_is_no_user_and_password_is_judged_by_nobody),
        TALK(a_value_too_long_for_a_login_is_thrown_away_as_it_comes),
        TALK(the_line_of_a_login_may_say_anything_but_its_length),
        TALK(a_login_that_is_cut_at_any_place_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
