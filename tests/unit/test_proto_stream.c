/* Replies do not depend on how the bytes arrive, and memory is bounded for any input. */
#include "proto_support.h"

#include "proto/line.h"

#include <stdio.h>

/* Every command, every kind of fault, and values that look like requests. The requests set the CAS
 * numbers, so that they are the same in each run. */
static const char stream[] =
    "set a 1 0 5\r\nhello\r\n"
    "get a b a\r\n"
    "set b 0 100 4 noreply\r\nmn\r\n\r\n"
    "  gat  50  a   b  \r\n"
    "ms c 3 E77 k O1 c\r\nx\ny\r\n"
    "gets c none\r\n"
    "get c\n"
    "cas c 2 0 0 77\r\n\r\n"
    "cas c 2 0 1 77\r\nz\r\n"
    "append a 0 0 7\r\n\r\n\r\n\r\n!\r\n"
    "prepend a 0 0 0\r\n\r\n"
    "get a\r\n"
    "set a 0 0 3\r\nlonger\r\n"
    "set a x 0 4\r\nmn\r\n\r\n"
    "cas a 0 0 9 x noreply\r\nflush_all\r\n"
    "add a\001b 0 0 0\r\n\r\n"
    "ms a 4 z\r\nmn\r\n\r\n"
    "set a 0 0 70000 noreply\r\n"
    "mn\r\n"
    "ms d 4 z\r\nmn\r\n\r\n"
    "ms d 4 q Tx\r\nmn\r\n\r\n"
    "ms d 2 q\r\nok\r\n"
    "mg d v q k\r\n"
    "mg e v q k\r\n"
    "mg e N30 t v\r\n"
    "mg YQ== b k v s\r\n"
    "add n 0 0 2\r\n10\r\n"
    "incr n 5\r\ndecr n 7 noreply\r\nma n v D2\r\nincr n x\r\nincr none 1\r\n"
    "touch n 100\r\ntouch none 1\r\n"
    "delete n\r\ndelete n\r\ndelete n 1\r\nmd d k\r\nmd d q O1\r\n"
    "replace n 0 0 1\r\nx\r\n"
    "get a\001b\r\n"
    "get a b\001 c\r\n"
    "foo\r\n\r\n\n \r\nget\r\nmg\r\nma\r\nincr\r\n"
    "verbosity 0\r\nversion\r\nstats reset\r\nstats foo\r\nflush_all 1000\r\nflush_all\r\n"
    "get a b c d e n\r\n"
    "mn\r\nset a 0 0 x\r\nmn\r\n";

/* The 70,000 bytes are more than an item may have. No request may be hidden in them. */
static struct bytes make_stream(void) {
    static char text[sizeof stream + 70002];
    const char *at = strstr(stream, "mn\r\nms d");
    size_t head = (size_t)(at - stream);
    memcpy(text, stream, head);
    for (size_t i = 0; i < 70000; i += 4) {
        memcpy(text + head + i, "mn\r\n", 4);
    }
    memcpy(text + head + 70000, "\r\n", 2);
    memcpy(text + head + 70002, at + 4, sizeof stream - 1 - head - 4);
    return bytes_from(text, sizeof stream - 1 - 4 + 70002);
}

static struct bytes part(struct bytes text, size_t from, size_t to) {
    return bytes_from(text.data + from, to - from);
}

/* All replies to `text` in one piece; the caller frees. */
static struct bytes replies_to(struct talk *talk, struct bytes text) {
    talk_restart(talk);
    talk_send(talk, text);
    char *said = malloc(talk->replies.size + 1);
    assert_non_null(said);
    memcpy(said, talk->replies.data, talk->replies.size);
    struct bytes replies = bytes_from(said, talk->replies.size);
    talk->replies.size = 0;
    return replies;
}

static void a_stream_cut_at_any_one_place_is_answered_the_same(void **state) {
    struct talk *talk = *state;
    struct bytes text = make_stream();
    struct bytes expected = replies_to(talk, text);
    assert_true(talk->closed);
    assert_true(expected.size > 500);
    for (size_t cut = 1; cut<text.size; cut += cut> 1000 && cut < 70000 ? 997 : 1) {
        talk_restart(talk);
        talk_send(talk, part(text, 0, cut));
        talk_send(talk, part(text, cut, text.size));
        talk_expect(talk, expected);
        assert_true(talk->closed);
    }
    free((char *)expected.data);
}

