/* What libstayd sends, and how it reads the replies, which come in pieces of any size. */
#include "scripted_server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* The protocol allows at most 30 days as a duration. */
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

static void a_value_of_another_key_is_not_taken(void **state) {
    (void)state;
    answer("get k\r\n", "VALUE other 0 1\r\nv\r\nEND\r\n");
    assert_int_equal(get(), STAYD_PROTOCOL);
    expect_failure(STAYD_PROTOCOL, "not asked for");
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

int main(void) {
    signal(SIGPIPE, SIG_DFL);
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
        WITH_SERVER(many_keys_are_one_request),
        WITH_SERVER(a_meta_reply_is_taken_apart),
        WITH_SERVER(a_value_of_another_key_is_not_taken),
        WITH_SERVER(a_server_that_speaks_otherwise_is_disconnected),
        WITH_SERVER(a_value_of_another_length_is_disconnected),
        WITH_SERVER(a_length_that_cannot_be_is_disconnected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
