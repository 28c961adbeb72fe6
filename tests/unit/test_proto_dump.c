/* lru_crawler, stats sizes, stats detail, and commands that the operator has forbidden. */
#include "proto_support.h"

#include <stdio.h>

/* A dump runs in steps, and requests that are pipelined behind it wait. */
enum { MANY = 9000 };

static void store_many(struct talk *talk) {
    char line[64];
    for (unsigned i = 0; i < MANY; i++) {
        int size = snprintf(line, sizeof line, "set key-%u 0 0 1 noreply\r\nv\r\n", i);
        talk_send(talk, bytes_from(line, (size_t)size));
    }
    talk_ask(talk, "mn\r\n", "MN\r\n");
}

static void a_dump_tells_each_item_as_memcached_does(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "set a%b=\xc3\xa4 7 100 3\r\nabc\r\n", "STORED\r\n");
    talk_ask(talk, "lru_crawler metadump all\r\n",
             "OK\r\nkey=a%25b%3D%C3%A4 exp=4000000100 la=4000000000 cas=1 fetch=no cls=1 size=40 "
             "flags=7\n"
             "END\r\n");
    talk_ask(talk, "get a%b=\xc3\xa4\r\n", "VALUE a%b=\xc3\xa4 7 3\r\nabc\r\nEND\r\n");
    talk_ask(talk, "lru_crawler metadump hash\r\n",
             "OK\r\nkey=a%25b%3D%C3%A4 exp=4000000100 la=4000000000 cas=1 fetch=yes cls=1 size=40 "
             "flags=7\n"
             "END\r\n");
    talk_ask(talk, "ms AQID 0 b\r\n\r\n", "HD\r\n");
    talk_ask(
        talk, "lru_crawler metadump 8\r\n",
        "OK\r\nkey=%01%02%03 exp=-1 la=4000000000 cas=2 fetch=no cls=8 size=32 flags=0\nEND\r\n");
    talk_ask(talk, "lru_crawler mgdump 8\r\nlru_crawler mgdump 1,3\r\nlru_crawler mgdump 3\r\n",
             "OK\r\nmg AQID b\r\nEN\r\nOK\r\nmg a%b=\xc3\xa4\r\nEN\r\nOK\r\nEN\r\n");
    talk->later_s = 100; /* it is over */
    talk_ask(talk, "lru_crawler metadump 1\r\n", "OK\r\nEND\r\n");
}

static void a_cachedump_tells_the_items_of_a_class(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "set a 0 0 3\r\nabc\r\nset b 5 100 4\r\nabcd\r\n", "STORED\r\nSTORED\r\n");
    talk_ask(talk, "ms AQID 0 b\r\n\r\n", "HD\r\n"); /* a key that does not fit into such a line */
    talk_ask(talk, "stats cachedump 1 0\r\n", "ITEM b [4 b; 4000000100 s]\r\nEND\r\n");
    talk_ask(talk, "stats cachedump 8 0 noreply\r\n", "ITEM a [3 b; 0 s]\r\nEND\r\n");
    talk_ask(talk, "stats cachedump 0 0\r\nstats cachedump 63 0\r\n", "END\r\nEND\r\n");
    talk_ask(talk, "stats cachedump 64 0\r\n", "CLIENT_ERROR Illegal slab id\r\n");
    talk_ask(talk, "stats cachedump\r\nstats cachedump 1\r\n",
             "CLIENT_ERROR bad command line\r\nCLIENT_ERROR bad command line\r\n");
    talk_ask(talk, "stats cachedump -1 0\r\nstats cachedump 1 x\r\n",
             "CLIENT_ERROR bad command line format\r\nCLIENT_ERROR bad command line format\r\n");
    store_many(talk);
    talk_send(talk, bytes_from_string("stats cachedump 8 7\r\n"));
    size_t lines = 0;
    for (size_t i = 0; i < talk->replies.size; i++) {
        lines += talk->replies.data[i] == '\n';
    }
    assert_int_equal(lines, 7 + 1);
}

