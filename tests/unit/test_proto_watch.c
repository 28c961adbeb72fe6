/* watch, and the commands about the daemon: me, slabs, lru, shutdown, cache_memlimit. */
#include "proto_support.h"

#include "proto/event.h"
#include "proto/watch.h"

#include <stdio.h>

static unsigned wakes;

static void note_wake(void *context) {
    (void)context;
    wakes++;
}

/* A watcher, and another connection that sends the commands. */
struct watching {
    struct proto_connection connection;
    struct buffer said;
};

static void watch_begin(struct talk *talk, struct watching *watching, const char *line) {
    size_t consumed;
    size_t wanted;
    memset(watching, 0, sizeof *watching);
    wakes = 0;
    proto_connection_init(&watching->connection, &talk->service);
    watching->connection.wake = note_wake;
    enum proto_next next =
        proto_process(&watching->connection, &talk->thread, bytes_from_string(line), &consumed,
                      &wanted, &watching->said);
    assert_int_equal(next, PROTO_READ);
    assert_int_equal(watching->said.size, strlen("OK\r\n"));
    watching->said.size = 0;
}

/* The lines that the watcher has received so far, as a string. */
static char *watch_hear(struct talk *talk, struct watching *watching) {
    size_t consumed;
    size_t wanted;
    enum proto_next next;
    watching->said.size = 0;
    do {
        next = proto_process(&watching->connection, &talk->thread, bytes_from("flush_all\r\n", 11),
                             &consumed, &wanted, &watching->said);
        assert_int_equal(consumed, 11); /* requests of a watcher are ignored */
    } while (next == PROTO_FLUSH);
    assert_int_equal(next, PROTO_READ);
    assert_true(buffer_append(&watching->said, "", 1));
    return watching->said.data;
}

static void watch_end(struct watching *watching) {
    proto_connection_finish(&watching->connection);
    buffer_finish(&watching->said);
}

/* A line without its time and number. */
static void expect_heard(struct talk *talk, struct watching *watching, const char *expected) {
    char *said = watch_hear(talk, watching);
    const char *type = strstr(said, " type=");
    assert_non_null(type);
    assert_int_equal(strncmp(said, "ts=", 3), 0);
    assert_non_null(strstr(said, " gid="));
    assert_string_equal(type + 1, expected);
}

static void a_watcher_is_told_what_it_asked_for(void **state) {
    struct talk *talk = *state;
    struct watching watching;
    talk->connection.fd = 7;
    talk_ask(talk, "set k 0 100 3\r\nabc\r\n", "STORED\r\n");
    watch_begin(talk, &watching, "watch fetchers mutations deletions\r\n");
    talk_ask(talk, "get k\r\n", "VALUE k 0 3\r\nabc\r\nEND\r\n");
    expect_heard(talk, &watching, "type=item_get key=k status=found clsid=1 cfd=7 size=3\n");
    assert_int_equal(wakes, 1);
    talk_ask(talk, "mg a%b\r\n", "EN\r\n");
    expect_heard(talk, &watching,
                 "type=item_get key=a%25b status=not_found clsid=0 cfd=7 size=0\n");
    talk_ask(talk, "set k 0 100 2\r\nde\r\n", "STORED\r\n");
    expect_heard(talk, &watching,
                 "type=item_store key=k status=stored cmd=set ttl=100 clsid=1 cfd=7 size=2\n");
    talk_ask(talk, "append k 0 0 1\r\nf\r\n", "STORED\r\n");
    expect_heard(talk, &watching,
                 "type=item_store key=k status=stored cmd=append ttl=100 clsid=1 cfd=7 size=3\n");
    talk_ask(talk, "cas k 0 0 1 1\r\nf\r\n", "EXISTS\r\n");
    expect_heard(talk, &watching,
                 "type=item_store key=k status=exists cmd=cas ttl=0 clsid=0 cfd=7 size=1\n");
    talk_ask(talk, "ms k 1 MA C1\r\nf\r\n", "EX\r\n");
    expect_heard(talk, &watching,
                 "type=item_store key=k status=exists cmd=append ttl=0 clsid=0 cfd=7 size=1\n");
    talk_ask(talk, "touch k 7000\r\n", "TOUCHED\r\n");
    expect_heard(talk, &watching, "type=item_get key=k status=found clsid=3 cfd=7 size=3\n");
    talk_ask(talk, "md k\r\n", "HD\r\n");
    expect_heard(talk, &watching, "type=deleted key=k cmd=md clsid=3 size=3\n");
    assert_int_equal(wakes, 8);
    watch_end(&watching);
    assert_false(event_wanted(&talk->service, ~0U));
    talk_ask(talk, "get k\r\n", "END\r\n");
}

