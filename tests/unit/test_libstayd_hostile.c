/* libstayd and servers that send invalid replies, or none. libstayd uses only replies to its own
 * request, and no call waits longer than its timeouts. The servers are threads of the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alarms.h"
#include "stayd.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ITEMS = 3, LATE_MS = 5000 /* of this machine */ };

/* Sends each connection the reply when its first line has come, again and again, and then closes it
 * or (`holds`) keeps it open. */
struct fake {
    const char *reply; /* NULL: nothing */
    bool holds;
    bool floods;
    bool one_only; /* stops listening after the first connection */
    int delay_ms;  /* before the reply */
    atomic_uint accepted;
    atomic_uint requests;
    char said[256]; /* the first bytes that the latest client sent */
    int listener;
    atomic_bool ends;
    pthread_t thread;
    char path[64];
};

static void pause_ms(int ms) {
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool fake_send(int end, const char *text) {
    return send(end, text, strlen(text), MSG_NOSIGNAL) > 0;
}

static void fake_serve(struct fake *fake, int end) {
    do {
        ssize_t got = recv(end, fake->said, sizeof fake->said - 1, 0);
        if (got <= 0) {
            break;
        }
        fake->said[got] = '\0';
        fake->requests++;
        pause_ms(fake->delay_ms);
        bool goes_on = fake->reply == NULL || fake_send(end, fake->reply);
        while (fake->floods && goes_on && !fake->ends) {
            goes_on = fake_send(end, fake->reply);
        }
    } while (fake->holds && !fake->ends);
    close(end);
}

static void *fake_run(void *argument) {
    struct fake *fake = argument;
    while (!fake->ends) {
        int end = accept(fake->listener, NULL, NULL);
        if (end < 0 && errno == EMFILE) { /* a test has taken all descriptors, for a moment */
            pause_ms(1);
            continue;
        }
        if (end < 0) {
            break;
        }
        if (fake->one_only) {
            close(fake->listener);
            fake->listener = -1;
            unlink(fake->path);
        }
        fake->accepted++;
        fake_serve(fake, end);
    }
    return NULL;
}

static void fake_start(struct fake *fake) {
    static unsigned number;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(fake->path, sizeof fake->path, "/tmp/libstayd-hostile-%d-%u", (int)getpid(), number++);
    strcpy(address.sun_path, fake->path);
    fake->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fake->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fake->listener, 8), 0);
    assert_int_equal(pthread_create(&fake->thread, NULL, fake_run, fake), 0);
}

/* The client has closed, so the connection of the server ends. */
static void fake_stop(struct fake *fake) {
    fake->ends = true;
    if (fake->listener >= 0) {
        shutdown(fake->listener, SHUT_RDWR);
    }
    pthread_join(fake->thread, NULL);
    if (fake->listener >= 0) {
        close(fake->listener);
    }
    unlink(fake->path);
}

static struct stayd *open_client(const char *servers, int timeout_ms, int total_ms,
                                 int restart_ms) {
    struct stayd_options options;
    struct stayd_error error;
    stayd_options_init(&options);
    options.sockets_only = 1;
    options.timeout_ms = timeout_ms;
    options.total_timeout_ms = total_ms;
    options.restart_wait_ms = restart_ms;
    struct stayd *client = stayd_open(servers, &options, &error);
    assert_non_null(client);
    return client;
}

static void name_items(struct stayd_item items[ITEMS]) {
    static const char *const keys[ITEMS] = {"a", "b", "c"};
    for (int i = 0; i < ITEMS; i++) {
        items[i] = (struct stayd_item){.key = keys[i], .key_size = 1};
    }
}

static void a_url_that_is_refused_fits_its_message_and_tells_no_password(void **state) {
    (void)state;
    static const char *const urls[] = {"u:secret@h:1/x", "x://u:secret@h", "h//u:secret@h:99999",
                                       "memcached://u:secret@h:99999", "secret//@"};
    char url[4096];
    struct stayd_error error;
    for (size_t length = 1; length < 3000; length += 97) {
        memset(url, 'a', length);
        strcpy(url + length, "://u:secret@h/x");
        assert_null(stayd_open(url, NULL, &error));
        assert_null(strstr(error.message, "secret"));
        assert_true(strlen(error.message) < sizeof error.message);
    }
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        assert_null(stayd_open(urls[i], NULL, &error));
        assert_null(strstr(error.message, "secret"));
    }
}

static void times_below_zero_are_refused(void **state) {
    (void)state;
    struct stayd_error error;
    struct stayd_options options;
    int *const times[] = {&options.connect_timeout_ms, &options.timeout_ms,
                          &options.total_timeout_ms, &options.idle_timeout_ms};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        stayd_options_init(&options);
        *times[i] = -1;
        assert_null(stayd_open("h", &options, &error));
        assert_int_equal(error.status, STAYD_INVALID);
        *times[i] = INT32_MAX;
        options.timeout_ms = INT32_MAX;
        struct stayd *client = stayd_open("h", &options, &error);
        assert_non_null(client);
        stayd_close(client);
    }
}