static void a_dump_of_many_items_goes_in_steps(void **state) {
    struct talk *talk = *state;
    store_many(talk);
    size_t flushes = talk->flushes;
    talk_send(talk, bytes_from_string("lru_crawler metadump all\r\nmn\r\n"));
    assert_true(talk->flushes > flushes + 3);
    assert_true(talk->replies_peak <= PROTO_REPLY_BATCH);
    size_t lines = 0;
    for (size_t i = 0; i < talk->replies.size; i++) {
        lines += talk->replies.data[i] == '\n';
    }
    assert_int_equal(lines, MANY + 3);
    const char *end = "END\r\nMN\r\n";
    assert_memory_equal(talk->replies.data + talk->replies.size - strlen(end), end, strlen(end));
}

static void a_step_of_a_dump_is_short_and_ends_the_turn(void **state) {
    enum { LONG_KEYS = 3000, STEP_BYTES = 64 << 10, A_BUCKET_BYTES = 16 << 10 };
    struct talk *talk = *state;
    char line[300];
    for (unsigned i = 0; i < LONG_KEYS; i++) {
        int size = snprintf(line, sizeof line, "set %0240u 0 0 1 noreply\r\nv\r\n", i);
        talk_send(talk, bytes_from(line, (size_t)size));
    }
    size_t consumed;
    size_t wanted;
    struct bytes input = bytes_from_string("lru_crawler metadump all\r\n");
    enum proto_next next = PROTO_FLUSH;
    size_t steps = 0;
    for (; next == PROTO_FLUSH; steps++) {
        talk->replies.size = 0;
        talk->connection.turn_left = 20;
        next = proto_process(&talk->connection, &talk->thread, input, &consumed, &wanted,
                             &talk->replies);
        assert_true(talk->replies.size <= STEP_BYTES + A_BUCKET_BYTES);
        assert_true(next != PROTO_FLUSH || steps == 0 || talk->connection.turn_left == 0);
        input = bytes_from("", 0);
    }
    assert_true(steps > 10);
    talk->replies.size = 0;
}

static void a_dump_that_tells_nothing_goes_in_steps_too(void **state) {
    struct talk *talk = *state;
    store_many(talk);
    size_t flushes = talk->flushes;
    talk_ask(talk, "lru_crawler metadump 3\r\n", "OK\r\nEND\r\n");
    assert_true(talk->flushes > flushes + 2);
}

static void a_dump_ends_with_its_connection(void **state) {
    struct talk *talk = *state;
    store_many(talk);
    size_t consumed;
    size_t wanted;
    talk_ask(talk, "stats sizes_enable\r\n", "STAT sizes_status enabled\r\n");
    enum proto_next next =
        proto_process(&talk->connection, &talk->thread, bytes_from_string("stats sizes\r\n"),
                      &consumed, &wanted, &talk->replies);
    assert_int_equal(next, PROTO_FLUSH);
    assert_int_not_equal(atomic_load(&talk->service.dump), 0);
    proto_connection_finish(&talk->connection); /* the address sanitizer watches the histogram */
    assert_int_equal(atomic_load(&talk->service.dump), 0);
    talk->replies.size = 0;
}

/* Begins a dump on another connection, and takes the first step of its reply. */
static void begin_other_dump(struct talk *talk, struct proto_connection *other,
                             struct buffer *said) {
    size_t consumed;
    size_t wanted;
    proto_connection_init(other, &talk->service);
    assert_int_equal(proto_process(other, &talk->thread,
                                   bytes_from_string("lru_crawler metadump all\r\n"), &consumed,
                                   &wanted, said),
                     PROTO_FLUSH);
}

#define BUSY "BUSY currently processing crawler request\r\n"

