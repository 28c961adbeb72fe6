/* The C client against a scripted server, which sends its replies in pieces of any size. */
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

enum { TIMEOUT_MS = 300, REQUEST_MAX = 4096, SCRIPTS_MAX = 4 };

/* Answers the first request of the n-th connection with the n-th script, or with the last there is.
 */
static struct {
    char folder[32];
    char url[80];
    int listening;
    pthread_t thread;
    bool is_running;
    struct script {
        const char *reply; /* NULL: nothing is said until the client goes */
        size_t reply_size;
        size_t step;     /* bytes to a write; 0: all */
        size_t expected; /* bytes of a request, before the reply */
    } scripts[SCRIPTS_MAX];
    unsigned script_count;
    unsigned connections;      /* taken so far */
    char request[REQUEST_MAX]; /* of all connections */
    size_t request_size;
} server;

static struct stayd *client;
static struct stayd_error error;
static bool asks_for_mappings;

static int start_listening(void **state) {
    (void)state;
    memset(&server, 0, sizeof server);
    memset(&error, 0, sizeof error);
    strcpy(server.folder, "/tmp/stayd-client-XXXXXX");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (mkdtemp(server.folder) == NULL) {
        return -1;
    }
    snprintf(address.sun_path, sizeof address.sun_path, "%s/s", server.folder);
    snprintf(server.url, sizeof server.url, "unix://%s/s", server.folder);
    server.listening = socket(AF_UNIX, SOCK_STREAM, 0);
    client = NULL;
    asks_for_mappings = false;
    return bind(server.listening, (struct sockaddr *)&address, sizeof address) != 0 ||
           listen(server.listening, 5) != 0;
}

static void stop_serving(void) {
    shutdown(server.listening, SHUT_RDWR);
    if (server.is_running) {
        pthread_join(server.thread, NULL);
        server.is_running = false;
    }
}

static int stop_listening(void **state) {
    (void)state;
    stayd_close(client);
    stop_serving();
    close(server.listening);
    unlink(strchr(server.url, ':') + 3);
    return rmdir(server.folder);
}

static void serve_one(int fd, const struct script *script) {
    size_t got = 0;
    while (got < script->expected) {
        ssize_t size =
            recv(fd, server.request + server.request_size, REQUEST_MAX - server.request_size, 0);
        if (size <= 0) {
            return;
        }
        got += (size_t)size;
        server.request_size += (size_t)size;
    }
    size_t step = script->step > 0 ? script->step : script->reply_size;
    for (size_t sent = 0; sent < script->reply_size; sent += step) {
        size_t left = script->reply_size - sent;
        send(fd, script->reply + sent, left < step ? left : step, MSG_NOSIGNAL);
    }
    if (script->reply == NULL) {
        char byte;
        recv(fd, &byte, 1, 0);
    }
}

static void *serve(void *argument) {
    (void)argument;
    int fd;
    while ((fd = accept(server.listening, NULL, NULL)) >= 0) {
        unsigned number = server.connections++;
        number = number < server.script_count ? number : server.script_count - 1;
        serve_one(fd, &server.scripts[number]);
        close(fd);
    }
    return NULL;
}

static void open_client(const struct stayd_options *given) {
    struct stayd_options options;
    stayd_options_init(&options);
    if (given != NULL) {
        options = *given;
    }
    options.timeout_ms = TIMEOUT_MS;
    options.connect_timeout_ms = TIMEOUT_MS;
    options.restart_wait_ms = -1;
    options.sockets_only = !asks_for_mappings;
    client = stayd_open(server.url, &options, &error);
    assert_non_null(client);
}

static void add_script(const char *request, const char *reply, size_t size, size_t step) {
    server.scripts[server.script_count++] = (struct script){
        .expected = strlen(request), .reply = reply, .reply_size = size, .step = step};
}

static void start_serving(void) {
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
    server.is_running = true;
    open_client(NULL);
}

