/* The C client against a server that says what the test wants, in as many pieces as it wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stayd.h"

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { TIMEOUT_MS = 300, REQUEST_MAX = 4096 };

/* Takes one connection; answers the first request with `reply`, `step` bytes to a write (0: all).
 */
static struct {
    char folder[32];
    char url[80];
    int listening;
    pthread_t thread;
    const char *reply;
    size_t reply_size;
    size_t step;
    size_t expected; /* bytes of a request */
    char request[REQUEST_MAX];
    size_t request_size;
} server;

static struct stayd *client;

static int start_listening(void **state) {
    (void)state;
    memset(&server, 0, sizeof server);
    strcpy(server.folder, "/tmp/stayd-client-XXXXXX");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (mkdtemp(server.folder) == NULL) {
        return -1;
    }
    snprintf(address.sun_path, sizeof address.sun_path, "%s/s", server.folder);
    snprintf(server.url, sizeof server.url, "unix://%s/s", server.folder);
    server.listening = socket(AF_UNIX, SOCK_STREAM, 0);
    client = NULL;
    return bind(server.listening, (struct sockaddr *)&address, sizeof address) != 0 ||
           listen(server.listening, 5) != 0;
}

static int stop_listening(void **state) {
    (void)state;
    stayd_close(client);
    if (server.thread != 0) {
        pthread_join(server.thread, NULL);
    }
    close(server.listening);
    unlink(strchr(server.url, ':') + 3);
    return rmdir(server.folder);
}

static void *serve(void *argument) {
    (void)argument;
    int fd = accept(server.listening, NULL, NULL);
    while (server.request_size < server.expected) {
        ssize_t size =
            recv(fd, server.request + server.request_size, REQUEST_MAX - server.request_size, 0);
        if (size <= 0) {
            break;
        }
        server.request_size += (size_t)size;
    }
    size_t step = server.step > 0 ? server.step : server.reply_size;
    for (size_t sent = 0; sent < server.reply_size; sent += step) {
        size_t left = server.reply_size - sent;
        send(fd, server.reply + sent, left < step ? left : step, MSG_NOSIGNAL);
    }
    if (server.reply == NULL) { /* nothing is said until the client goes */
        char byte;
        recv(fd, &byte, 1, 0);
    }
    close(fd);
    return NULL;
}

/* From now on the server waits for `request` and answers `reply`, then closes. */
static void answer_bytes(const char *request, const char *reply, size_t size, size_t step) {
    server.expected = strlen(request);
    server.reply = reply;
    server.reply_size = size;
    server.step = step;
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
    char error[STAYD_ERROR_MAX];
    client = stayd_open(server.url, TIMEOUT_MS, error);
    assert_non_null(client);
}

static void answer(const char *request, const char *reply) {
    answer_bytes(request, reply, reply != NULL ? strlen(reply) : 0, 0);
}

static void expect_request(const char *request) {
    pthread_join(server.thread, NULL);
    server.thread = 0;
    assert_int_equal(server.request_size, strlen(request));
    assert_memory_equal(server.request, request, server.request_size);
}

static void a_value_comes_as_it_is_in_however_many_pieces(void **state) {
    static const char reply[] = "VALUE k 7 8\r\na\0\r\nEND\r\r\nEND\r\n";
    (void)state;
    answer_bytes("get k\r\n", reply, sizeof reply - 1, 1);
    struct stayd_value value;
    assert_int_equal(stayd_get(client, "k", 1, &value), STAYD_OK);
    assert_int_equal(value.size, 8);
    assert_int_equal(value.flags, 7);
    assert_memory_equal(value.data, "a\0\r\nEND\r", 8);
    expect_request("get k\r\n");
}

static void a_large_value_is_whole(void **state) {
    (void)state;
    static char reply[300100];
    int head = sprintf(reply, "VALUE k 0 300000\r\n");
    memset(reply + head, 'v', 300000);
    int end = sprintf(reply + head + 300000, "\r\nEND\r\n");
    answer_bytes("get k\r\n", reply, (size_t)(head + 300000 + end), 10000);
    struct stayd_value value;
    assert_int_equal(stayd_get(client, "k", 1, &value), STAYD_OK);
    assert_int_equal(value.size, 300000);
    assert_memory_equal(value.data, reply + head, 300000);
}

static void an_item_that_is_not_there_is_not_found(void **state) {
    (void)state;
    answer("get k\r\n", "END\r\n");
    struct stayd_value value;
    assert_int_equal(stayd_get(client, "k", 1, &value), STAYD_NOT_FOUND);
    assert_null(value.data);
}

