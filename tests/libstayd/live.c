/* Calls every function of stayd.h on real servers, whose URLs are in STAYD_TEST_SERVERS: stayd or
 * memcached, without or with TLS, with a login of either kind, or several servers. test_live.py
 * runs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stayd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 1000, LARGE = 900000 };

static struct stayd *client;
static struct stayd_error error;

static int open_client(void **state) {
    (void)state;
    struct stayd_options options;
    stayd_options_init(&options);
    const char *distribution = getenv("STAYD_TEST_DISTRIBUTION");
    options.distribution = distribution != NULL ? (enum stayd_distribution)atoi(distribution) : 0;
    options.user = getenv("STAYD_TEST_USER");
    options.password = getenv("STAYD_TEST_PASSWORD");
    client = stayd_open(getenv("STAYD_TEST_SERVERS"), &options, &error);
    if (client == NULL || stayd_flush_all(client, 0, &error) != STAYD_OK) {
        fprintf(stderr, "%s\n", error.message);
        return -1;
    }
    return 0;
}

static int close_client(void **state) {
    (void)state;
    stayd_close(client);
    return 0;
}

static enum stayd_status set(const char *key, const char *value, int64_t ttl_s) {
    return stayd_set(client, key, strlen(key), value, strlen(value), 7, ttl_s, &error);
}

/* The item has this value. */
static void expect(const char *key, const char *data) {
    struct stayd_value value = {0};
    assert_int_equal(stayd_get(client, key, strlen(key), &value, &error), STAYD_OK);
    assert_string_equal(value.data, data);
    assert_int_equal(value.size, strlen(data));
    stayd_value_free(&value);
}

static void expect_missing(const char *key) {
    struct stayd_value value = {0};
    assert_int_equal(stayd_get(client, key, strlen(key), &value, &error), STAYD_NOT_FOUND);
    assert_int_equal(value.size, 0);
    stayd_value_free(&value);
}

static void an_item_comes_back_as_it_was_stored(void **state) {
    (void)state;
    struct stayd_value value = {0};
    assert_int_equal(stayd_set(client, "bin", 3, "a\0\r\nEND\r\n", 9, UINT32_MAX, 0, &error),
                     STAYD_OK);
    assert_int_equal(stayd_get(client, "bin", 3, &value, &error), STAYD_OK);
    assert_int_equal(value.size, 9);
    assert_int_equal(value.flags, UINT32_MAX);
    assert_memory_equal(value.data, "a\0\r\nEND\r\n", 9);
    assert_int_equal(stayd_set(client, "bin", 3, NULL, 0, 0, 0, &error), STAYD_OK);
    assert_int_equal(stayd_get(client, "bin", 3, &value, &error), STAYD_OK);
    assert_int_equal(value.size, 0);
    stayd_value_free(&value);
    expect_missing("other");
}

static void a_large_value_goes_and_comes_whole(void **state) {
    (void)state;
    struct stayd_value value = {0};
    char *large = malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++) {
        large[i] = (char)(i * 31 >> 3);
    }
    assert_int_equal(stayd_set(client, "large", 5, large, LARGE, 0, 0, &error), STAYD_OK);
    assert_int_equal(stayd_get(client, "large", 5, &value, &error), STAYD_OK);
    assert_int_equal(value.size, LARGE);
    assert_memory_equal(value.data, large, LARGE);
    stayd_value_free(&value);
    free(large);
}

static void a_value_that_is_too_large_is_refused_and_the_next_goes_on(void **state) {
    (void)state;
    size_t size = 3 << 20;
    char *large = calloc(1, size);
    assert_int_equal(stayd_set(client, "k", 1, large, size, 0, 0, &error), STAYD_TOO_LARGE);
    assert_int_equal(error.status, STAYD_TOO_LARGE);
    free(large);
    assert_int_equal(set("k", "v", 0), STAYD_OK);
    expect("k", "v");
}

static void add_and_replace_look_whether_there_is_one(void **state) {
    (void)state;
    assert_int_equal(stayd_replace(client, "r", 1, "0", 1, 0, 0, &error), STAYD_NOT_STORED);
    assert_int_equal(stayd_add(client, "r", 1, "1", 1, 0, 0, &error), STAYD_OK);
    assert_int_equal(stayd_add(client, "r", 1, "2", 1, 0, 0, &error), STAYD_NOT_STORED);
    expect("r", "1");
    assert_int_equal(stayd_replace(client, "r", 1, "3", 1, 0, 0, &error), STAYD_OK);
    expect("r", "3");
}