static void a_watcher_is_told_of_nothing_else(void **state) {
    struct talk *talk = *state;
    struct watching watching;
    watch_begin(talk, &watching, "watch deletions\r\n");
    talk_ask(talk, "set k 0 0 1\r\nv\r\nget k\r\ndelete none\r\n",
             "STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\nNOT_FOUND\r\n");
    assert_int_equal(wakes, 0);
    assert_string_equal(watch_hear(talk, &watching), "");
    watch_end(&watching);
}

static void a_watcher_that_takes_nothing_costs_a_bounded_queue(void **state) {
    struct talk *talk = *state;
    struct watching watching;
    watch_begin(talk, &watching, "watch\r\n");
    for (unsigned i = 0; i < 20000; i++) {
        talk_send(talk, bytes_from_string("mg k q\r\n"));
    }
    assert_int_equal(wakes, 1);
    struct watch_stats stats = watch_get_stats(talk->service.watch);
    assert_int_equal(stats.watchers, 1);
    assert_int_equal(stats.sent + stats.skipped, 20000);
    assert_true(stats.skipped > 10000);
    char *said = watch_hear(talk, &watching);
    assert_true(strlen(said) <= WATCH_QUEUE_BYTES);
    assert_null(strstr(said, "skipped="));
    talk_send(talk, bytes_from_string("mg k q\r\n"));
    char expected[64];
    snprintf(expected, sizeof expected, "skipped=%llu\nts=", (unsigned long long)stats.skipped);
    said = watch_hear(talk, &watching);
    assert_int_equal(strncmp(said, expected, strlen(expected)), 0);
    watch_end(&watching);
}

static void each_watcher_is_told_of_what_it_asked_for_alone(void **state) {
    struct talk *talk = *state;
    struct watching gets;
    struct watching deletions;
    watch_begin(talk, &gets, "watch fetchers\r\n");
    watch_begin(talk, &deletions, "watch deletions\r\n");
    talk_ask(talk, "set k 0 0 1\r\nv\r\ndelete k\r\n", "STORED\r\nDELETED\r\n");
    assert_string_equal(watch_hear(talk, &gets), "");
    talk_ask(talk, "get k\r\n", "END\r\n");
    expect_heard(talk, &deletions, "type=deleted key=k cmd=delete clsid=8 size=1\n");
    watch_end(&gets);
    watch_end(&deletions);
}

/* How many lines a watcher got, plus those that were reported as skipped. Each line must be
 * whole. */
