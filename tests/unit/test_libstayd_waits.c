/* How long libstayd waits for a server that sends nothing or little, and for one that sends while
 * signals come. */
#include "scripted_server.h"

#include "alarms.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void a_server_that_says_nothing_is_given_up_in_time(void **state) {
    (void)state;
    answer("get k\r\n", NULL);
    assert_int_equal(get(), STAYD_DISCONNECTED);
    expect_failure(STAYD_DISCONNECTED, "timed out");
    assert_int_equal(error.timed_out, 1);
}

static void a_change_that_is_not_answered_in_time_is_of_unknown_outcome(void **state) {
    (void)state;
    answer("set k 0 0 1\r\nv\r\n", NULL);
    assert_int_equal(set(), STAYD_OUTCOME_UNKNOWN);
    assert_int_equal(error.timed_out, 1);
    expect_request("set k 0 0 1\r\nv\r\n");
}

/* The limit of the whole request holds even if a byte comes now and then. */
static void a_reply_that_trickles_is_given_up_in_time(void **state) {
    (void)state;
    static char reply[1 << 20]; /* one byte in each write: no machine sends that in time */
    memset(reply, 'v', sizeof reply);
    memcpy(reply, "VALUE k 0 1048600\r\n", 19);
    answer_bytes("get k\r\n", reply, sizeof reply, 1);
    stayd_close(client);
    struct stayd_options options;
    stayd_options_init(&options);
    options.total_timeout_ms = 1;
    open_client(&options);
    assert_int_equal(get(), STAYD_DISCONNECTED);
    assert_int_equal(error.timed_out, 1);
}

static int interrupt_at_once(void *user) {
    (*(unsigned *)user)++;
    return 1;
}

static void a_program_may_end_a_wait_that_a_signal_interrupts(void **state) {
    (void)state;
    unsigned asked = 0;
    struct stayd_options options;
    stayd_options_init(&options);
    options.interrupted = interrupt_at_once;
    options.interrupted_user = &asked;
    answer("get k\r\n", NULL);
    stayd_close(client);
    open_client(&options);
    signal_every_ms(5);
    assert_int_equal(get(), STAYD_INTERRUPTED);
    signal_every_ms(0);
    assert_int_equal(asked, 1);
}

static void signals_do_not_make_a_wait_longer(void **state) {
    (void)state;
    signal_every_ms(5);
    open_client(NULL); /* nobody accepts the connection */
    assert_int_equal(get(), STAYD_DISCONNECTED);
    signal_every_ms(0);
    expect_failure(STAYD_DISCONNECTED, "timed out");
}

static void a_full_queue_is_waited_for_in_spite_of_signals(void **state) {
    (void)state;
    int waiting[16];
    unsigned count = 0;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, strchr(server.url, ':') + 3);
    bool full = false;
    while (!full && count < 16) {
        waiting[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        full = connect(waiting[count++], (struct sockaddr *)&address, sizeof address) != 0;
    }
    assert_true(full);
    signal_every_ms(5);
    open_client(NULL);
    assert_int_equal(stayd_connect(client, 0, &error), STAYD_DISCONNECTED);
    expect_failure(STAYD_DISCONNECTED, "timed out");
    close(accept(server.listening, NULL, NULL));
    stayd_close(client);
    open_client(NULL);
    assert_int_equal(stayd_connect(client, 0, &error), STAYD_OK);
    signal_every_ms(0);
    while (count > 0) {
        close(waiting[--count]);
    }
}

static void signals_do_not_break_a_connect_over_tcp(void **state) {
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listening, 64), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &size), 0);
    char url[64];
    struct stayd_options options;
    stayd_options_init(&options);
    options.sockets_only = 1;
    snprintf(url, sizeof url, "memcached://127.0.0.1:%u/", ntohs(address.sin_port));
    signal_every_ms(1);
    for (int i = 0; i < 50; i++) {
        struct stayd *over_tcp = stayd_open(url, &options, &error);
        assert_int_equal(stayd_connect(over_tcp, 0, &error), STAYD_OK);
        stayd_close(over_tcp);
    }
    signal_every_ms(0);
    close(listening);
    strcat(url, "?restart_wait=0");
    struct stayd *refused = stayd_open(url, &options, &error);
    assert_int_equal(stayd_connect(refused, 0, &error), STAYD_DISCONNECTED);
    expect_failure(STAYD_DISCONNECTED, "refused");
    stayd_close(refused);
}

int main(void) {
    signal(SIGPIPE, SIG_DFL);
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_server_that_says_nothing_is_given_up_in_time),
        WITH_SERVER(a_change_that_is_not_answered_in_time_is_of_unknown_outcome),
        WITH_SERVER(a_reply_that_trickles_is_given_up_in_time),
        WITH_SERVER(a_program_may_end_a_wait_that_a_signal_interrupts),
        WITH_SERVER(signals_do_not_make_a_wait_longer),
        WITH_SERVER(a_full_queue_is_waited_for_in_spite_of_signals),
        cmocka_unit_test(signals_do_not_break_a_connect_over_tcp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