static void a_stream_that_comes_byte_by_byte_is_answered_the_same(void **state) {
    struct talk *talk = *state;
    struct bytes text = make_stream();
    struct bytes expected = replies_to(talk, text);
    talk_restart(talk);
    for (size_t i = 0; i < text.size; i++) {
        talk_send(talk, part(text, i, i + 1));
    }
    talk_expect(talk, expected);
    free((char *)expected.data);
}

static void a_stream_in_random_pieces_is_answered_the_same(void **state) {
    struct talk *talk = *state;
    struct bytes text = make_stream();
    struct bytes expected = replies_to(talk, text);
    uint32_t random = 12345;
    for (int round = 0; round < 300; round++) {
        talk_restart(talk);
        size_t at = 0;
        while (at < text.size) {
            random = random * 1664525 + 1013904223;
            size_t largest = (random >> 28) < 14 ? 40 : 30000;
            size_t size = 1 + (random >> 4) % largest;
            size_t end = at + size < text.size ? at + size : text.size;
            talk_send(talk, part(text, at, end));
            at = end;
        }
        talk_expect(talk, expected);
    }
    free((char *)expected.data);
}

/* A get of many keys, one of which exists, with several spaces between them. The line is longer
 * than other lines may be. */
static struct bytes make_long_get(const char *verb, size_t *hits) {
    static char text[16384];
    size_t size = (size_t)snprintf(text, sizeof text, "%s  ", verb);
    *hits = 0;
    for (int i = 0; i < 90; i++) {
        bool hit = i % 7 == 3 || i == 89;
        *hits += hit;
        size += (size_t)snprintf(text + size, sizeof text - size, "%s%s",
                                 hit ? "hit" : "a-rather-long-key-that-is-not-there",
                                 i % 5 == 0 ? "   " : " ");
    }
    size += (size_t)snprintf(text + size, sizeof text - size, " \r\nmn\r\n");
    assert_true(size > REQUEST_LINE_MAX + 300);
    return bytes_from(text, size);
}

static void a_long_multi_get_is_answered_however_it_comes(void **state) {
    static const char *const verbs[] = {"get", "gets", "gat 100", "gats 0"};
    struct talk *talk = *state;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        size_t hits;
        struct bytes text = make_long_get(verbs[i], &hits);
        bool with_cas = strchr(verbs[i], 's') != NULL;
        for (size_t cut = 0; cut < text.size; cut += BRIEF_STEP) {
            talk_restart(talk);
            talk_ask(talk, "ms hit 1 E9\r\nv\r\n", "HD\r\n");
            talk_send(talk, part(text, 0, cut));
            assert_true(talk->input.size <= REQUEST_LINE_MAX + 2);
            talk_send(talk, part(text, cut, text.size));
            char expected[8192] = "";
            for (size_t hit = 0; hit < hits; hit++) {
                strcat(expected, with_cas ? "VALUE hit 0 1 9\r\nv\r\n" : "VALUE hit 0 1\r\nv\r\n");
            }
            strcat(expected, "END\r\nMN\r\n");
            talk_expect(talk, bytes_from_string(expected));
        }
    }
}

static void the_longest_key_ends_a_long_multi_get_however_it_comes(void **state) {
    struct talk *talk = *state;
    struct bytes spaces = talk_text("get", ' ', 3000, "");
    struct bytes key = talk_text("", 'k', POOL_KEY_MAX, "\r\nmn\r\n");
    for (size_t cut = 0; cut < key.size; cut++) {
        talk_send(talk, spaces);
        talk_send(talk, part(key, 0, cut));
        talk_send(talk, part(key, cut, key.size));
        talk_expect(talk, bytes_from_string("END\r\nMN\r\n"));
    }
    free((char *)spaces.data);
    free((char *)key.data);
}