static uint64_t count_told(char *said) {
    uint64_t told = 0;
    for (char *line = strtok(said, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        unsigned long long skipped;
        if (sscanf(line, "skipped=%llu", &skipped) == 1) {
            told += skipped;
        } else {
            assert_int_equal(strncmp(line, "ts=", 3), 0);
            assert_string_equal(line + strlen(line) - strlen(" size=0"), " size=0");
            told++;
        }
    }
    return told;
}

static void a_full_queue_loses_whole_lines_and_says_how_many(void **state) {
    enum { LINES = 40000 };
    struct talk *talk = *state;
    struct watching watching;
    struct buffer all = {0};
    size_t consumed;
    size_t wanted;
    watch_begin(talk, &watching, "watch\r\n");
    for (unsigned i = 0; i < LINES; i++) {
        char line[300];
        int size = snprintf(line, sizeof line, "mg %0*u q\r\n", (int)(i * 7919 % 240) + 1, 1U);
        talk_send(talk, bytes_from(line, (size_t)size));
        if (i % 1000 == 999 || i == 137) { /* reads a part of the lines, or all */
            watching.said.size = 0;
            proto_process(&watching.connection, &talk->thread, bytes_from("", 0), &consumed,
                          &wanted, &watching.said);
            assert_true(buffer_append(&all, watching.said.data, watching.said.size));
        }
    }
    assert_true(watch_get_stats(talk->service.watch).skipped > 0);
    watch_hear(talk, &watching);
    assert_true(buffer_append(&all, watching.said.data, watching.said.size - 1));
    talk_send(talk, bytes_from_string("mg last q\r\n")); /* the skipped lines are reported first */
    watch_hear(talk, &watching);
    assert_true(buffer_append(&all, watching.said.data, watching.said.size));
    assert_int_equal(count_told(all.data), LINES + 1);
    buffer_finish(&all);
    watch_end(&watching);
}

static void as_many_watch_as_memcached_lets(void **state) {
    struct talk *talk = *state;
    struct watching watching[WATCH_MAX];
    for (unsigned i = 0; i < WATCH_MAX; i++) {
        watch_begin(talk, &watching[i], "watch mutations\r\n");
    }
    talk_ask(talk, "watch mutations\r\nmn\r\n",
             "WATCHER_TOO_MANY log watcher limit reached\r\nMN\r\n");
    for (unsigned i = 0; i < WATCH_MAX; i++) {
        watch_end(&watching[i]);
    }
    assert_int_equal(watch_get_stats(talk->service.watch).watchers, 0);
}

static void wrong_watches_are_refused(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "watch foo\r\nwatch fetchers foo\r\nwatch noreply\r\nmn\r\n",
             "ERROR\r\nERROR\r\nMN\r\n");
    talk->server.rights.watch_disabled = true;
    talk_ask(talk, "watch\r\n", "CLIENT_ERROR watch commands not allowed\r\n");
}

static void me_tells_all_but_the_value(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "set k 5 100 3\r\nabc\r\nms AQID 0 b\r\n\r\n", "STORED\r\nHD\r\n");
    talk->later_s = 10;
    talk_ask(talk, "me k\r\nme k x\r\n",
             "ME k exp=90 la=10 cas=1 fetch=no cls=1 size=32\r\n"
             "ME k exp=90 la=10 cas=1 fetch=no cls=1 size=32\r\n");
    talk_ask(talk, "me AQID b\r\nme AQID bx\r\n",
             "ME AQID exp=-1 la=10 cas=2 fetch=no cls=8 size=32\r\nEN\r\n");
    talk_ask(talk, "me\r\nme a b\r\n",
             "CLIENT_ERROR bad command line format\r\nCLIENT_ERROR bad command line format\r\n");
}