static void set_sends_the_bytes_as_they_are(void **state) {
    (void)state;
    answer("set k 5 60 4\r\na\r\nb\r\n", "STORED\r\n");
    assert_int_equal(stayd_set(client, "k", 1, "a\r\nb", 4, 5, 60), STAYD_OK);
    expect_request("set k 5 60 4\r\na\r\nb\r\n");
}

/* 30 days are the most that the protocol takes for a duration. */
static void a_time_to_live_beyond_30_days_is_sent_as_a_date(void **state) {
    (void)state;
    answer("touch k 1700000000\r\n", "TOUCHED\r\n");
    time_t before = time(NULL);
    assert_int_equal(stayd_touch(client, "k", 1, 30 * 86400 + 1), STAYD_OK);
    pthread_join(server.thread, NULL);
    server.thread = 0;
    long long date = strtoll(server.request + strlen("touch k "), NULL, 10);
    assert_in_range(date, before + 30 * 86400 + 1, time(NULL) + 30 * 86400 + 1);
}

static void thirty_days_are_sent_as_they_are(void **state) {
    (void)state;
    answer("touch k 2592000\r\n", "NOT_FOUND\r\n");
    assert_int_equal(stayd_touch(client, "k", 1, 30 * 86400), STAYD_NOT_FOUND);
    expect_request("touch k 2592000\r\n");
}

static void what_the_server_refuses_is_told_in_its_words(void **state) {
    (void)state;
    answer("delete k\r\n", "SERVER_ERROR out of order\r\n");
    assert_int_equal(stayd_delete(client, "k", 1), STAYD_REFUSED);
    assert_non_null(strstr(stayd_error(client), "SERVER_ERROR out of order"));
}

static void a_key_that_cannot_be_sent_is_not_sent(void **state) {
    (void)state;
    answer("delete good\r\n", "DELETED\r\n");
    char large[251];
    memset(large, 'k', sizeof large);
    struct stayd_value value;
    assert_int_equal(stayd_delete(client, "", 0), STAYD_INVALID);
    assert_int_equal(stayd_get(client, "a b", 3, &value), STAYD_INVALID);
    assert_int_equal(stayd_set(client, "a\r\nflush_all\r\n", 14, "v", 1, 0, 0), STAYD_INVALID);
    assert_int_equal(stayd_touch(client, large, sizeof large, 0), STAYD_INVALID);
    assert_int_equal(stayd_stats(client, "a b", NULL, NULL), STAYD_INVALID);
    assert_int_equal(stayd_delete(client, "good", 4), STAYD_OK);
    expect_request("delete good\r\n");
}

static void collect(void *user, const char *name, const char *value) {
    char *text = user;
    sprintf(text + strlen(text), "%s=%s;", name, value);
}

static void statistics_are_told_one_by_one(void **state) {
    (void)state;
    char text[200] = "";
    answer("stats settings\r\n", "STAT a 1\r\nSTAT b two words\r\nEND\r\n");
    assert_int_equal(stayd_stats(client, "settings", collect, text), STAYD_OK);
    assert_string_equal(text, "a=1;b=two words;");
}

static void a_version_is_cut_off_to_the_room_there_is(void **state) {
    (void)state;
    char version[6];
    answer("version\r\n", "VERSION 1.6.18+x\r\n");
    assert_int_equal(stayd_version(client, version, sizeof version), STAYD_OK);
    assert_string_equal(version, "1.6.1");
}

static void a_flush_is_one_word(void **state) {
    (void)state;
    answer("flush_all\r\n", "OK\r\n");
    assert_int_equal(stayd_flush(client), STAYD_OK);
    expect_request("flush_all\r\n");
}

/* Whatever goes wrong with the connection, every later call says so at once. */
static void expect_no_more_use(const char *part) {
    struct stayd_value value;
    assert_int_equal(stayd_get(client, "k", 1, &value), STAYD_DISCONNECTED);
    assert_non_null(strstr(stayd_error(client), part));
    assert_int_equal(stayd_set(client, "k", 1, "v", 1, 0, 0), STAYD_DISCONNECTED);
    assert_non_null(strstr(stayd_error(client), part));
}

static void a_server_that_closes_is_disconnected(void **state) {
    (void)state;
    answer("get k\r\n", "VALUE k 0 10\r\nabc");
    expect_no_more_use("has closed");
}

static void a_server_that_says_nothing_is_given_up_in_time(void **state) {
    (void)state;
    answer("get k\r\n", NULL);
    expect_no_more_use("timed out");
}