static void a_pool_has_one_dump_at_a_time(void **state) {
    struct talk *talk = *state;
    struct proto_connection other;
    struct buffer said = {0};
    size_t consumed;
    size_t wanted;
    store_many(talk);
    talk_ask(talk, "stats sizes_enable\r\n", "STAT sizes_status enabled\r\n");
    begin_other_dump(talk, &other, &said);
    talk_ask(talk, "lru_crawler metadump all\r\n", BUSY);
    talk_ask(talk, "lru_crawler mgdump 3\r\n", BUSY);
    talk_ask(talk, "stats cachedump 8 5\r\n", BUSY);
    talk_ask(talk, "stats sizes\r\nmn\r\n", BUSY "MN\r\n");
    enum proto_next next = PROTO_FLUSH;
    while (next == PROTO_FLUSH) { /* to its end */
        said.size = 0;
        other.turn_left = UINT32_MAX;
        next =
            proto_process(&other, &talk->thread, bytes_from_string(""), &consumed, &wanted, &said);
    }
    assert_int_equal(next, PROTO_READ);
    talk_ask(talk, "lru_crawler metadump 3\r\n", "OK\r\nEND\r\n");
    proto_connection_finish(&other);
    buffer_finish(&said);
}

static void a_dump_that_is_not_taken_gives_way_and_closes(void **state) {
    struct talk *talk = *state;
    struct proto_connection other;
    struct buffer said = {0};
    size_t consumed;
    size_t wanted;
    store_many(talk);
    begin_other_dump(talk, &other, &said);
    atomic_store(&talk->service.dump_stepped_ms, 0);
    talk_ask(talk, "lru_crawler metadump 3\r\n", "OK\r\nEND\r\n");
    said.size = 0;
    other.turn_left = UINT32_MAX;
    assert_int_equal(
        proto_process(&other, &talk->thread, bytes_from_string(""), &consumed, &wanted, &said),
        PROTO_CLOSE);
    assert_int_equal(said.size, 0);
    proto_connection_finish(&other);
    buffer_finish(&said);
    talk_ask(talk, "lru_crawler metadump 3\r\n", "OK\r\nEND\r\n");
}

static void sizes_are_told_in_steps_of_32_bytes(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "set a 0 0 0\r\n\r\nset b 0 0 7\r\n1234567\r\nset c 0 0 8\r\n12345678\r\n",
             "STORED\r\nSTORED\r\nSTORED\r\n");
    talk_ask(talk, "stats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n");
    talk_ask(talk, "stats sizes_enable\r\n", "STAT sizes_status enabled\r\n");
    talk_ask(talk, "stats sizes\r\nmn\r\n", "STAT 32 2\r\nSTAT 64 1\r\nEND\r\nMN\r\n");
    struct bytes large = talk_text("set large 0 0 65531\r\n", 'v', 65531, "\r\n");
    talk_send(talk, large);
    free((char *)(uintptr_t)large.data);
    talk_expect(talk, bytes_from_string("STORED\r\n"));
    talk_ask(talk, "stats sizes\r\n", "STAT 32 2\r\nSTAT 64 1\r\nSTAT 65600 1\r\nEND\r\n");
    talk_ask(talk, "stats sizes_disable\r\n", "STAT sizes_status disabled\r\n");
    talk_ask(talk, "stats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n");
}

static void histograms_take_a_bounded_amount_of_memory(void **state) {
    enum { AT_ONCE = 8 };
    struct talk *talk = *state;
    struct proto_connection others[AT_ONCE];
    struct buffer said = {0};
    size_t consumed;
    size_t wanted;
    store_many(talk);
    talk_ask(talk, "stats sizes_enable\r\n", "STAT sizes_status enabled\r\n");
    for (unsigned i = 0; i < AT_ONCE; i++) {
        atomic_store(&talk->service.dump_stepped_ms, 0); /* so that the dump before this one ends */
        proto_connection_init(&others[i], &talk->service);
        assert_int_equal(proto_process(&others[i], &talk->thread,
                                       bytes_from_string("stats sizes\r\n"), &consumed, &wanted,
                                       &said),
                         PROTO_FLUSH);
    }
    atomic_store(&talk->service.dump_stepped_ms, 0);
    talk_ask(talk, "stats sizes\r\nmn\r\n", "SERVER_ERROR out of memory writing stats\r\nMN\r\n");
    for (unsigned i = 0; i < AT_ONCE; i++) {
        proto_connection_finish(&others[i]);
    }
    talk_send(talk, bytes_from_string("stats sizes\r\n"));
    assert_memory_equal(talk->replies.data, "STAT 32 ", 8);
    talk->replies.size = 0;
    buffer_finish(&said);
}