static void tuning_that_has_no_equivalent_is_answered_as_memcached_does(void **state) {
    struct talk *talk = *state;
    static const char *const lines[][2] = {
        {"slabs", "ERROR"},
        {"slabs reassign 1", "ERROR"},
        {"slabs reassign 1 2", "NOSPARE source class has no spare pages"},
        {"slabs reassign 1 1", "SAME src and dst class are identical"},
        {"slabs reassign -1 5", "BADCLASS invalid src or dst class id"},
        {"slabs reassign 100 2", "BADCLASS invalid src or dst class id"},
        {"slabs reassign x y", "CLIENT_ERROR bad command line format"},
        {"slabs automove 2", "OK"},
        {"slabs automove 3", "ERROR"},
        {"slabs automove x", "CLIENT_ERROR bad command line format"},
        {"slabs automove ratio 0.5", "OK"},
        {"slabs automove ratio x", "ERROR"},
        {"slabs automove ratio", "ERROR"},
        {"slabs automove freeratio 0.01", "OK"},
        {"slabs automove window 10", "OK"},
        {"slabs automove window 2", "CLIENT_ERROR automove window too low or too high"},
        {"slabs automove window", "CLIENT_ERROR bad command line format"},
        {"extstore item_size 1", "OK"},
        {"extstore max_frag x", "ERROR"},
        {"extstore free_memchunks 64 1", "ERROR"},
        {"lru", "ERROR"},
        {"lru tune 10 25 0.1 2.0", "OK"},
        {"lru tune 60 50 0.1 2", "ERROR hot and warm pcts must not exceed 80"},
        {"lru tune 10 25 0 2", "ERROR hot/warm age factors must be greater than 0"},
        {"lru tune 10 25 x 2", "ERROR"},
        {"lru mode flat", "OK"},
        {"lru mode foo", "ERROR"},
        {"lru temp_ttl -1", "OK"},
        {"lru temp_ttl x", "ERROR"},
        {"cache_memlimit", "ERROR"},
        {"cache_memlimit x", "ERROR"},
        {"cache_memlimit 7", "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m"},
        {"cache_memlimit 16", "OK"},
        {"cache_memlimit 64", "OK"},
        {"cache_memlimit 65", "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust"},
        {"cache_memlimit 8", "OK"},
        {"cache_memlimit 16", "OK"},
        {"cache_memlimit 1000000000", "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust"},
        {"cache_memlimit 99999999999", "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char request[64];
        char reply[80];
        snprintf(request, sizeof request, "%s\r\n", lines[i][0]);
        snprintf(reply, sizeof reply, "%s\r\n", lines[i][1]);
        talk_ask(talk, request, reply);
    }
    talk_ask(talk,
             "slabs automove 9 noreply\r\nlru mode foo noreply\r\ncache_memlimit 16 noreply\r\n",
             "");
}

static int shutdowns[2];

static void note_shutdown(void *context, bool graceful) {
    (void)context;
    shutdowns[graceful]++;
}

static void shutdown_is_done_where_it_is_allowed(void **state) {
    struct talk *talk = *state;
    talk->server.shut_down = note_shutdown;
    talk_ask(talk, "shutdown\r\nshutdown foo\r\n",
             "SERVER_ERROR: shutdown not enabled\r\nSERVER_ERROR: shutdown not enabled\r\n");
    talk->server.rights.shutdown_enabled = true;
    talk_ask(talk, "shutdown foo\r\nshutdown graceful foo\r\n",
             "CLIENT_ERROR invalid shutdown mode\r\nCLIENT_ERROR invalid shutdown mode\r\n");
    assert_int_equal(shutdowns[0] + shutdowns[1], 0);
    talk_ask(talk, "shutdown graceful\r\n", "");
    assert_true(talk->closed);
    assert_int_equal(shutdowns[true], 1);
    talk_restart(talk);
    talk_ask(talk, "shutdown\r\n", "");
    assert_int_equal(shutdowns[false], 1);
}

int main(void) {
#define TALK(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
    const struct CMUnitTest tests[] = {
        TALK(a_watcher_is_told_what_it_asked_for),
        TALK(a_watcher_is_told_of_nothing_else),
        TALK(a_watcher_that_takes_nothing_costs_a_bounded_queue),
        TALK(each_watcher_is_told_of_what_it_asked_for_alone),
        TALK(a_full_queue_loses_whole_lines_and_says_how_many),
        TALK(as_many_watch_as_memcached_lets),
        TALK(wrong_watches_are_refused),
        TALK(me_tells_all_but_the_value),
        TALK(tuning_that_has_no_equivalent_is_answered_as_memcached_does),
        TALK(shutdown_is_done_where_it_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