static void append_and_prepend_add_to_a_value(void **state) {
    (void)state;
    assert_int_equal(stayd_append(client, "a", 1, "x", 1, &error), STAYD_NOT_STORED);
    assert_int_equal(stayd_prepend(client, "a", 1, "x", 1, &error), STAYD_NOT_STORED);
    assert_int_equal(set("a", "b", 0), STAYD_OK);
    assert_int_equal(stayd_append(client, "a", 1, "c", 1, &error), STAYD_OK);
    assert_int_equal(stayd_prepend(client, "a", 1, "a", 1, &error), STAYD_OK);
    expect("a", "abc");
}

static void cas_stores_over_what_was_read_alone(void **state) {
    (void)state;
    struct stayd_value value = {0};
    assert_int_equal(stayd_cas(client, "c", 1, "1", 1, 0, 0, 5, &error), STAYD_NOT_FOUND);
    assert_int_equal(stayd_cas(client, "c", 1, "1", 1, 0, 0, 0, &error), STAYD_INVALID);
    assert_int_equal(set("c", "0", 0), STAYD_OK);
    assert_int_equal(stayd_gets(client, "c", 1, &value, &error), STAYD_OK);
    assert_int_not_equal(value.cas, 0);
    assert_int_equal(stayd_cas(client, "c", 1, "1", 1, 0, 0, value.cas, &error), STAYD_OK);
    assert_int_equal(stayd_cas(client, "c", 1, "2", 1, 0, 0, value.cas, &error), STAYD_EXISTS);
    expect("c", "1");
    stayd_value_free(&value);
}

static void numbers_are_counted(void **state) {
    (void)state;
    uint64_t number = 0;
    assert_int_equal(stayd_incr(client, "n", 1, 1, &number, &error), STAYD_NOT_FOUND);
    assert_int_equal(set("n", "18446744073709551615", 0), STAYD_OK);
    assert_int_equal(stayd_incr(client, "n", 1, 11, &number, &error), STAYD_OK);
    assert_int_equal(number, 10);
    assert_int_equal(stayd_decr(client, "n", 1, 3, NULL, &error), STAYD_OK);
    assert_int_equal(stayd_decr(client, "n", 1, 100, &number, &error), STAYD_OK);
    assert_int_equal(number, 0);
    assert_int_equal(set("n", "word", 0), STAYD_OK);
    assert_int_equal(stayd_incr(client, "n", 1, 1, &number, &error), STAYD_REFUSED);
    assert_int_equal(error.status, STAYD_REFUSED);
}

static void a_time_to_live_begins_and_ends(void **state) {
    (void)state;
    struct stayd_value value = {0};
    assert_int_equal(set("t", "v", -1), STAYD_OK);
    expect_missing("t");
    assert_int_equal(set("t", "v", 100), STAYD_OK);
    assert_int_equal(stayd_touch(client, "t", 1, 60 * 86400, &error), STAYD_OK);
    expect("t", "v");
    assert_int_equal(stayd_gat(client, "t", 1, 100, &value, &error), STAYD_OK);
    assert_string_equal(value.data, "v");
    assert_int_equal(value.flags, 7);
    assert_int_not_equal(value.cas, 0);
    assert_int_equal(stayd_gat(client, "none", 4, 100, &value, &error), STAYD_NOT_FOUND);
    assert_int_equal(stayd_touch(client, "t", 1, -1, &error), STAYD_OK);
    expect_missing("t");
    assert_int_equal(stayd_touch(client, "t", 1, 100, &error), STAYD_NOT_FOUND);
    assert_int_equal(set("t", "v", INT64_MAX), STAYD_OK);
    stayd_value_free(&value);
}

static void a_deleted_item_is_missing(void **state) {
    (void)state;
    assert_int_equal(set("d", "v", 0), STAYD_OK);
    assert_int_equal(stayd_delete(client, "d", 1, &error), STAYD_OK);
    assert_int_equal(stayd_delete(client, "d", 1, &error), STAYD_NOT_FOUND);
    expect_missing("d");
}

