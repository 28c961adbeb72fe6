/* The classic commands. The expected replies are those of memcached 1.6.18; tests/protocol compares
 * them again. */
#include "proto_support.h"

#include <stdio.h>

#define BAD_LINE "CLIENT_ERROR bad command line format\r\n"

static void storage_commands_store_under_their_condition(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"replace k 0 0 1\r\na\r\n", "NOT_STORED\r\n"},
        {"append k 0 0 1\r\na\r\n", "NOT_STORED\r\n"},
        {"prepend k 0 0 1\r\na\r\n", "NOT_STORED\r\n"},
        {"cas k 0 0 1 5\r\na\r\n", "NOT_FOUND\r\n"},
        {"add k 1 0 1\r\na\r\n", "STORED\r\n"},
        {"add k 2 0 1\r\nb\r\n", "NOT_STORED\r\n"},
        {"append k 3 0 2\r\nyz\r\n", "STORED\r\n"},
        {"prepend k 3 0 2\r\nwx\r\n", "STORED\r\n"},
        {"get k\r\n", "VALUE k 1 5\r\nwxayz\r\nEND\r\n"},
        {"replace k 4294967295 0 0\r\n\r\n", "STORED\r\n"},
        {"get k\r\n", "VALUE k 4294967295 0\r\n\r\nEND\r\n"},
        {"set k 0 0 4\r\n\r\n\r\n\r\n", "STORED\r\n"},
        {"get k\r\n", "VALUE k 0 4\r\n\r\n\r\n\r\nEND\r\n"},
        {"cas k 0 0 1 0\r\na\r\n", "EXISTS\r\n"},
        {"ms k 1 E77\r\na\r\n", "HD\r\n"},
        {"gets k\r\n", "VALUE k 0 1 77\r\na\r\nEND\r\n"},
        {"cas k 0 0 1 78\r\nb\r\n", "EXISTS\r\n"},
        {"cas k 9 0 1 77\r\nb\r\n", "STORED\r\n"},
        {"cas k 0 0 1 77\r\nc\r\n", "EXISTS\r\n"},
        {"get k\r\n", "VALUE k 9 1\r\nb\r\nEND\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

/* Each line is answered, and its value, which looks like a request, is not run as one. */
static void the_value_behind_a_faulty_storage_line_is_thrown_away(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"set k x 0 4\r\nmn\r\n\r\n", BAD_LINE},
        {"add k -1 0 4\r\nmn\r\n\r\n", BAD_LINE},
        {"replace k 0 x 4\r\nmn\r\n\r\n", BAD_LINE},
        {"append k x x 4\r\nmn\r\n\r\n", BAD_LINE},
        {"prepend k 1.5 0 4\r\nmn\r\n\r\n", BAD_LINE},
        {"cas k 0 0 4 x\r\nmn\r\n\r\n", BAD_LINE},
        {"cas k 0 0 4 noreply\r\nmn\r\n\r\n", ""},
        {"set a\tb 0 0 4\r\nmn\r\n\r\n", BAD_LINE},
        {"set a\001b 0 0 4\r\nmn\r\n\r\n", BAD_LINE},
        {"set k x 0 4 noreply\r\nmn\r\n\r\n", ""},
        {"set k x 0 0\r\n\r\n", BAD_LINE},
        {"set k x 0 4\r\nmn\r\n\r\nmn\r\n", BAD_LINE "MN\r\n"},
        {"get k\r\n", "END\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void a_faulty_storage_line_that_does_not_tell_the_length_of_its_value_closes(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"set\r\n", BAD_LINE},
        {"set k\r\n", BAD_LINE},
        {"set k 0 0\r\n", BAD_LINE},
        {"add  0 0 1\r\n", BAD_LINE},
        {"cas k 0 0 1\r\n", BAD_LINE},
        {" set k 0 0 4\r\n", "ERROR\r\n"},
        {"set k 0 0 1 noreply x\r\n", "ERROR\r\n"},
        {"cas k 0 0 1 2 noreply x\r\n", "ERROR\r\n"},
        {"set k 0 0 x\r\n", BAD_LINE},
        {"set k 0 0 1x\r\n", BAD_LINE},
        {"set k 0 0 -1\r\n", BAD_LINE},
        {"set k 0 0 2147483646\r\n", BAD_LINE},
        {"set k 0 0 2147483648\r\n", BAD_LINE},
        {"set k 0 0 4294967297\r\n", BAD_LINE},
        {"set k 0 0 9223372036854775808\r\n", BAD_LINE},
        {"set k 0 0 18446744073709551617\r\n", BAD_LINE},
        {"set k 0 0 -1 noreply\r\n", ""},
        {"set k 0 0 noreply\r\n", ""},
        {"set k x 0 -1\r\n", BAD_LINE},
        /* Keys with spaces: the word in the length's place is not the length. */
        {"set k key 0 0 4\r\n", BAD_LINE},
        {"set k key 0 0 4 noreply\r\n", "ERROR\r\n"},
        {"set k key key 0 0 4\r\n", "ERROR\r\n"},
        {"cas k key 0 0 4 5\r\n", BAD_LINE},
        /* keys with the end of a line */
        {"set k\nflush_all\r\n 0 0 4\r\n", BAD_LINE},
    };
    struct talk *talk = *state;
    for (size_t i = 0; i < sizeof exchanges / sizeof exchanges[0]; i++) {
        talk_restart(talk);
        talk_send(talk, bytes_from_string(exchanges[i].request));
        assert_true(talk->closed);
        talk_expect(talk, bytes_from_string(exchanges[i].reply));
        talk_restart(talk);
        talk_send(talk, bytes_from_string(exchanges[i].request));
        talk_send(talk, bytes_from_string("mn\r\n\r\nmn\r\n"));
        talk_expect(talk, bytes_from_string(exchanges[i].reply));
    }
}

