/* Which requests libstayd sends again: when a connection breaks, when the server has too many
 * connections, and when a new connection asks for mappings. */
#include "scripted_server.h"

#include <signal.h>
#include <string.h>

static void a_read_whose_connection_breaks_is_sent_three_times(void **state) {
    (void)state;
    answer("get k\r\n", "VALUE k 0 10\r\nabc");
    assert_int_equal(get(), STAYD_DISCONNECTED);
    expect_failure(STAYD_DISCONNECTED, "closed the connection");
    expect_request("get k\r\nget k\r\nget k\r\n");
}

static void a_read_goes_on_over_a_new_connection(void **state) {
    (void)state;
    add_script("get k\r\n", "", 0, 0);
    answer("get k\r\n", "VALUE k 0 1\r\nv\r\nEND\r\n");
    assert_int_equal(get(), STAYD_OK);
    expect_request("get k\r\nget k\r\n");
}

static void a_change_that_was_read_and_not_answered_is_not_sent_again(void **state) {
    (void)state;
    answer("set k 0 0 1\r\nv\r\n", "");
    assert_int_equal(set(), STAYD_OUTCOME_UNKNOWN);
    expect_failure(STAYD_OUTCOME_UNKNOWN, "not known");
    assert_int_equal(error.timed_out, 0);
    expect_request("set k 0 0 1\r\nv\r\n");
}

/* The server closes each connection after its answer, so the next request finds the connection
 * closed. */
static void a_change_is_sent_again_if_it_was_surely_not_read(void **state) {
    (void)state;
    answer("set k 0 0 1\r\nv\r\n", "STORED\r\n");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(set(), STAYD_OK);
    }
    assert_int_equal(server.connections, 20);
}

static void a_batch_that_broke_knows_what_was_answered(void **state) {
    (void)state;
    answer("set a 0 0 1\r\nA\r\nset b 0 0 1\r\nB\r\nset c 0 0 1\r\nC\r\n",
           "STORED\r\nSERVER_ERROR object too large for cache\r\n");
    struct stayd_item items[] = {{.key = "a", .key_size = 1, .value = {.data = "A", .size = 1}},
                                 {.key = "b", .key_size = 1, .value = {.data = "B", .size = 1}},
                                 {.key = "c", .key_size = 1, .value = {.data = "C", .size = 1}}};
    assert_int_equal(stayd_set_many(client, items, 3, 0, &error), STAYD_OUTCOME_UNKNOWN);
    assert_int_equal(items[0].status, STAYD_OK);
    assert_int_equal(items[1].status, STAYD_TOO_LARGE);
    assert_int_equal(items[2].status, STAYD_OUTCOME_UNKNOWN);
    stop_serving();
    assert_int_equal(server.connections, 1);
}

static void a_server_with_too_many_connections_says_so(void **state) {
    (void)state;
    answer("", "ERROR Too many open connections\r\n");
    assert_int_equal(set(), STAYD_BUSY);
    expect_failure(STAYD_BUSY, "max_connections");
}

/* The second request is made during `stats`, while the connection of `stats` is in use. */
static void ask_again(void *user, const char *name, const char *value) {
    (void)user;
    (void)name;
    (void)value;
    get();
}

static void a_client_has_no_more_connections_than_it_may(void **state) {
    (void)state;
    struct stayd_options options;
    stayd_options_init(&options);
    options.max_connections = 1;
    answer("stats\r\n", "STAT a 1\r\nEND\r\n");
    stayd_close(client);
    open_client(&options);
    assert_int_equal(stayd_stats(client, 0, NULL, ask_again, NULL, &error), STAYD_OK);
    expect_failure(STAYD_BUSY, "all 1 connections");
}

static void a_change_asks_for_no_mappings(void **state) {
    (void)state;
    asks_for_mappings = true;
    answer("set k 0 0 1\r\nv\r\n", "STORED\r\n");
    assert_int_equal(set(), STAYD_OK);
    expect_request("set k 0 0 1\r\nv\r\n");
}

static void a_server_without_mappings_is_asked_for_them_once(void **state) {
    (void)state;
    asks_for_mappings = true;
    add_script("stayd_map\r\n", "ERROR\r\n", 7, 0);
    answer("get k\r\n", "END\r\n");
    assert_int_equal(get(), STAYD_NOT_FOUND);
    assert_int_equal(get(), STAYD_NOT_FOUND);
    expect_request("stayd_map\r\nget k\r\nget k\r\n");
}

/* This holds even if the reply is invalid, or names a socket that does not exist: the server may
 * be restarting, so it is asked again, once. */
static void a_question_for_mappings_does_no_harm(void **state) {
    static const char *const replies[] = {"",
                                          "MAP\r\n",
                                          "PATH 1 /tmp/stayd-nowhere/s\r\n",
                                          "PATH 1 relative\r\n",
                                          "PATH 1 \r\n",
                                          "PATH 1\r\n",
                                          "PATH \r\n",
                                          "PATH /tmp/stayd-nowhere/s\r\n",
                                          "ERROR\r\nmore\r\n"};
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        if (i > 0) {
            stop_listening(state);
            start_listening(state);
        }
        asks_for_mappings = true;
        bool names_socket = strstr(replies[i], "1 /") != NULL;
        for (int asked = 0; asked < 1 + names_socket; asked++) {
            add_script("stayd_map\r\n", replies[i], strlen(replies[i]), 0);
        }
        answer("get k\r\n", "END\r\n");
        assert_int_equal(get(), STAYD_NOT_FOUND);
        expect_request(names_socket ? "stayd_map\r\nstayd_map\r\nget k\r\n"
                                    : "stayd_map\r\nget k\r\n");
    }
}

int main(void) {
    signal(SIGPIPE, SIG_DFL);
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_read_whose_connection_breaks_is_sent_three_times),
        WITH_SERVER(a_read_goes_on_over_a_new_connection),
        WITH_SERVER(a_change_that_was_read_and_not_answered_is_not_sent_again),
        WITH_SERVER(a_change_is_sent_again_if_it_was_surely_not_read),
        WITH_SERVER(a_batch_that_broke_knows_what_was_answered),
        WITH_SERVER(a_server_with_too_many_connections_says_so),
        WITH_SERVER(a_client_has_no_more_connections_than_it_may),
        WITH_SERVER(a_change_asks_for_no_mappings),
        WITH_SERVER(a_server_without_mappings_is_asked_for_them_once),
        WITH_SERVER(a_question_for_mappings_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