static void many_items_are_stored_read_and_deleted(void **state) {
    (void)state;
    static char keys[MANY][16];
    static char values[MANY][1024];
    static struct stayd_item items[MANY + 1];
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < MANY; i++) {
        int size = snprintf(keys[i], sizeof keys[i], "many:%zu", i);
        memset(values[i], 'a' + (int)(i % 26), sizeof values[i]);
        items[i] =
            (struct stayd_item){.key = keys[i],
                                .key_size = (size_t)size,
                                .value = {.data = values[i], .size = i, .flags = (uint32_t)i}};
    }
    assert_int_equal(stayd_set_many(client, items, MANY, 0, &error), STAYD_OK);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(items[i].status, STAYD_OK);
        items[i].value = (struct stayd_value){0};
    }
    items[MANY] = items[0]; /* twice the same */
    assert_int_equal(stayd_delete(client, keys[500], strlen(keys[500]), &error), STAYD_OK);
    assert_int_equal(stayd_get_many(client, items, MANY + 1, &error), STAYD_OK);
    for (size_t i = 0; i <= MANY; i++) {
        assert_int_equal(items[i].status, i == 500 ? STAYD_NOT_FOUND : STAYD_OK);
        assert_int_equal(items[i].value.size, i == 500 || i == MANY ? 0 : i);
        assert_int_equal(items[i].value.flags, i == 500 || i == MANY ? 0 : i);
        if (items[i].value.size > 0) {
            assert_memory_equal(items[i].value.data, values[i], i);
            assert_int_not_equal(items[i].value.cas, 0);
        }
    }
    assert_int_equal(stayd_delete_many(client, items, MANY, &error), STAYD_OK);
    assert_int_equal(items[500].status, STAYD_NOT_FOUND);
    assert_int_equal(items[501].status, STAYD_OK);
    assert_int_equal(stayd_get_many(client, items, MANY, &error), STAYD_OK);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(items[i].status, STAYD_NOT_FOUND);
    }
    stayd_items_free(items, MANY + 1);
    assert_int_equal(stayd_get_many(client, NULL, 0, &error), STAYD_OK);
}

/* More bytes than the buffers of both sockets hold, in both directions. */
static void large_batches_do_not_block_each_other(void **state) {
    (void)state;
    enum { COUNT = 40, BYTES = 500000 };
    static char keys[COUNT][16];
    struct stayd_item items[COUNT] = {0};
    char *data = malloc(BYTES);
    memset(data, 'x', BYTES);
    for (size_t i = 0; i < COUNT; i++) {
        int size = snprintf(keys[i], sizeof keys[i], "big:%zu", i);
        items[i] = (struct stayd_item){
            .key = keys[i], .key_size = (size_t)size, .value = {.data = data, .size = BYTES}};
    }
    assert_int_equal(stayd_set_many(client, items, COUNT, 0, &error), STAYD_OK);
    for (size_t i = 0; i < COUNT; i++) {
        items[i].value = (struct stayd_value){0};
    }
    assert_int_equal(stayd_get_many(client, items, COUNT, &error), STAYD_OK);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(items[i].status, STAYD_OK);
        assert_int_equal(items[i].value.size, BYTES);
        assert_memory_equal(items[i].value.data, data, BYTES);
    }
    stayd_items_free(items, COUNT);
    free(data);
}

static void one_of_many_may_fail_alone(void **state) {
    (void)state;
    size_t size = 3 << 20;
    char *large = calloc(1, size);
    char small[] = "s";
    struct stayd_item items[] = {
        {.key = "s1", .key_size = 2, .value = {.data = small, .size = 1}},
        {.key = "l1", .key_size = 2, .value = {.data = large, .size = size}},
        {.key = "s2", .key_size = 2, .value = {.data = small, .size = 1}}};
    assert_int_equal(stayd_set_many(client, items, 3, 0, &error), STAYD_TOO_LARGE);
    assert_int_equal(items[0].status, STAYD_OK);
    assert_int_equal(items[1].status, STAYD_TOO_LARGE);
    assert_int_equal(items[2].status, STAYD_OK);
    assert_int_equal(error.status, STAYD_TOO_LARGE);
    free(large);
}

static void a_flush_empties_every_server(void **state) {
    (void)state;
    for (int i = 0; i < 30; i++) {
        char key[16];
        snprintf(key, sizeof key, "flush:%d", i);
        assert_int_equal(set(key, "v", 0), STAYD_OK);
    }
    assert_int_equal(stayd_flush_all(client, 0, &error), STAYD_OK);
    for (int i = 0; i < 30; i++) {
        char key[16];
        snprintf(key, sizeof key, "flush:%d", i);
        expect_missing(key);
    }
}

static void note_pid(void *user, const char *name, const char *value) {
    if (strcmp(name, "pid") == 0) {
        *(long *)user = strtol(value, NULL, 10);
    }
}