/* From now on the server waits for `request` and answers `reply`, then closes. */
static void answer_bytes(const char *request, const char *reply, size_t size, size_t step) {
    add_script(request, reply, size, step);
    start_serving();
}

static void answer(const char *request, const char *reply) {
    answer_bytes(request, reply, reply != NULL ? strlen(reply) : 0, 0);
}

static void expect_request(const char *request) {
    stop_serving();
    assert_int_equal(server.request_size, strlen(request));
    assert_memory_equal(server.request, request, server.request_size);
}

/* Gets the item k. */
static enum stayd_status get(void) {
    struct stayd_value value = {0};
    enum stayd_status status = stayd_get(client, "k", 1, &value, &error);
    stayd_value_free(&value);
    return status;
}

static enum stayd_status set(void) {
    return stayd_set(client, "k", 1, "v", 1, 0, 0, &error);
}

static void a_value_comes_as_it_is_in_however_many_pieces(void **state) {
    static const char reply[] = "VALUE k 7 8\r\na\0\r\nEND\r\r\nEND\r\n";
    (void)state;
    answer_bytes("get k\r\n", reply, sizeof reply - 1, 1);
    struct stayd_value value = {0};
    assert_int_equal(stayd_get(client, "k", 1, &value, &error), STAYD_OK);
    assert_int_equal(value.size, 8);
    assert_int_equal(value.flags, 7);
    assert_memory_equal(value.data, "a\0\r\nEND\r", 8);
    stayd_value_free(&value);
    expect_request("get k\r\n");
}

static void a_large_value_is_whole(void **state) {
    (void)state;
    static char reply[300100];
    int head = sprintf(reply, "VALUE k 0 300000\r\n");
    memset(reply + head, 'v', 300000);
    int end = sprintf(reply + head + 300000, "\r\nEND\r\n");
    answer_bytes("get k\r\n", reply, (size_t)(head + 300000 + end), 10000);
    struct stayd_value value = {0};
    assert_int_equal(stayd_get(client, "k", 1, &value, &error), STAYD_OK);
    assert_int_equal(value.size, 300000);
    assert_memory_equal(value.data, reply + head, 300000);
    stayd_value_free(&value);
}

static void an_item_that_is_not_there_is_not_found(void **state) {
    (void)state;
    answer("get k\r\n", "END\r\n");
    assert_int_equal(get(), STAYD_NOT_FOUND);
}

static void set_sends_the_bytes_as_they_are(void **state) {
    (void)state;
    answer("set k 5 60 4\r\na\r\nb\r\n", "STORED\r\n");
    assert_int_equal(stayd_set(client, "k", 1, "a\r\nb", 4, 5, 60, &error), STAYD_OK);
    expect_request("set k 5 60 4\r\na\r\nb\r\n");
}

/* 30 days are the most that the protocol takes for a duration. */
static void a_time_to_live_beyond_30_days_is_sent_as_a_date(void **state) {
    (void)state;
    answer("touch k 1700000000\r\n", "TOUCHED\r\n");
    time_t before = time(NULL);
    assert_int_equal(stayd_touch(client, "k", 1, 30 * 86400 + 1, &error), STAYD_OK);
    stop_serving();
    long long date = strtoll(server.request + strlen("touch k "), NULL, 10);
    assert_in_range(date, before + 30 * 86400 + 1, time(NULL) + 30 * 86400 + 1);
}

static void thirty_days_are_sent_as_they_are(void **state) {
    (void)state;
    answer("touch k 2592000\r\n", "NOT_FOUND\r\n");
    assert_int_equal(stayd_touch(client, "k", 1, 30 * 86400, &error), STAYD_NOT_FOUND);
    expect_request("touch k 2592000\r\n");
}

static void what_the_server_refuses_is_told_in_its_words(void **state) {
    (void)state;
    answer("delete k\r\n", "SERVER_ERROR out of order\r\n");
    assert_int_equal(stayd_delete(client, "k", 1, &error), STAYD_SERVER_ERROR);
    assert_non_null(strstr(error.message, "SERVER_ERROR out of order"));
}