static void a_bad_key_in_a_long_multi_get_ends_it_with_an_error(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "set k 0 0 1\r\nv\r\n", "STORED\r\n");
    struct bytes spaces = talk_text("get k ", ' ', 3000, "");
    struct bytes rest = talk_text("k ", 'k', 251, " k k\r\nmn\r\n");
    struct bytes endless = talk_text("k ", 'k', 251 + 9000, "");
    talk_send(talk, spaces);
    talk_send(talk, rest);
    talk_expect(talk, bytes_from_string("VALUE k 0 1\r\nv\r\nVALUE k 0 1\r\nv\r\n"
                                        "CLIENT_ERROR bad command line format\r\nMN\r\n"));
    talk_send(talk, spaces);
    for (size_t i = 0; i < endless.size; i++) {
        talk_send(talk, part(endless, i, i + 1));
        assert_true(talk->input.size <= REQUEST_LINE_MAX + 2);
    }
    talk_send(talk, bytes_from_string(" k\r\nmn\r\n"));
    talk_expect(talk, bytes_from_string("VALUE k 0 1\r\nv\r\nVALUE k 0 1\r\nv\r\n"
                                        "CLIENT_ERROR bad command line format\r\nMN\r\n"));
    free((char *)spaces.data);
    free((char *)rest.data);
    free((char *)endless.data);
}

static void a_long_get_of_no_keys_is_an_error_and_of_one_key_an_answer(void **state) {
    struct talk *talk = *state;
    struct bytes none = talk_text("get", ' ', 3000, "\r\n");
    talk_ask(talk, none.data, "CLIENT_ERROR bad command line format\r\n");
    struct bytes one = talk_text("get", ' ', 3000, "k\r\n");
    talk_ask(talk, one.data, "END\r\n");
    struct bytes bad = talk_text("gat x", ' ', 3000, "k\r\n");
    talk_ask(talk, bad.data, "CLIENT_ERROR invalid exptime argument\r\n");
    free((char *)none.data);
    free((char *)one.data);
    free((char *)bad.data);
}

static void a_line_without_an_end_closes_the_connection(void **state) {
    static const char *const heads[] = {"",    "set k 0 0 ", "mg k ", "delete ",
                                        "mn ", "gat ",       "getx "};
    struct talk *talk = *state;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        talk_restart(talk);
        size_t count = REQUEST_LINE_MAX - strlen(heads[i]);
        struct bytes longest = talk_text(heads[i], 'x', count, "\r\n");
        talk_send(talk, part(longest, 0, longest.size - 1));
        assert_false(talk->closed);
        talk_send(talk, part(longest, longest.size - 1, longest.size));
        bool tells_no_length = heads[i][0] == 's'; /* the line is read, as its reply shows */
        assert_int_equal(talk->closed, tells_no_length);
        assert_int_equal(talk->input.size, 0);
        if (tells_no_length) {
            talk_expect(talk, bytes_from_string("CLIENT_ERROR bad command line format\r\n"));
        }
        talk_restart(talk);
        struct bytes longer = talk_text(heads[i], 'x', count + 2, "");
        talk_send(talk, longer);
        assert_true(talk->closed);
        talk_expect(talk, bytes_from_string("CLIENT_ERROR line too long\r\n"));
        free((char *)longest.data);
        free((char *)longer.data);
    }
}

static void a_value_is_waited_for_in_one_piece(void **state) {
    struct talk *talk = *state;
    struct bytes value = talk_text("", 'v', 50000, "\r\n");
    talk_send(talk, bytes_from_string("mn\r\nset k 0 0 50000\r\n"));
    talk_expect(talk, bytes_from_string("MN\r\n"));
    assert_int_equal(talk->wanted, strlen("set k 0 0 50000\r\n") + 50002);
    talk_send(talk, part(value, 0, 50001));
    talk_expect(talk, bytes_from_string(""));
    talk_send(talk, part(value, 50001, 50002));
    talk_expect(talk, bytes_from_string("STORED\r\n"));
    free((char *)value.data);
}