static void a_value_of_another_length_is_refused_and_as_many_bytes_are_taken(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"set k 0 0 1\r\nold\r\n", "CLIENT_ERROR bad data chunk\r\n" BAD_LINE},
        {"set k 0 0 1\r\nab\r\n", "CLIENT_ERROR bad data chunk\r\n" BAD_LINE},
        {"set k 0 0 2\r\nx\r\nmn\r\n", "CLIENT_ERROR bad data chunk\r\n" BAD_LINE},
        {"set k 0 0 1\r\na\n\nmn\r\n", "CLIENT_ERROR bad data chunk\r\nMN\r\n"},
        {"set k 0 0 2 noreply\r\nx\r\nab\r\n", BAD_LINE},
        {"get k\r\n", "END\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void noreply_silences_every_command_and_its_faults(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"set k 0 0 1 noreply\r\n1\r\n", ""},
        {"add k 0 0 1 noreply\r\n2\r\n", ""},
        {"append k 0 0 1 noreply\r\n0\r\n", ""},
        {"cas k 0 0 1 5 noreply\r\n0\r\n", ""},
        {"incr k 5 noreply\r\n", ""},
        {"decr k 1 noreply\r\n", ""},
        {"incr k x noreply\r\n", ""},
        {"incr k noreply\r\n", ""},
        {"touch k 0 noreply\r\n", ""},
        {"touch k noreply\r\n", ""},
        {"verbosity 0 noreply\r\n", ""},
        {"verbosity noreply\r\n", ""},
        {"get k\r\n", "VALUE k 0 2\r\n14\r\nEND\r\n"},
        {"delete k noreply\r\n", ""},
        {"delete k 0 noreply\r\n", ""},
        {"delete k 1 noreply\r\n", ""},
        {"flush_all noreply\r\n", ""},
        {"flush_all 0 noreply\r\n", ""},
        {"flush_all x noreply\r\n", ""},
        {"set k 0 0 1 NOREPLY\r\n1\r\n", "STORED\r\n"},
        {"set noreply 0 0 1\r\n1\r\n", "STORED\r\n"},
        {"delete noreply\r\n", ""},
        {"mn\r\n", "MN\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void retrieval_answers_what_is_there_in_the_order_asked(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"get a\r\n", "END\r\n"},
        {"set a 0 0 1\r\n1\r\nset b 7 0 2\r\n22\r\n", "STORED\r\nSTORED\r\n"},
        {"get b x a b\r\n",
         "VALUE b 7 2\r\n22\r\nVALUE a 0 1\r\n1\r\nVALUE b 7 2\r\n22\r\nEND\r\n"},
        {"get   a  \r\n", "VALUE a 0 1\r\n1\r\nEND\r\n"},
        {"get a\n", "VALUE a 0 1\r\n1\r\nEND\r\n"},
        {"bget a\r\n get a\r\n", "ERROR\r\nERROR\r\n"},
        {"gat 100 a x\r\n", "VALUE a 0 1\r\n1\r\nEND\r\n"},
        {"mg a t\r\n", "HD t100\r\n"},
        {"gat 0 a\r\n", "VALUE a 0 1\r\n1\r\nEND\r\n"},
        {"mg a t\r\n", "HD t-1\r\n"},
        {"gat -1 a\r\n", "VALUE a 0 1\r\n1\r\nEND\r\n"},
        {"get a\r\n", "END\r\n"},
        {"get\r\n", BAD_LINE},
        {"get \r\n", BAD_LINE},
        {"gets\r\n", BAD_LINE},
        {"gat\r\n", BAD_LINE},
        {"gat 0\r\n", BAD_LINE},
        {"gat x b\r\n", "CLIENT_ERROR invalid exptime argument\r\n"},
        {"gats b a\r\n", "CLIENT_ERROR invalid exptime argument\r\n"},
        {"get b a\001b b\r\n", BAD_LINE},
        {"get a\rb\r\n", BAD_LINE},
        {"get\tb\r\n", "ERROR\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void a_key_of_251_bytes_is_refused_by_every_command(void **state) {
    static const char *const heads[] = {"get ",  "gets ", "gat 0 ", "gats 0 ", "touch ", "delete ",
                                        "incr ", "decr ", "mg ",    "md ",     "ma "};
    static const char *const tails[] = {"\r\n",   "\r\n",   "\r\n", "\r\n", " 0\r\n", "\r\n",
                                        " 1\r\n", " 1\r\n", "\r\n", "\r\n", "\r\n"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct bytes request = talk_text(heads[i], 'k', 251, tails[i]);
        talk_ask(*state, request.data, BAD_LINE);
        free((char *)request.data);
    }
}

/* If a site stores a value under a key that its visitors choose, the value must not be run as
 * commands. */
static void the_value_for_a_key_of_251_bytes_is_thrown_away_by_every_command(void **state) {
    static const char *const heads[] = {"set ",     "add ", "replace ", "append ",
                                        "prepend ", "cas ", "set ",     "ms "};
    static const char *const lines[] = {" 0 0 11", " 0 0 11",   " 0 0 11",         " 0 0 11",
                                        " 0 0 11", " 0 0 11 1", " 0 0 11 noreply", " 11 T0"};
    struct talk *talk = *state;
    talk_ask(talk, "set victim 0 0 1\r\nv\r\n", "STORED\r\n");
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct bytes line = talk_text(heads[i], 'k', 251, lines[i]);
        bool silent = strstr(lines[i], "noreply") != NULL;
        talk_send(talk, line);
        talk_send(talk, bytes_from_string("\r\nflush_all\r\n"));
        talk_send(talk, bytes_from_string("\r\nget victim\r\n"));
        talk_expect(talk, bytes_from_string(silent ? "VALUE victim 0 1\r\nv\r\nEND\r\n"
                                                   : BAD_LINE "VALUE victim 0 1\r\nv\r\nEND\r\n"));
        free((char *)line.data);
    }
}

static void a_bad_key_takes_back_its_own_get_and_no_reply_before_it(void **state) {
    struct bytes request =
        talk_text("set a 0 0 1\r\n1\r\nget a\r\nget a ", 'k', 251, " a\r\nget a\r\n");
    talk_ask(*state, request.data,
             "STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n" BAD_LINE "VALUE a 0 1\r\n1\r\nEND\r\n");
    free((char *)request.data);
}

static void arithmetic_counts(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"incr n 1\r\n", "NOT_FOUND\r\n"},
        {"set n 4 100 2\r\n10\r\n", "STORED\r\n"},
        {"decr n 1\r\n", "9\r\n"},
        {"get n\r\n", "VALUE n 4 2\r\n9 \r\nEND\r\n"},
        {"incr n 18446744073709551615\r\n", "8\r\n"},
        {"decr n 9\r\n", "0\r\n"},
        {"incr n 18446744073709551615\r\n", "18446744073709551615\r\n"},
        {"incr n 1\r\n", "0\r\n"},
        {"incr n -1\r\n", "CLIENT_ERROR invalid numeric delta argument\r\n"},
        {"incr n 18446744073709551616\r\n", "CLIENT_ERROR invalid numeric delta argument\r\n"},
        {"incr n\r\n", BAD_LINE},
        {"incr n 0 2 3\r\n", "0\r\n"},
        {"incr n +5 x\r\n", "5\r\n"},
        {"mg n f t\r\n", "HD f4 t100\r\n"},
        {"set n 0 0 1\r\nx\r\n", "STORED\r\n"},
        {"incr n 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"},
        {"decr a\tb 1\r\n", BAD_LINE},
        {"set n 0 0 3\r\n +5\r\nincr n 1\r\n", "STORED\r\n6\r\n"},
        {"set n 0 0 2\r\n-0\r\nincr n 1\r\n", "STORED\r\n1\r\n"},
        {"set n 0 0 30\r\n000000000000000000000000000010\r\ndecr n 1\r\nget n\r\n",
         "STORED\r\n9\r\nVALUE n 0 30\r\n9                             \r\nEND\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void touch_delete_and_flush_end_and_prolong_lives(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"touch k 0\r\n", "NOT_FOUND\r\n"},
        {"set k 0 0 1\r\nv\r\n", "STORED\r\n"},
        {"touch k 100\r\n", "TOUCHED\r\n"},
        {"mg k t\r\n", "HD t100\r\n"},
        {"touch k x\r\n", "CLIENT_ERROR invalid exptime argument\r\n"},
        {"touch k\r\n", BAD_LINE},
        {"touch k 0 x y\r\n", "TOUCHED\r\n"},
        {"touch k -1\r\n", "TOUCHED\r\n"},
        {"get k\r\n", "END\r\n"},
        {"delete k\r\n", "NOT_FOUND\r\n"},
        {"set k 0 0 1\r\nv\r\n", "STORED\r\n"},
        {"delete\r\n", BAD_LINE},
        {"delete k 1 noreply\r\n", ""},
        {"delete k 1\r\n", "NOT_FOUND\r\n"},
        {"delete k 0 noreply x\r\n", "NOT_FOUND\r\n"},
        {"set k 0 0 1\r\nv\r\n", "STORED\r\n"},
        {"delete k 0\r\n", "DELETED\r\n"},
        {"set k 0 0 1\r\nv\r\n", "STORED\r\n"},
        {"delete k\r\n", "DELETED\r\n"},
        {"set k 0 0 1\r\nv\r\n", "STORED\r\n"},
        {"flush_all x\r\n", "CLIENT_ERROR invalid exptime argument\r\n"},
        {"flush_all noreply noreply\r\n", ""},
        {"flush_all 1000 2 3\r\n", "OK\r\n"},
        {"flush_all 1000\r\n", "OK\r\n"},
        {"get k\r\n", "VALUE k 0 1\r\nv\r\nEND\r\n"},
        {"flush_all -10\r\n", "OK\r\n"},
        {"get k\r\n", "END\r\n"},
        {"set k 0 0 1\r\nv\r\nflush_all\r\nset k 0 0 1\r\nw\r\nget k\r\n",
         "STORED\r\nOK\r\nSTORED\r\nVALUE k 0 1\r\nw\r\nEND\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void an_expiry_is_relative_absolute_or_past(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"set k 0 2592000 1\r\nv\r\nmg k t\r\n", "STORED\r\nHD t2592000\r\n"},
        {"set k 0 2592001 1\r\nv\r\nget k\r\n", "STORED\r\nEND\r\n"},
        {"set k 0 4000000060 1\r\nv\r\nmg k t\r\n", "STORED\r\nHD t60\r\n"},
        {"set k 0 4000000000 1\r\nv\r\nget k\r\n", "STORED\r\nEND\r\n"},
        {"set k 0 -1 1\r\nv\r\nget k\r\n", "STORED\r\nEND\r\n"},
        {"set k 0 4102444800 1\r\nv\r\nmg k t\r\n", "STORED\r\nHD t102444800\r\n"},
        {"set k 0 99999999999 1\r\nv\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void
unknown_commands_are_errors_and_those_refused_are_refused_as_by_memcached(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"\r\n", BAD_LINE},
        {"\n", BAD_LINE},
        {"   \r\n", "ERROR\r\n"},
        {"m\r\n", BAD_LINE},
        {"foo noreply\r\n", ""},
        {"mx a\r\n", "ERROR\r\n"},
        {"GET a\r\n", "ERROR\r\n"},
        {"getx a\r\n", "ERROR\r\n"},
        {"quitx\r\n", "ERROR\r\n"},
        {"mnx\r\n", "ERROR\r\n"},
        {"mn x\r\n", "MN\r\n"},
        {"shutdown\r\n", "SERVER_ERROR: shutdown not enabled\r\n"},
        {"cache_memlimit 65\r\n", "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n"},
        {"verbosity\r\n", BAD_LINE},
        {"verbosity x\r\n", BAD_LINE},
        {"verbosity 0 1 2\r\n", "OK\r\n"},
        {"verbosity 0 1\r\n", "OK\r\n"},
        {"version\r\n", "VERSION 1.6.45\r\n"},
        {"version x\r\n", "VERSION 1.6.45\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void quit_closes_behind_all_replies_before_it(void **state) {
    struct talk *talk = *state;
    talk_send(talk, bytes_from_string("mn\r\nquit now\r\nmn\r\n"));
    talk_expect(talk, bytes_from_string("MN\r\n"));
    assert_true(talk->closed);
}

static void a_browser_is_cut_off_before_its_body_is_read_as_commands(void **state) {
    struct talk *talk = *state;
    talk_send(talk, bytes_from_string("POST / HTTP/1.1\r\nX: y\r\n\r\nflush_all\r\n"));
    talk_expect(talk, bytes_from_string(""));
    assert_true(talk->closed);
}

/* The value of a statistic in a reply: the text after its name. */
static const char *find_stat(const char *reply, const char *name) {
    char line[64];
    snprintf(line, sizeof line, "STAT %s ", name);
    const char *at = strstr(reply, line);
    if (at == NULL) {
        fail_msg("no statistic %s", name);
    }
    return at + strlen(line);
}

static void stats_tells_the_process_the_counters_and_the_pool(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "set k 0 0 1\r\nv\r\nget k x\r\n", "STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n");
    talk_send(talk, bytes_from_string("stats\r\n"));
    assert_true(buffer_append(&talk->replies, "", 1));
    const char *reply = talk->replies.data;
    assert_int_equal(strncmp(find_stat(reply, "version"), "1.6.45\r\n", 8), 0);
    assert_int_equal(strncmp(find_stat(reply, "stayd_version"), STAYD_VERSION "\r\n", 5), 0);
    assert_int_equal(atoll(find_stat(reply, "time")), TALK_NOW_S);
    assert_int_equal(atoi(find_stat(reply, "uptime")), 5);
    assert_int_equal(atoi(find_stat(reply, "threads")), 3);
    assert_int_equal(atoi(find_stat(reply, "cmd_get")), 2);
    assert_int_equal(atoi(find_stat(reply, "get_hits")), 1);
    assert_int_equal(atoi(find_stat(reply, "get_misses")), 1);
    assert_int_equal(atoi(find_stat(reply, "cmd_set")), 1);
    assert_int_equal(atoi(find_stat(reply, "curr_items")), 1);
    assert_int_equal(atoi(find_stat(reply, "limit_maxbytes")), 16 << 20);
    assert_int_equal(strncmp(find_stat(reply, "pool"), "test\r\n", 6), 0);
    assert_int_equal(strncmp(find_stat(reply, "evict"), "yes\r\n", 5), 0);
    assert_int_equal(strncmp(find_stat(reply, "persist"), "no\r\n", 4), 0);
    assert_int_equal(strncmp(find_stat(reply, "read_only"), "no\r\n", 4), 0);
    assert_int_equal(strcmp(reply + talk->replies.size - 6, "END\r\n"), 0);
    talk->replies.size = 0;
    talk_ask(talk, "stats reset\r\n", "RESET\r\n");
    talk_ask(talk, "stats foo\r\n", "ERROR\r\n");
    talk_send(talk, bytes_from_string("stats settings\r\n"));
    assert_true(buffer_append(&talk->replies, "", 1));
    assert_int_equal(atoi(find_stat(talk->replies.data, "item_size_max")), TALK_ITEM_MAX);
    assert_int_equal(strncmp(find_stat(talk->replies.data, "evictions"), "on\r\n", 4), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TALK(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
        TALK(storage_commands_store_under_their_condition),
        TALK(the_value_behind_a_faulty_storage_line_is_thrown_away),
        TALK(a_faulty_storage_line_that_does_not_tell_the_length_of_its_value_closes),
        TALK(a_value_of_another_length_is_refused_and_as_many_bytes_are_taken),
        TALK(noreply_silences_every_command_and_its_faults),
        TALK(retrieval_answers_what_is_there_in_the_order_asked),
        TALK(a_key_of_251_bytes_is_refused_by_every_command),
        TALK(the_value_for_a_key_of_251_bytes_is_thrown_away_by_every_command),
        TALK(a_bad_key_takes_back_its_own_get_and_no_reply_before_it),
        TALK(arithmetic_counts),
        TALK(touch_delete_and_flush_end_and_prolong_lives),
        TALK(an_expiry_is_relative_absolute_or_past),
        TALK(unknown_commands_are_errors_and_those_refused_are_refused_as_by_memcached),
        TALK(quit_closes_behind_all_replies_before_it),
        TALK(a_browser_is_cut_off_before_its_body_is_read_as_commands),
        TALK(stats_tells_the_process_the_counters_and_the_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