static void a_key_that_cannot_be_sent_is_not_sent(void **state) {
    (void)state;
    answer("delete good\r\n", "DELETED\r\n");
    char large[251];
    memset(large, 'k', sizeof large);
    struct stayd_value value = {0};
    assert_int_equal(stayd_delete(client, "", 0, &error), STAYD_INVALID);
    assert_int_equal(stayd_get(client, "a b", 3, &value, &error), STAYD_INVALID);
    assert_int_equal(stayd_set(client, "a\r\nflush_all\r\n", 14, "v", 1, 0, 0, &error),
                     STAYD_INVALID);
    assert_int_equal(stayd_touch(client, large, sizeof large, 0, &error), STAYD_INVALID);
    assert_int_equal(stayd_stats(client, 0, "a b", NULL, NULL, &error), STAYD_INVALID);
    assert_int_equal(stayd_stats(client, 1, NULL, NULL, NULL, &error), STAYD_INVALID);
    assert_int_equal(stayd_meta_delete(client, "k", 1, "q", NULL, &error), STAYD_INVALID);
    assert_int_equal(stayd_meta_delete(client, "k", 1, "O1\r\nflush_all", NULL, &error),
                     STAYD_INVALID);
    struct stayd_item items[] = {{.key = "good", .key_size = 4}, {.key = "a b", .key_size = 3}};
    assert_int_equal(stayd_delete_many(client, items, 2, &error), STAYD_INVALID);
    assert_int_equal(stayd_delete(client, "good", 4, NULL), STAYD_OK);
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
    assert_int_equal(stayd_stats(client, 0, "settings", collect, text, &error), STAYD_OK);
    assert_string_equal(text, "a=1;b=two words;");
}

static void a_version_is_cut_off_to_the_room_there_is(void **state) {
    (void)state;
    char version[6];
    answer("version\r\n", "VERSION 1.6.18+x\r\n");
    assert_int_equal(stayd_version(client, 0, version, sizeof version, &error), STAYD_OK);
    assert_string_equal(version, "1.6.1");
}

static void a_flush_is_one_word(void **state) {
    (void)state;
    answer("flush_all\r\n", "OK\r\n");
    assert_int_equal(stayd_flush_all(client, 0, &error), STAYD_OK);
    expect_request("flush_all\r\n");
}

/* Within the statistics, so that their connection is in use. */
static void ask_again(void *user, const char *name, const char *value) {
    (void)user;
    (void)name;
    (void)value;
    get();
}

static void expect_failure(enum stayd_status expected, const char *part) {
    assert_int_equal(error.status, expected);
    assert_non_null(strstr(error.message, part));
}

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

/* The server closes each connection behind its answer: the next request finds an end. */
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

/* A byte now and then does not extend the limit of the whole. */
static void a_reply_that_trickles_is_given_up_in_time(void **state) {
    (void)state;
    static char reply[4000];
    memset(reply, 'v', sizeof reply);
    memcpy(reply, "VALUE k 0 3900\r\n", 16);
    answer_bytes("get k\r\n", reply, sizeof reply, 1);
    stayd_close(client);
    struct stayd_options options;
    stayd_options_init(&options);
    options.total_timeout_ms = 1;
    open_client(&options);
    assert_int_equal(get(), STAYD_DISCONNECTED);
}

