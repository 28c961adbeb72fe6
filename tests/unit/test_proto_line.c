/* The reading of words, numbers and base64 keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base64.h"
#include "proto/line.h"
#include "store/pool.h"

#include <stdio.h>

enum { NOW_S = 1700000000 };

static void words_are_separated_by_spaces_and_nothing_else(void **state) {
    (void)state;
    const char *text = "  set a\tb   0\r ";
    struct line line = {text, text + strlen(text)};
    struct bytes word;
    assert_true(line_next(&line, &word) && word_is(word, "set"));
    assert_true(line_next(&line, &word) && word_is(word, "a\tb"));
    assert_true(line_next(&line, &word) && word_is(word, "0\r"));
    assert_false(line_next(&line, &word));
    assert_int_equal(word.size, 0);
    assert_false(line_next(&line, &word));
}

static void a_key_is_good_with_1_to_250_bytes(void **state) {
    (void)state;
    char text[300];
    memset(text, 'k', sizeof text);
    for (size_t size = 0; size < sizeof text; size++) {
        struct line line = {text, text + size};
        struct bytes key;
        enum line_key expected = size == 0              ? LINE_KEY_NONE
                                 : size <= POOL_KEY_MAX ? LINE_KEY_GOOD
                                                        : LINE_KEY_BAD;
        assert_int_equal(line_next_key(&line, &key), expected);
        assert_int_equal(key.size, size);
        assert_ptr_equal(line.at, line.end);
    }
}

static void a_control_character_anywhere_makes_a_key_bad(void **state) {
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (byte == ' ') {
            continue;
        }
        for (size_t size = 1; size <= 26; size++) {
            for (size_t at = 0; at < size; at++) {
                char text[40];
                memset(text, at % 2 != 0 ? 0x80 : '!', sizeof text);
                text[at] = (char)byte;
                text[size] = ' ';
                struct line line = {text, text + size + 2};
                struct bytes key;
                bool control = byte < ' ' || byte == 127;
                assert_int_equal(line_next_key(&line, &key),
                                 control ? LINE_KEY_BAD : LINE_KEY_GOOD);
                assert_int_equal(key.size, size);
                assert_ptr_equal(line.at, text + size);
            }
        }
    }
}

static bool read_u64(const char *text, uint64_t *number) {
    return word_u64(bytes_from_string(text), number);
}

static void numbers_are_read_as_memcached_reads_them(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t number;
    } good[] = {
        {"0", 0},
        {"7", 7},
        {"007", 7},
        {"+7", 7},
        {"-0", 0},
        {"\t7", 7},
        {"7\tx", 7},
        {"18446744073709551615", UINT64_MAX},
        {"000000000000000000000000000000018446744073709551615", UINT64_MAX},
    };
    static const char *const bad[] = {
        "",
        "x",
        "-",
        "+",
        "-1",
        "+-1",
        "7x",
        "x7",
        "0x7",
        "1.5",
        "1e3",
        "\t",
        "18446744073709551616",
        "18446744073709551620",
        "99999999999999999999999999",
        "-18446744073709551615",
    };
    uint64_t number;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(read_u64(good[i].text, &number));
        assert_int_equal(number, good[i].number);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(read_u64(bad[i], &number));
    }
}

static void a_length_is_never_cut_off_to_a_smaller_one(void **state) {
    (void)state;
    uint32_t length;
    assert_true(word_length(bytes_from_string("2147483645"), &length));
    assert_int_equal(length, 2147483645);
    static const char *const bad[] = {"2147483646",  "2147483648",          "4294967295",
                                      "4294967296",  "4294967301",          "9223372036854775808",
                                      "-2147483648", "18446744073709551616"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(word_length(bytes_from_string(bad[i]), &length));
    }
}

static void flags_have_32_bits(void **state) {
    (void)state;
    uint32_t flags;
    assert_true(word_flags(bytes_from_string("4294967295"), &flags));
    assert_int_equal(flags, UINT32_MAX);
    assert_true(word_flags(bytes_from_string("4294967301"), &flags));
    assert_int_equal(flags, 5);
    assert_false(word_flags(bytes_from_string("-1"), &flags));
}

static void an_expiry_becomes_unix_seconds(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t expiry_s;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"1", NOW_S + 1},
        {"2592000", NOW_S + 2592000},
        {"2592001", 2592001}, /* a date that has long passed */
        {"1800000000", 1800000000},
        {"2147483648", 2147483648}, /* 2038 is not the end */
        {"4294967294", 4294967294},
        {"4294967296", UINT32_MAX},
        {"9223372036854775807", UINT32_MAX},
        {"-1", 1},
        {"-4294967296", 1},
        {"-9223372036854775808", 1},
    };
    static const char *const bad[] = {"",
                                      "x",
                                      "1x",
                                      "-",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999"};
    uint32_t expiry_s;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(word_expiry(bytes_from_string(good[i].text), NOW_S, &expiry_s));
        assert_int_equal(expiry_s, good[i].expiry_s);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(word_expiry(bytes_from_string(bad[i]), NOW_S, &expiry_s));
    }
}

static void base64_brings_every_key_there_and_back(void **state) {
    (void)state;
    char data[POOL_KEY_MAX];
    char text[POOL_KEY_MAX / 3 * 4 + 8];
    char back[sizeof text];
    for (size_t size = 1; size <= sizeof data; size++) {
        for (size_t i = 0; i < size; i++) {
            data[i] = (char)(i * 37 + size * 11);
        }
        base64_encode(bytes_from(data, size), text);
        size_t text_size = base64_encoded_size(size);
        assert_int_equal(base64_decode(bytes_from(text, text_size), back), size);
        assert_memory_equal(back, data, size);
    }
}

static void base64_is_read_as_leniently_as_memcached_reads_it(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *data; /* NULL: refused */
    } cases[] = {
        {"YQ==", "a"},     {"YWI=", "ab"},    {"YWJj", "abc"},   {"YWJjZA==", "abcd"},
        {"Y!W.Jj", "abc"}, {"YQ==YQ==", "a"}, {"YQ==zzzz", "a"}, {"", NULL},
        {"Y", NULL},       {"YQ", NULL},      {"YQ=", NULL},     {"====", NULL},
        {"Y===", NULL},    {"YQ==z", NULL},   {"!!!!", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char data[16];
        size_t size = base64_decode(bytes_from_string(cases[i].text), data);
        const char *expected = cases[i].data == NULL ? "" : cases[i].data;
        assert_int_equal(size, strlen(expected));
        assert_memory_equal(data, expected, size);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_separated_by_spaces_and_nothing_else),
        cmocka_unit_test(a_key_is_good_with_1_to_250_bytes),
        cmocka_unit_test(a_control_character_anywhere_makes_a_key_bad),
        cmocka_unit_test(numbers_are_read_as_memcached_reads_them),
        cmocka_unit_test(a_length_is_never_cut_off_to_a_smaller_one),
        cmocka_unit_test(flags_have_32_bits),
        cmocka_unit_test(an_expiry_becomes_unix_seconds),
        cmocka_unit_test(base64_brings_every_key_there_and_back),
        cmocka_unit_test(base64_is_read_as_leniently_as_memcached_reads_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