static void the_crawlers_settings_say_what_memcached_says(void **state) {
    struct talk *talk = *state;
    static const char *const lines[][2] = {
        {"lru_crawler", "ERROR"},
        {"lru_crawler foo", "ERROR"},
        {"lru_crawler metadump", "ERROR"},
        {"lru_crawler metadump all foo", "ERROR"},
        {"lru_crawler metadump 0", "BADCLASS invalid class id"},
        {"lru_crawler metadump 64", "BADCLASS invalid class id"},
        {"lru_crawler metadump 1,x", "BADCLASS invalid class id"},
        {"lru_crawler metadump ,", "NOTSTARTED no items to crawl"},
        {"lru_crawler metadump ,+1,,3", "OK\r\nEND"},
        {"lru_crawler crawl ,", "NOTSTARTED no items to crawl"},
        {"lru_crawler crawl 1,,3", "OK"},
        {"lru_crawler crawl all", "OK"},
        {"lru_crawler crawl 1,3", "OK"},
        {"lru_crawler crawl x", "BADCLASS invalid class id"},
        {"lru_crawler crawl hash", "ERROR an unknown error happened"},
        {"lru_crawler sleep x", "CLIENT_ERROR bad command line format"},
        {"lru_crawler sleep 1000000", "OK"},
        {"lru_crawler sleep 1000001", "CLIENT_ERROR sleep must be one second or less"},
        {"lru_crawler tocrawl 5", "OK"},
        {"lru_crawler tocrawl x", "CLIENT_ERROR bad command line format"},
        {"lru_crawler enable", "ERROR failed to start lru crawler thread"},
        {"lru_crawler disable", "OK"},
        {"lru_crawler metadump all", "CLIENT_ERROR lru crawler disabled"},
        {"lru_crawler mgdump all", "CLIENT_ERROR lru crawler disabled"},
        {"lru_crawler crawl all", "CLIENT_ERROR lru crawler disabled"},
        {"lru_crawler enable", "OK"},
        {"lru_crawler metadump all", "OK\r\nEND"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char request[64];
        char reply[64];
        snprintf(request, sizeof request, "%s\r\n", lines[i][0]);
        snprintf(reply, sizeof reply, "%s\r\n", lines[i][1]);
        talk_ask(talk, request, reply);
    }
}

static void detail_counts_keys_by_their_prefix(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "stats detail\r\n", "CLIENT_ERROR usage: stats detail on|off|dump\r\n");
    talk_ask(talk, "set foo:0 0 0 1\r\nv\r\nstats detail dump\r\n", "STORED\r\nEND\r\n");
    talk_ask(talk, "stats detail on\r\n", "OK\r\n");
    talk_ask(talk, "set foo:1 0 0 1\r\nv\r\nget foo:1 foo:2 bar:1 none\r\ndelete foo:1\r\n",
             "STORED\r\nVALUE foo:1 0 1\r\nv\r\nEND\r\nDELETED\r\n");
    talk_ask(talk, "ms :x 1\r\nv\r\nmg :x\r\nmd :x\r\n", "HD\r\nHD\r\nHD\r\n");
    talk_ask(talk, "stats detail dump\r\n",
             "PREFIX foo get 2 hit 1 set 1 del 1\r\n"
             "PREFIX bar get 1 hit 0 set 0 del 0\r\n"
             "PREFIX  get 1 hit 1 set 1 del 1\r\nEND\r\n");
    talk_ask(talk, "stats detail off\r\nget foo:1\r\n", "OK\r\nEND\r\n");
    talk_ask(talk, "stats detail dump\r\nstats reset\r\nstats detail dump\r\n",
             "PREFIX foo get 2 hit 1 set 1 del 1\r\n"
             "PREFIX bar get 1 hit 0 set 0 del 0\r\n"
             "PREFIX  get 1 hit 1 set 1 del 1\r\nEND\r\nRESET\r\nEND\r\n");
    talk_ask(talk, "stats detail on\r\nmg :x\r\nstats detail dump\r\n",
             "OK\r\nEN\r\nPREFIX  get 1 hit 0 set 0 del 0\r\nEND\r\n");
}