static void an_item_whose_value_breaks_off_is_not_read(void **state) {
    (void)state;
    struct fake fake = {.reply = "VALUE a 0 3 1\r\nabc\r\nVALUE b 0 500 1\r\nxx"};
    struct stayd_item items[ITEMS];
    struct stayd_error error;
    fake_start(&fake);
    struct stayd *client = open_client(fake.path, 0, 0, -1);
    name_items(items);
    assert_int_equal(stayd_get_many(client, items, ITEMS, &error), STAYD_DISCONNECTED);
    assert_int_equal(items[0].status, STAYD_OK);
    for (int i = 1; i < ITEMS; i++) {
        assert_int_equal(items[i].status, STAYD_DISCONNECTED);
        assert_int_equal(items[i].value.size, 0);
    }
    stayd_items_free(items, ITEMS);
    stayd_close(client);
    fake_stop(&fake);
}

static void items_of_a_call_that_sends_nothing_say_why(void **state) {
    (void)state;
    struct stayd_item items[ITEMS];
    struct stayd_error error;
    struct stayd *client = open_client("/tmp/none", 0, 0, -1);
    name_items(items);
    items[1].key = " ";
    assert_int_equal(stayd_get_many(client, items, ITEMS, &error), STAYD_INVALID);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(items[i].status, STAYD_INVALID);
    }
    stayd_close(client);
}

static void behind_a_refused_value_no_answer_is_believed(void **state) {
    (void)state;
    struct fake fake = {.reply = "STORED\r\nCLIENT_ERROR bad\r\nSTORED\r\n", .holds = true};
    struct stayd_item items[ITEMS];
    struct stayd_error error;
    fake_start(&fake);
    struct stayd *client = open_client(fake.path, 0, 0, -1);
    name_items(items);
    assert_int_equal(stayd_set_many(client, items, ITEMS, 0, &error), STAYD_REFUSED);
    assert_int_equal(items[0].status, STAYD_OK);
    assert_int_equal(items[1].status, STAYD_REFUSED);
    assert_int_equal(items[2].status, STAYD_OUTCOME_UNKNOWN);
    fake.reply = "CLIENT_ERROR bad\r\n"; /* an ERROR for the data comes later */
    assert_int_equal(stayd_set(client, "k", 1, "v", 1, 0, 0, &error), STAYD_REFUSED);
    unsigned before = fake.accepted;
    fake.reply = "STORED\r\n";
    assert_int_equal(stayd_set(client, "k", 1, "v", 1, 0, 0, &error), STAYD_OK);
    assert_int_equal(fake.accepted, before + 1);
    stayd_close(client);
    fake_stop(&fake);
}

static void an_answer_to_another_command_is_none(void **state) {
    (void)state;
    static const char *const replies[] = {"DELETED\r\n", "TOUCHED\r\n", "OK\r\n", "END\r\n"};
    struct fake fake = {.holds = true};
    struct stayd_error error;
    fake.reply = replies[0];
    fake_start(&fake);
    struct stayd *client = open_client(fake.path, 0, 0, -1);
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        fake.reply = replies[i];
        assert_int_equal(stayd_set(client, "k", 1, "v", 1, 0, 0, &error), STAYD_PROTOCOL);
    }
    fake.reply = "STORED\r\n";
    assert_int_equal(stayd_delete(client, "k", 1, &error), STAYD_PROTOCOL);
    stayd_close(client);
    fake_stop(&fake);
}

static void what_a_memcached_cannot_read_is_not_sent(void **state) {
    (void)state;
    struct fake fake = {.reply = "STORED\r\n", .holds = true};
    struct stayd_error error;
    struct stayd_item item = {.key = "k", .key_size = 1};
    fake_start(&fake);
    struct stayd *client = open_client(fake.path, 0, 0, -1);
    item.value.size = (size_t)3 << 30;
    assert_int_equal(stayd_set(client, "k", 1, "v", item.value.size, 0, 0, &error),
                     STAYD_TOO_LARGE);
    assert_int_equal(stayd_set_many(client, &item, 1, 0, &error), STAYD_TOO_LARGE);
    assert_int_equal(item.status, STAYD_TOO_LARGE);
    assert_int_equal(stayd_set(client, "k", 1, "v", 1, 0, (int64_t)86400 * 365 * 40, &error),
                     STAYD_OK);
    assert_string_equal(fake.said, "set k 0 2147483647 1\r\nv\r\n");
    stayd_close(client);
    fake_stop(&fake);
}