static void a_value_too_large_is_never_buffered_and_refused_behind_it(void **state) {
    static const char *const lines[] = {
        "set k 0 0 2147483645\r\n", "add k 0 0 65536\r\n",          "append k 0 0 65536\r\n",
        "cas k 0 0 65536 1\r\n",    "set k 0 0 2000000000 x\r\n",   "ms k 65536\r\n",
        "ms k 2147483645 q k\r\n",  "prepend k 0 0 1000000000\r\n",
    };
    struct talk *talk = *state;
    struct bytes piece = talk_text("", '\n', 60000, "");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        talk_restart(talk);
        talk_ask(talk, lines[i],
                 ""); /* a reply before the value would put the connection out of step */
        assert_true(talk->connection.progress.skip_bytes > TALK_ITEM_MAX);
        uint64_t left = talk->connection.progress.skip_bytes;
        for (int pieces = 0; pieces < 20 && left > piece.size; pieces++) {
            talk_send(talk, piece);
            left -= piece.size;
            assert_int_equal(talk->input.size, 0);
            assert_int_equal(talk->connection.progress.skip_bytes, left);
        }
        if (left <= piece.size) {
            talk_send(talk, part(piece, 0, left));
            talk_expect(talk, bytes_from_string("SERVER_ERROR object too large for cache\r\n"));
            talk_ask(talk, "mn\r\n", "MN\r\n");
        }
        talk_expect(talk, bytes_from_string(""));
    }
    free((char *)piece.data);
}

static void many_replies_are_handed_out_in_bounded_pieces(void **state) {
    struct talk *talk = *state;
    struct bytes set = talk_text("set k 0 0 50000\r\n", 'v', 50000, "\r\n");
    talk_ask(talk, set.data, "STORED\r\n");
    char get[1000] = "get";
    for (int i = 0; i < 400; i++) {
        strcat(get, " k");
    }
    strcat(get, "\r\n");
    struct bytes item = talk_text("VALUE k 0 50000\r\n", 'v', 50000, "\r\n");
    struct buffer expected = {0};
    for (int i = 0; i < 400; i++) {
        assert_true(buffer_append(&expected, item.data, item.size));
    }
    assert_true(buffer_append_string(&expected, "END\r\n"));
    talk_send(talk, bytes_from_string(get));
    talk_expect(talk, bytes_from(expected.data, expected.size));
    assert_true(talk->flushes >= 400 * 50000 / PROTO_REPLY_BATCH / 2);
    assert_true(talk->replies_peak <= PROTO_REPLY_BATCH + 2 * 51000);
    talk->replies_peak = 0;
    for (int i = 0; i < 100; i++) {
        talk_send(talk, bytes_from_string("get k k k k k k k k k k\r\nmg k v\r\nmn\r\nfoo\r\n"));
    }
    assert_true(talk->replies_peak <= PROTO_REPLY_BATCH + 2 * 51000);
    free((char *)set.data);
    free((char *)item.data);
    buffer_finish(&expected);
}

static void a_bad_key_behind_many_replies_takes_them_back_before_they_are_sent(void **state) {
    struct talk *talk = *state;
    struct bytes set = talk_text("set k 0 0 50000\r\n", 'v', 50000, "\r\n");
    talk_ask(talk, set.data, "STORED\r\n");
    talk_ask(talk, "mn\r\nget k k k k k k k k k k k k k k k k k k k k k k k k k k k\001\r\nmn\r\n",
             "MN\r\nCLIENT_ERROR bad command line format\r\nMN\r\n");
    assert_int_equal(talk->flushes, 0);
    free((char *)set.data);
}

static void a_hundred_thousand_requests_in_one_piece_are_answered(void **state) {
    enum { REQUESTS = 100000 };
    struct talk *talk = *state;
    struct buffer request = {0};
    struct buffer expected = {0};
    for (int i = 0; i < REQUESTS; i++) {
        const char *asked = i % 3 == 0   ? "set k 0 0 1\r\nv\r\n"
                            : i % 3 == 1 ? "get k\r\n"
                                         : "foo\r\n";
        const char *said = i % 3 == 0   ? "STORED\r\n"
                           : i % 3 == 1 ? "VALUE k 0 1\r\nv\r\nEND\r\n"
                                        : "ERROR\r\n";
        assert_true(buffer_append_string(&request, asked));
        assert_true(buffer_append_string(&expected, said));
    }
    talk_send(talk, bytes_from(request.data, request.size));
    talk_expect(talk, bytes_from(expected.data, expected.size));
    assert_true(talk->replies_peak <= PROTO_REPLY_BATCH + 100);
    buffer_finish(&request);
    buffer_finish(&expected);
}