static void detail_tells_no_line_that_a_key_made_up(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "stats detail on\r\n", "OK\r\n");
    talk_ask(talk, "mg eA0KRU5EDQp/IHk6eg== b\r\n", "EN\r\n"); /* x, an END line, DEL, " y:z" */
    talk_ask(talk, "stats detail dump\r\n",
             "PREFIX x%0D%0AEND%0D%0A%7F%20y get 1 hit 0 set 0 del 0\r\nEND\r\n");
}

static void no_more_prefixes_are_counted_than_there_is_room_for(void **state) {
    struct talk *talk = *state;
    char line[64];
    talk_ask(talk, "stats detail on\r\n", "OK\r\n");
    for (unsigned i = 0; i < 1100; i++) {
        int size = snprintf(line, sizeof line, "mg prefix%u:key q\r\n", i);
        talk_send(talk, bytes_from(line, (size_t)size));
    }
    talk_ask(talk, "mg prefix0:key q\r\nmn\r\n", "MN\r\n");
    talk_send(talk, bytes_from_string("stats detail dump\r\n"));
    const char first[] = "PREFIX prefix0 get 2 hit 0 set 0 del 0\r\n";
    assert_memory_equal(talk->replies.data, first, sizeof first - 1);
    size_t lines = 0;
    for (size_t i = 0; i < talk->replies.size; i++) {
        lines += talk->replies.data[i] == '\n';
    }
    assert_int_equal(lines, 1000 + 1);
}

static void what_an_operator_has_forbidden_is_refused(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "set k 0 0 1\r\nv\r\n", "STORED\r\n");
    talk->server.rights.flush_disabled = true;
    talk->server.rights.dump_disabled = true;
    talk_ask(talk, "flush_all\r\nflush_all 0\r\nflush_all x\r\nflush_all noreply\r\n",
             "CLIENT_ERROR flush_all not allowed\r\nCLIENT_ERROR flush_all not allowed\r\n"
             "CLIENT_ERROR flush_all not allowed\r\n");
    talk_ask(talk, "lru_crawler metadump all\r\n", "ERROR metadump not allowed\r\n");
    talk_ask(talk, "lru_crawler mgdump all\r\n", "ERROR key dump not allowed\r\n");
    talk_ask(talk, "stats cachedump 1 0\r\n", "CLIENT_ERROR stats cachedump not allowed\r\n");
    talk_ask(talk, "stats detail on\r\n", "CLIENT_ERROR stats detail not allowed\r\n");
    talk_ask(talk, "stats detail dump\r\n", "CLIENT_ERROR stats detail not allowed\r\n");
    talk_ask(talk, "get k\r\n", "VALUE k 0 1\r\nv\r\nEND\r\n");
}

static void classes_are_told_in_the_shape_of_memcacheds(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "stats items\r\n", "END\r\n");
    talk_ask(talk, "set a 0 100 1\r\nv\r\nset b 0 100 9\r\n123456789\r\n", "STORED\r\nSTORED\r\n");
    talk_ask(talk, "cas a 0 100 1 1\r\nw\r\ncas a 0 100 1 1\r\nw\r\n", "STORED\r\nEXISTS\r\n");
    talk_send(talk, bytes_from_string("stats items\r\n"));
    const char items[] = "STAT items:1:number 2\r\n";
    assert_memory_equal(talk->replies.data, items, sizeof items - 1);
    talk->replies.size = 0;
    talk_send(talk, bytes_from_string("stats slabs\r\n"));
    const char slabs[] = "STAT 1:chunk_size 8\r\nSTAT 1:chunks_per_page ";
    assert_memory_equal(talk->replies.data, slabs, sizeof slabs - 1);
    assert_true(buffer_append(&talk->replies, "", 1));
    assert_non_null(strstr(talk->replies.data, "\r\nSTAT 1:total_pages 1\r\n"));
    assert_non_null(strstr(talk->replies.data, "\r\nSTAT 1:used_chunks 9\r\n"));
    assert_non_null(strstr(talk->replies.data, "\r\nSTAT 1:cmd_set 3\r\n"));
    assert_non_null(strstr(talk->replies.data, "\r\nSTAT 1:cas_hits 1\r\n"));
    assert_non_null(strstr(talk->replies.data, "\r\nSTAT 1:cas_badval 1\r\n"));
    assert_non_null(strstr(talk->replies.data, "\r\nSTAT active_slabs 1\r\n"));
    talk->replies.size = 0;
}