/* Reads more slowly than the server sends, so that the client never waits for the server. */
static void read_slowly(void *user, const char *name, const char *value) {
    unsigned *count = user;
    assert_int_equal(strlen(name) + strlen(value), 9);
    if (++*count % 1000 == 0) {
        pause_ms(1);
    }
}

static void a_reply_without_end_ends_in_time(void **state) {
    (void)state;
    static char lines[64 << 10];
    static const char line[] = "STAT a 12345678\r\n";
    for (size_t at = 0; at + sizeof line < sizeof lines; at += sizeof line - 1) {
        memcpy(lines + at, line, sizeof line);
    }
    struct fake fake = {.reply = lines, .holds = true, .floods = true};
    struct stayd_error error;
    unsigned count = 0;
    fake_start(&fake);
    struct stayd *client = open_client(fake.path, 200, 0, -1);
    uint64_t began_ms = now_ms();
    assert_int_equal(stayd_stats(client, 0, NULL, read_slowly, &count, &error), STAYD_DISCONNECTED);
    assert_int_equal(error.timed_out, 1);
    assert_in_range(now_ms() - began_ms, 150, LATE_MS);
    stayd_close(client);
    fake_stop(&fake);
}

static void all_servers_together_have_the_time_of_one_call(void **state) {
    (void)state;
    struct fake fakes[ITEMS] = {{.holds = true}, {.holds = true}, {.holds = true}};
    struct stayd_error error;
    char servers[256] = "";
    for (int i = 0; i < ITEMS; i++) {
        fake_start(&fakes[i]);
        strcat(servers, fakes[i].path);
        strcat(servers, ",");
    }
    struct stayd *client = open_client(servers, 60000, 700, -1);
    uint64_t began_ms = now_ms();
    assert_true(stayd_failed(stayd_flush_all(client, 0, &error)));
    assert_int_equal(error.timed_out, 1);
    assert_in_range(now_ms() - began_ms, 600, 1900);
    stayd_close(client);
    for (int i = 0; i < ITEMS; i++) {
        fake_stop(&fakes[i]);
    }
}

struct reading {
    struct stayd *client;
    atomic_bool ends;
};

static void *read_until_told(void *argument) {
    struct reading *work = argument;
    while (!work->ends) {
        struct stayd_value value = {0};
        stayd_get(work->client, "k", 1, &value, NULL);
        stayd_value_free(&value);
    }
    return NULL;
}

static void a_refused_connect_is_not_tried_for_ever_while_others_are_answered(void **state) {
    (void)state;
    struct fake fake = {.reply = "END\r\n", .holds = true, .one_only = true, .delay_ms = 5};
    struct reading work = {0};
    pthread_t thread;
    fake_start(&fake);
    work.client = open_client(fake.path, 0, 20000, 200);
    pthread_create(&thread, NULL, read_until_told, &work);
    while (fake.accepted == 0) {
        pause_ms(1);
    }
    uint64_t began_ms = now_ms();
    enum stayd_status status = STAYD_NOT_FOUND;
    struct stayd_error error;
    while (status == STAYD_NOT_FOUND) { /* the earlier request uses the only connection */
        struct stayd_value value = {0};
        began_ms = now_ms();
        status = stayd_get(work.client, "k", 1, &value, &error);
        stayd_value_free(&value);
    }
    assert_int_equal(status, STAYD_DISCONNECTED);
    assert_in_range(now_ms() - began_ms, 0, LATE_MS);
    work.ends = true;
    pthread_join(thread, NULL);
    stayd_close(work.client);
    fake_stop(&fake);
}

/* Opens every descriptor that this process may have. Returns how many, and the earlier limit in
 * `before`. */
static unsigned take_descriptors(int taken[], unsigned most, struct rlimit *before) {
    struct rlimit few;
    unsigned count = 0;
    getrlimit(RLIMIT_NOFILE, before);
    few = *before;
    few.rlim_cur = most;
    setrlimit(RLIMIT_NOFILE, &few);
    while (count < most && (taken[count] = dup(STDERR_FILENO)) >= 0) {
        count++;
    }
    return count;
}

static void without_a_descriptor_it_is_this_process_that_fails(void **state) {
    enum { MOST = 64 };
    (void)state;
    struct fake fake = {.reply = "END\r\n", .holds = true};
    fake_start(&fake);
    /* the resolver opens a file for the name of the second */
    const char *const urls[] = {fake.path, "localhost:1"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        int taken[MOST];
        struct rlimit before;
        struct stayd_error error;
        struct stayd_value value = {0};
        struct stayd *client = open_client(urls[i], 0, 0, -1);
        unsigned count = take_descriptors(taken, MOST, &before);
        for (int j = 0; j < 3; j++) {
            assert_int_equal(stayd_get(client, "k", 1, &value, &error), STAYD_BUSY);
            assert_int_equal(error.system_error, EMFILE);
            assert_non_null(strstr(error.message, "this process cannot open"));
        }
        while (count > 0) {
            close(taken[--count]);
        }
        setrlimit(RLIMIT_NOFILE, &before);
        /* returns at once, because libstayd has made no pause */
        enum stayd_status status = stayd_get(client, "k", 1, &value, &error);
        assert_int_equal(status, i == 0 ? STAYD_NOT_FOUND : STAYD_DISCONNECTED);
        stayd_value_free(&value);
        stayd_close(client);
    }
    fake_stop(&fake);
}