static void every_server_tells_of_itself(void **state) {
    (void)state;
    for (unsigned i = 0; i < stayd_server_count(client); i++) {
        char version[32] = "";
        long pid = 0;
        assert_int_equal(stayd_connect(client, i, &error), STAYD_OK);
        assert_int_equal(stayd_version(client, i, version, sizeof version, &error), STAYD_OK);
        assert_memory_equal(version, "1.", 2);
        assert_int_equal(stayd_stats(client, i, NULL, note_pid, &pid, &error), STAYD_OK);
        assert_in_range(pid, 1, INT64_MAX);
        assert_int_equal(stayd_stats(client, i, "settings", note_pid, &pid, &error), STAYD_OK);
    }
    assert_int_equal(stayd_connect(client, stayd_server_count(client), &error), STAYD_INVALID);
}

static void meta_commands_take_their_flags(void **state) {
    (void)state;
    struct stayd_meta meta = {.code = ""};
    if (getenv("STAYD_TEST_NO_META") != NULL) {
        assert_int_equal(stayd_meta_get(client, "m", 1, "v", &meta, &error), STAYD_UNSUPPORTED);
        return;
    }
    assert_int_equal(stayd_meta_get(client, "m", 1, "v", &meta, &error), STAYD_NOT_FOUND);
    assert_string_equal(meta.code, "EN");
    assert_int_equal(stayd_meta_set(client, "m", 1, "v\r\n", 3, "T100 F9 c", &meta, &error),
                     STAYD_OK);
    assert_int_equal(meta.flags[0], 'c');
    assert_int_equal(stayd_meta_set(client, "m", 1, "w", 1, "ME", NULL, &error), STAYD_NOT_STORED);
    assert_int_equal(stayd_meta_set(client, "m", 1, "w", 1, "C12345", &meta, &error), STAYD_EXISTS);
    assert_int_equal(stayd_meta_get(client, "m", 1, "v f s k Oabc", &meta, &error), STAYD_OK);
    assert_string_equal(meta.code, "VA");
    assert_string_equal(meta.flags, "f9 s3 km Oabc");
    assert_memory_equal(meta.value.data, "v\r\n", 4);
    assert_int_equal(stayd_meta_get(client, "m", 1, NULL, &meta, &error), STAYD_OK);
    assert_string_equal(meta.code, "HD");
    assert_int_equal(stayd_meta_arithmetic(client, "n", 1, "N0 J5 v", &meta, &error), STAYD_OK);
    assert_string_equal(meta.value.data, "5");
    assert_int_equal(stayd_meta_arithmetic(client, "n", 1, "MD D2 v", &meta, &error), STAYD_OK);
    assert_string_equal(meta.value.data, "3");
    assert_int_equal(stayd_meta_delete(client, "n", 1, "C1", NULL, &error), STAYD_EXISTS);
    assert_int_equal(stayd_meta_delete(client, "n", 1, NULL, NULL, &error), STAYD_OK);
    assert_int_equal(stayd_meta_delete(client, "n", 1, NULL, NULL, &error), STAYD_NOT_FOUND);
    assert_int_equal(stayd_meta_get(client, "a2V5", 4, "b k", &meta, &error), STAYD_NOT_FOUND);
    assert_int_equal(stayd_meta_get(client, "m", 1, "!", &meta, &error), STAYD_REFUSED);
    stayd_value_free(&meta.value);
}

static void a_client_may_be_disconnected_at_any_time(void **state) {
    (void)state;
    assert_int_equal(set("k", "v", 0), STAYD_OK);
    stayd_disconnect(client);
    stayd_disconnect(client);
    expect("k", "v");
}

int main(void) {
#define LIVE(test) cmocka_unit_test_setup_teardown(test, open_client, close_client)
    const struct CMUnitTest tests[] = {
        LIVE(an_item_comes_back_as_it_was_stored),
        LIVE(a_large_value_goes_and_comes_whole),
        LIVE(a_value_that_is_too_large_is_refused_and_the_next_goes_on),
        LIVE(add_and_replace_look_whether_there_is_one),
        LIVE(append_and_prepend_add_to_a_value),
        LIVE(cas_stores_over_what_was_read_alone),
        LIVE(numbers_are_counted),
        LIVE(a_time_to_live_begins_and_ends),
        LIVE(a_deleted_item_is_missing),
        LIVE(many_items_are_stored_read_and_deleted),
        LIVE(large_batches_do_not_block_each_other),
        LIVE(one_of_many_may_fail_alone),
        LIVE(a_flush_empties_every_server),
        LIVE(every_server_tells_of_itself),
        LIVE(meta_commands_take_their_flags),
        LIVE(a_client_may_be_disconnected_at_any_time),
    };
    const char *skipped = getenv("STAYD_TEST_SKIP");
    cmocka_set_skip_filter(skipped); /* NULL: none */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