static void a_server_with_too_many_connections_says_so(void **state) {
    (void)state;
    answer("", "ERROR Too many open connections\r\n");
    assert_int_equal(set(), STAYD_BUSY);
    expect_failure(STAYD_BUSY, "max_connections");
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

static void many_keys_are_one_request(void **state) {
    (void)state;
    answer("gets a b a c\r\n", "VALUE a 1 1 11\r\nA\r\nVALUE a 1 1 11\r\nA\r\n"
                               "VALUE c 3 2 13\r\nCC\r\nEND\r\n");
    struct stayd_item items[] = {{.key = "a", .key_size = 1},
                                 {.key = "b", .key_size = 1},
                                 {.key = "a", .key_size = 1},
                                 {.key = "c", .key_size = 1}};
    assert_int_equal(stayd_get_many(client, items, 4, &error), STAYD_OK);
    assert_int_equal(items[0].status, STAYD_OK);
    assert_int_equal(items[1].status, STAYD_NOT_FOUND);
    assert_int_equal(items[2].status, STAYD_OK);
    assert_string_equal(items[3].value.data, "CC");
    assert_int_equal(items[3].value.cas, 13);
    stayd_items_free(items, 4);
    expect_request("gets a b a c\r\n");
}

static void a_value_of_another_key_is_not_taken(void **state) {
    (void)state;
    answer("get k\r\n", "VALUE other 0 1\r\nv\r\nEND\r\n");
    assert_int_equal(get(), STAYD_PROTOCOL);
    expect_failure(STAYD_PROTOCOL, "not asked for");
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

/* Neither what is no reply, nor a socket that is not there. */
static void a_question_for_mappings_does_no_harm(void **state) {
    static const char *const replies[] = {"", "MAP\r\n", "PATH /tmp/stayd-nowhere/s\r\n",
                                          "PATH relative\r\n", "ERROR\r\nmore\r\n"};
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        if (i > 0) {
            stop_listening(state);
            start_listening(state);
        }
        asks_for_mappings = true;
        add_script("stayd_map\r\n", replies[i], strlen(replies[i]), 0);
        answer("get k\r\n", "END\r\n");
        assert_int_equal(get(), STAYD_NOT_FOUND);
        expect_request("stayd_map\r\nget k\r\n");
    }
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

static void a_meta_reply_is_taken_apart(void **state) {
    (void)state;
    answer("mg k v t Oabc\r\n", "VA 2 t-1 Oabc\r\nhi\r\n");
    struct stayd_meta meta = {.code = ""};
    assert_int_equal(stayd_meta_get(client, "k", 1, "v t Oabc", &meta, &error), STAYD_OK);
    assert_string_equal(meta.code, "VA");
    assert_string_equal(meta.flags, "t-1 Oabc");
    assert_string_equal(meta.value.data, "hi");
    stayd_value_free(&meta.value);
    expect_request("mg k v t Oabc\r\n");
}

static void signals_do_not_make_a_wait_longer(void **state) {
    (void)state;
    signal_every_ms(5);
    open_client(NULL); /* nobody takes it from the queue */
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

static void a_server_that_speaks_otherwise_is_disconnected(void **state) {
    (void)state;
    answer("get k\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_int_equal(get(), STAYD_PROTOCOL);
    expect_failure(STAYD_PROTOCOL, "another kind of server");
}

static void a_value_of_another_length_is_disconnected(void **state) {
    (void)state;
    answer("get k\r\n", "VALUE k 0 3\r\nabcd\r\nEND\r\n");
    assert_int_equal(get(), STAYD_PROTOCOL);
    expect_failure(STAYD_PROTOCOL, "length does not match");
}

static void a_length_that_cannot_be_is_disconnected(void **state) {
    (void)state;
    answer("get k\r\n", "VALUE k 0 99999999999999999\r\nabcd\r\nEND\r\n");
    assert_int_equal(get(), STAYD_PROTOCOL);
    expect_failure(STAYD_PROTOCOL, "another kind of server");
}

static void what_is_no_address_is_an_error(void **state) {
    (void)state;
    static const char *const urls[] = {"",
                                       ":11211",
                                       "localhost:",
                                       "http://localhost:1/",
                                       "memcached://localhost:1/2",
                                       "memcached://localhost:1/?speed=1",
                                       "memcached://localhost:1/?timeout=0",
                                       "memcached://localhost:1/?timeout=1e3",
                                       "memcached://localhost:1/?ca=/etc/ssl/ours.pem",
                                       "memcacheds://localhost:1/?ca=ours.pem",
                                       "memcached://user@localhost:1/",
                                       "memcached://localhost:0/",
                                       "memcached://localhost:99999/",
                                       "memcached://[::1/",
                                       "unix:///",
                                       "unix:"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        memset(&error, 0, sizeof error);
        assert_null(stayd_open(urls[i], NULL, &error));
        assert_int_equal(error.status, STAYD_INVALID);
    }
    stayd_close(NULL);
}

static void an_address_is_shown_without_its_password(void **state) {
    (void)state;
    static const struct {
        const char *given;
        const char *shown;
    } urls[] = {{"localhost", "memcached://localhost:11211/"},
                {"memcached://u:p%20w@[::1]:11200/?timeout=0.5", "memcached://[::1]:11200/"},
                {"memcacheds://example.org", "memcacheds://example.org:11211/"},
                {"unix://web:secret@/run/s.sock", "unix:///run/s.sock"},
                {"unix:/run/s.sock?idle_timeout=9", "unix:///run/s.sock"},
                {" /run/s.sock ", "unix:///run/s.sock"}};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct stayd *opened = stayd_open(urls[i].given, NULL, &error);
        assert_non_null(opened);
        assert_string_equal(stayd_server_url(opened, 0), urls[i].shown);
        stayd_close(opened);
    }
    assert_null(stayd_open("memcached://web:secret@localhost:1/2", NULL, &error));
    assert_null(strstr(error.message, "secret"));
    struct stayd *both = stayd_open("a:1, b:2;c", NULL, &error);
    assert_int_equal(stayd_server_count(both), 3);
    assert_string_equal(stayd_server_url(both, 1), "memcached://b:2/");
    assert_null(stayd_server_url(both, 3));
    stayd_close(both);
}

int main(void) {
    signal(SIGPIPE, SIG_DFL);
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
        WITH_SERVER(a_read_whose_connection_breaks_is_sent_three_times),
        WITH_SERVER(a_read_goes_on_over_a_new_connection),
        WITH_SERVER(a_change_that_was_read_and_not_answered_is_not_sent_again),
        WITH_SERVER(a_change_is_sent_again_if_it_was_surely_not_read),
        WITH_SERVER(a_batch_that_broke_knows_what_was_answered),
        WITH_SERVER(a_change_that_is_not_answered_in_time_is_of_unknown_outcome),
        WITH_SERVER(a_reply_that_trickles_is_given_up_in_time),
        WITH_SERVER(a_server_with_too_many_connections_says_so),
        WITH_SERVER(a_client_has_no_more_connections_than_it_may),
        WITH_SERVER(many_keys_are_one_request),
        WITH_SERVER(a_value_of_another_key_is_not_taken),
        WITH_SERVER(a_program_may_end_a_wait_that_a_signal_interrupts),
        WITH_SERVER(a_meta_reply_is_taken_apart),
        WITH_SERVER(a_change_asks_for_no_mappings),
        WITH_SERVER(a_server_without_mappings_is_asked_for_them_once),
        WITH_SERVER(a_question_for_mappings_does_no_harm),
        WITH_SERVER(a_server_that_says_nothing_is_given_up_in_time),
        WITH_SERVER(signals_do_not_make_a_wait_longer),
        WITH_SERVER(a_full_queue_is_waited_for_in_spite_of_signals),
        cmocka_unit_test(signals_do_not_break_a_connect_over_tcp),
        WITH_SERVER(a_server_that_speaks_otherwise_is_disconnected),
        WITH_SERVER(a_value_of_another_length_is_disconnected),
        WITH_SERVER(a_length_that_cannot_be_is_disconnected),
        cmocka_unit_test(what_is_no_address_is_an_error),
        cmocka_unit_test(an_address_is_shown_without_its_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