static void no_more_requests_are_answered_than_the_turn_has(void **state) {
    struct talk *talk = *state;
    static const char *const replies[] = {"MN\r\nMN\r\n", "EN\r\n", "STORED\r\n", "MN\r\n"};
    struct bytes requests = bytes_from_string("mn\r\nmn\r\nmg k\r\nset k 0 0 1\r\nv\r\nmn\r\n");
    for (size_t turn = 0; turn < 4; turn++) {
        size_t consumed;
        talk->connection.turn_left = turn == 0 ? 2 : 1;
        enum proto_next next = proto_process(&talk->connection, &talk->thread, requests, &consumed,
                                             &talk->wanted, &talk->replies);
        assert_int_equal(next, turn < 3 ? PROTO_FLUSH : PROTO_READ);
        talk_expect(talk, bytes_from_string(replies[turn]));
        requests = bytes_from(requests.data + consumed, requests.size - consumed);
    }
    assert_int_equal(requests.size, 0);
}

static void garbage_of_every_kind_leaves_the_pool_in_order(void **state) {
    static const char *const words[] = {
        "get",
        "gets",
        "set",
        "add",
        "cas",
        "append",
        "incr",
        "decr",
        "touch",
        "gat",
        "md",
        "mg",
        "ms",
        "ma",
        "mn",
        "delete",
        "stats",
        "version",
        "k",
        "l",
        "0",
        "1",
        "-1",
        "4",
        "noreply",
        "v",
        "q",
        "T30",
        "N30",
        "R30",
        "MA",
        "C1",
        "I",
        "b",
        "O1",
        "E5",
        "F7",
        "YQ==",
        "\r",
        "\n",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r\n",
        "v\r\n",
        "\001",
        "\377",
        " ",
        "  ",
        "k\r\n",
        "4294967296",
        "99999999999999999999999",
        "flush_all",
        "MD",
        "D5",
        "J7",
        "verbosity",
    };
    struct talk *talk = *state;
    uint32_t random = 99;
    for (int round = 0; round < 3000; round += BRIEF_STEP) {
        talk_restart(talk);
        for (int i = 0; i < 60 && !talk->closed; i++) {
            random = random * 1664525 + 1013904223;
            const char *word = words[(random >> 8) % (sizeof words / sizeof words[0])];
            talk_send(talk, bytes_from_string(word));
            if ((random >> 4) % 8 != 0) {
                talk_send(talk, bytes_from_string(" "));
            }
        }
    }
    talk_restart(talk);
    talk_ask(talk, "set k 0 0 1\r\nv\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n");
}

/* One request in LATENCY_EVERY is measured. A set whose value arrives after its line runs twice. */
static void sets_whose_values_follow_their_lines_are_measured(void **state) {
    struct talk *talk = *state;
    talk_restart(talk);
    uint64_t before = 0;
    uint64_t after = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        before += talk->service.latency.buckets[LATENCY_SET][i];
    }
    talk_send(talk, bytes_from_string("set k 0 0 1\r\n"));
    talk_ask(talk, "v\r\n", "STORED\r\n");
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        after += talk->service.latency.buckets[LATENCY_SET][i];
    }
    assert_int_equal(after, before + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TALK(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
        TALK(a_stream_cut_at_any_one_place_is_answered_the_same),
        TALK(a_stream_that_comes_byte_by_byte_is_answered_the_same),
        TALK(a_stream_in_random_pieces_is_answered_the_same),
        TALK(a_long_multi_get_is_answered_however_it_comes),
        TALK(the_longest_key_ends_a_long_multi_get_however_it_comes),
        TALK(a_bad_key_in_a_long_multi_get_ends_it_with_an_error),
        TALK(a_long_get_of_no_keys_is_an_error_and_of_one_key_an_answer),
        TALK(a_line_without_an_end_closes_the_connection),
        TALK(a_value_is_waited_for_in_one_piece),
        TALK(a_value_too_large_is_never_buffered_and_refused_behind_it),
        TALK(many_replies_are_handed_out_in_bounded_pieces),
        TALK(a_bad_key_behind_many_replies_takes_them_back_before_they_are_sent),
        TALK(a_hundred_thousand_requests_in_one_piece_are_answered),
        TALK(no_more_requests_are_answered_than_the_turn_has),
        TALK(sets_whose_values_follow_their_lines_are_measured),
        TALK(garbage_of_every_kind_leaves_the_pool_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