static void classes_count_each_command_until_they_are_reset(void **state) {
    struct talk *talk = *state;
    static const uint64_t counted[POOL_CLASS_COUNTERS] = {
        [POOL_CLASS_CMD_SET] = 3,   [POOL_CLASS_DELETE_HITS] = 1, [POOL_CLASS_INCR_HITS] = 2,
        [POOL_CLASS_DECR_HITS] = 1, [POOL_CLASS_TOUCH_HITS] = 2,
    };
    struct pool_class_stats classes[POOL_TTL_CLASSES];
    talk_ask(talk, "set n 0 3000 1\r\n5\r\nset m 0 3000 1\r\n5\r\nset x 0 0 1\r\n5\r\n",
             "STORED\r\nSTORED\r\nSTORED\r\n");
    talk_ask(talk, "set n 0 3000 1\r\n5\r\nincr n 1\r\nincr n 1\r\ndecr n 1\r\ndelete m\r\n",
             "STORED\r\n6\r\n7\r\n6\r\nDELETED\r\n");
    talk_ask(talk, "touch n 3500\r\ngat 3500 n\r\ntouch none 1\r\ndelete none\r\n",
             "TOUCHED\r\nVALUE n 0 1\r\n6\r\nEND\r\nNOT_FOUND\r\nNOT_FOUND\r\n");
    pool_get_class_stats(talk->service.pool, classes);
    for (unsigned i = 0; i < POOL_CLASS_COUNTERS; i++) {
        assert_int_equal(classes[1].counters[i], counted[i]);
    }
    assert_int_equal(classes[POOL_TTL_CLASSES - 1].counters[POOL_CLASS_CMD_SET], 1);
    talk_ask(talk, "stats reset\r\n", "RESET\r\n");
    pool_get_class_stats(talk->service.pool, classes);
    for (unsigned i = 0; i < POOL_CLASS_COUNTERS; i++) {
        assert_int_equal(classes[1].counters[i], 0);
    }
}

int main(void) {
#define TALK(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
    const struct CMUnitTest tests[] = {
        TALK(a_dump_tells_each_item_as_memcached_does),
        TALK(a_cachedump_tells_the_items_of_a_class),
        TALK(a_dump_of_many_items_goes_in_steps),
        TALK(a_step_of_a_dump_is_short_and_ends_the_turn),
        TALK(a_dump_that_tells_nothing_goes_in_steps_too),
        TALK(a_dump_ends_with_its_connection),
        TALK(a_pool_has_one_dump_at_a_time),
        TALK(a_dump_that_is_not_taken_gives_way_and_closes),
        TALK(sizes_are_told_in_steps_of_32_bytes),
        TALK(the_crawlers_settings_say_what_memcached_says),
        TALK(histograms_take_a_bounded_amount_of_memory),
        TALK(detail_counts_keys_by_their_prefix),
        TALK(detail_tells_no_line_that_a_key_made_up),
        TALK(no_more_prefixes_are_counted_than_there_is_room_for),
        TALK(what_an_operator_has_forbidden_is_refused),
        TALK(classes_are_told_in_the_shape_of_memcacheds),
        TALK(classes_count_each_command_until_they_are_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