static void note_signal(int number) {
    (void)number;
}

/* From now on a signal comes every few milliseconds, and interrupts every system call; 0: no more.
 */
static void signal_every_ms(unsigned ms) {
    const struct sigaction action = {.sa_handler = note_signal}; /* no SA_RESTART */
    const struct timeval interval = {0, ms * 1000};
    const struct itimerval timer = {interval, interval};
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void signals_do_not_make_a_wait_longer(void **state) {
    (void)state;
    char error[STAYD_ERROR_MAX];
    signal_every_ms(5);
    client = stayd_open(server.url, TIMEOUT_MS, error); /* nobody takes it from the queue */
    assert_non_null(client);
    expect_no_more_use("timed out");
    signal_every_ms(0);
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
    char error[STAYD_ERROR_MAX];
    signal_every_ms(5);
    assert_null(stayd_open(server.url, TIMEOUT_MS, error));
    assert_non_null(strstr(error, "timed out"));
    close(accept(server.listening, NULL, NULL));
    client = stayd_open(server.url, TIMEOUT_MS, error);
    assert_non_null(client);
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
    char error[STAYD_ERROR_MAX];
    snprintf(url, sizeof url, "memcached://127.0.0.1:%u/", ntohs(address.sin_port));
    signal_every_ms(1);
    for (int i = 0; i < 50; i++) {
        struct stayd *over_tcp = stayd_open(url, TIMEOUT_MS, error);
        assert_non_null(over_tcp);
        stayd_close(over_tcp);
    }
    signal_every_ms(0);
    close(listening);
    assert_null(stayd_open(url, TIMEOUT_MS, error));
    assert_non_null(strstr(error, "refused"));
}

static void a_server_that_speaks_otherwise_is_disconnected(void **state) {
    (void)state;
    answer("get k\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n");
    expect_no_more_use("not a memcached server");
}

static void a_value_of_another_length_is_disconnected(void **state) {
    (void)state;
    answer("get k\r\n", "VALUE k 0 3\r\nabcd\r\nEND\r\n");
    expect_no_more_use("length does not match");
}

static void a_length_that_cannot_be_is_disconnected(void **state) {
    (void)state;
    answer("get k\r\n", "VALUE k 0 99999999999999999\r\nabcd\r\nEND\r\n");
    expect_no_more_use("not a memcached server");
}

static void what_is_no_address_is_an_error(void **state) {
    (void)state;
    static const char *const urls[] = {"",
                                       "localhost",
                                       ":11211",
                                       "localhost:",
                                       "http://localhost:1/",
                                       "memcached://localhost/",
                                       "memcached://localhost:1/2",
                                       "unix:///tmp/stayd-nowhere/s",
                                       "unix:"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        char error[STAYD_ERROR_MAX] = "";
        assert_null(stayd_open(urls[i], TIMEOUT_MS, error));
        assert_non_null(strstr(error, urls[i]));
    }
    stayd_close(NULL);
}

int main(void) {
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, start_listening, stop_listening)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_value_comes_as_it_is_in_however_many_pieces),
        WITH_SERVER(a_large_value_is_whole),
        WITH_SERVER(an_item_that_is_not_there_is_not_found),
        WITH_SERVER(set_sends_the_bytes_as_they_are),
        WITH_SERVER(a_time_to_live_beyond_30_days_is_sent_as_a_date),
        WITH_SERVER(thirty_days_are_sent_as_they_are),
        WITH_SERVER(what_the_server_refuses_is_told_in_its_words),
        WITH_SERVER(a_key_that_cannot_be_sent_is_not_sent),
        WITH_SERVER(statistics_are_told_one_by_one),
        WITH_SERVER(a_version_is_cut_off_to_the_room_there_is),
        WITH_SERVER(a_flush_is_one_word),
        WITH_SERVER(a_server_that_closes_is_disconnected),
        WITH_SERVER(a_server_that_says_nothing_is_given_up_in_time),
        WITH_SERVER(signals_do_not_make_a_wait_longer),
        WITH_SERVER(a_full_queue_is_waited_for_in_spite_of_signals),
        cmocka_unit_test(signals_do_not_break_a_connect_over_tcp),
        WITH_SERVER(a_server_that_speaks_otherwise_is_disconnected),
        WITH_SERVER(a_value_of_another_length_is_disconnected),
        WITH_SERVER(a_length_that_cannot_be_is_disconnected),
        cmocka_unit_test(what_is_no_address_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