static pid_t forked = -1;

static int fork_once(void *user) {
    (void)user;
    if (forked < 0) {
        forked = fork();
    }
    return 0;
}

static int stop_once_asked(void *user) {
    const struct fake *silent = user;
    return silent->requests > 0;
}

static void a_child_that_is_forked_in_a_wait_does_not_read_its_parents_reply(void **state) {
    (void)state;
    struct fake fake = {.reply = "VALUE k 0 1\r\nv\r\nEND\r\n", .holds = true, .delay_ms = 400};
    struct stayd_options options;
    struct stayd_error error;
    struct stayd_value value = {0};
    stayd_options_init(&options);
    options.sockets_only = 1;
    options.interrupted = fork_once;
    fake_start(&fake);
    struct stayd *client = stayd_open(fake.path, &options, &error);
    signal_every_ms(50);
    enum stayd_status status = stayd_get(client, "k", 1, &value, &error);
    signal_every_ms(0);
    if (forked == 0) {
        stayd_close(client);
        _exit(status == STAYD_INTERRUPTED ? 0 : 1);
    }
    assert_int_equal(status, STAYD_OK);
    int ended;
    assert_true(forked > 0);
    stayd_value_free(&value);
    stayd_close(client);
    assert_int_equal(waitpid(forked, &ended, 0), forked);
    assert_int_equal(ended, 0);
    fake_stop(&fake);
}

/* A client of `asked` has sent a request to `silent`. Interrupts the wait for its reply. */
static void interrupt_wait_for_mappings(const struct fake *asked, struct fake *silent) {
    struct stayd_options options;
    struct stayd_error error;
    struct stayd_value value = {0};
    stayd_options_init(&options);
    options.interrupted = stop_once_asked;
    options.interrupted_user = silent;
    struct stayd *client = stayd_open(asked->path, &options, &error);
    signal_every_ms(10);
    assert_int_equal(stayd_get(client, "k", 1, &value, &error), STAYD_INTERRUPTED);
    signal_every_ms(0);
    stayd_value_free(&value);
    stayd_close(client);
}

static void a_wait_for_mappings_can_be_interrupted(void **state) {
    (void)state;
    struct fake fake = {.holds = true};
    fake_start(&fake);
    interrupt_wait_for_mappings(&fake, &fake);
    fake_stop(&fake);
    assert_string_equal(fake.said, "stayd_map\r\n");
}

/* The server names another socket for the mappings, as a server on TCP does, and that socket is
 * silent. */
static void a_wait_for_mappings_on_another_socket_can_be_interrupted(void **state) {
    (void)state;
    struct fake silent = {.holds = true};
    struct fake fake = {.holds = true};
    char reply[sizeof silent.path + 16];
    fake_start(&silent);
    snprintf(reply, sizeof reply, "PATH 1 %s\r\n", silent.path);
    fake.reply = reply;
    fake_start(&fake);
    interrupt_wait_for_mappings(&fake, &silent);
    fake_stop(&fake);
    fake_stop(&silent);
    assert_string_equal(fake.said, "stayd_map\r\n");
    assert_string_equal(silent.said, "stayd_map\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_that_is_refused_fits_its_message_and_tells_no_password),
        cmocka_unit_test(times_below_zero_are_refused),
        cmocka_unit_test(an_item_whose_value_breaks_off_is_not_read),
        cmocka_unit_test(items_of_a_call_that_sends_nothing_say_why),
        cmocka_unit_test(behind_a_refused_value_no_answer_is_believed),
        cmocka_unit_test(an_answer_to_another_command_is_none),
        cmocka_unit_test(what_a_memcached_cannot_read_is_not_sent),
        cmocka_unit_test(a_reply_without_end_ends_in_time),
        cmocka_unit_test(all_servers_together_have_the_time_of_one_call),
        cmocka_unit_test(a_refused_connect_is_not_tried_for_ever_while_others_are_answered),
        cmocka_unit_test(without_a_descriptor_it_is_this_process_that_fails),
        cmocka_unit_test(a_child_that_is_forked_in_a_wait_does_not_read_its_parents_reply),
        cmocka_unit_test(a_wait_for_mappings_can_be_interrupted),
        cmocka_unit_test(a_wait_for_mappings_on_another_socket_can_be_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
