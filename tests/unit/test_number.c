/* Numbers as written in the configuration and by clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/number.h"

#define TEXT(string) bytes_from_string(string)

static void decimal_digits_are_a_number(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t number;
    } cases[] = {
        {"0", 0},
        {"7", 7},
        {"0012", 12},
        {"4294967296", UINT64_C(4294967296)},
        {"18446744073709551615", UINT64_MAX},
        {"00000000000000000001", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t number = 99;
        assert_true(number_parse_u64(TEXT(cases[i].text), &number));
        assert_int_equal(number, cases[i].number);
    }
}

static void anything_else_is_no_number(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        " 1",
        "1 ",
        "+1",
        "-1",
        "-0",
        "1.0",
        "0x10",
        "1e3",
        "12a",
        "a",
        "\t1",
        "1\n",
        "\xff",
        "18446744073709551616",
        "99999999999999999999",
        "184467440737095516150",
        "000000000000000000001",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint64_t number = 99;
        assert_false(number_parse_u64(TEXT(texts[i]), &number));
        assert_int_equal(number, 99);
    }
    uint64_t number;
    assert_false(number_parse_u64(bytes_from("1\0002", 3), &number));
}

static void only_the_bytes_of_the_text_count(void **state) {
    (void)state;
    uint64_t number;
    assert_true(number_parse_u64(bytes_from("1234", 2), &number));
    assert_int_equal(number, 12);
}

static void a_signed_number_may_begin_with_a_minus(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t number;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"-1", -1},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775807", -INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t number = 99;
        assert_true(number_parse_i64(TEXT(cases[i].text), &number));
        assert_true(number == cases[i].number);
    }
    static const char *const faults[] = {
        "",
        "-",
        "--1",
        "+1",
        "- 1",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        int64_t number = 99;
        assert_false(number_parse_i64(TEXT(faults[i]), &number));
        assert_true(number == 99);
    }
}

static void a_formatted_number_parses_to_itself(void **state) {
    (void)state;
    uint64_t numbers[2 * 64 + 2 * 19];
    size_t count = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        numbers[count++] = UINT64_C(1) << bit;
        numbers[count++] = (UINT64_C(1) << bit) - 1;
    }
    for (uint64_t power = 1; count < sizeof numbers / sizeof numbers[0]; power *= 10) {
        numbers[count++] = power * 10;
        numbers[count++] = power * 10 - 1;
    }
    for (size_t i = 0; i < count; i++) {
        char text[NUMBER_DIGITS_MAX];
        uint64_t number;
        size_t size = number_format_u64(numbers[i], text);
        assert_true(size >= 1 && size <= sizeof text);
        assert_true(size == 1 || text[0] != '0');
        assert_true(number_parse_u64(bytes_from(text, size), &number));
        assert_true(number == numbers[i]);
    }
    char largest[NUMBER_DIGITS_MAX];
    assert_int_equal(number_format_u64(UINT64_MAX, largest), NUMBER_DIGITS_MAX);
    assert_memory_equal(largest, "18446744073709551615", NUMBER_DIGITS_MAX);
}

static void sizes_take_units_of_1024(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t size_bytes;
    } cases[] = {
        {"0", 0},
        {"100", 100},
        {"3K", 3072},
        {"3k", 3072},
        {"64M", 64U << 20},
        {"64m", 64U << 20},
        {"2G", UINT64_C(2) << 30},
        {"2g", UINT64_C(2) << 30},
        {"17179869183G", UINT64_C(17179869183) << 30},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t size_bytes = 99;
        assert_true(number_parse_size(TEXT(cases[i].text), &size_bytes));
        assert_true(size_bytes == cases[i].size_bytes);
    }
    static const char *const faults[] = {
        "", "K", "1T", "1KB", "1 K", "-1K", "1.5M", "K1", "17179869184G", "18446744073709551615K",
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        uint64_t size_bytes;
        assert_false(number_parse_size(TEXT(faults[i]), &size_bytes));
    }
}

static void durations_are_in_seconds_without_a_unit(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t duration_s;
    } cases[] = {
        {"0", 0}, {"90", 90}, {"90s", 90}, {"15m", 900}, {"2h", 7200}, {"14d", 14 * 86400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t duration_s = 99;
        assert_true(number_parse_duration(TEXT(cases[i].text), &duration_s));
        assert_int_equal(duration_s, cases[i].duration_s);
    }
    static const char *const faults[] = {
        "", "s", "1w", "1M", "1S", "1ms", "-1s", "1.5h", "18446744073709551615d",
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        uint64_t duration_s;
        assert_false(number_parse_duration(TEXT(faults[i]), &duration_s));
    }
}

static void products_that_do_not_fit_are_refused(void **state) {
    (void)state;
    uint64_t result = 0;
    assert_true(number_multiply_u64(UINT32_MAX, UINT32_MAX, &result));
    assert_true(result == (uint64_t)UINT32_MAX * UINT32_MAX);
    assert_false(number_multiply_u64(UINT64_C(1) << 33, UINT64_C(1) << 31, &result));
}

static void rounding_up_reaches_the_next_multiple(void **state) {
    (void)state;
    assert_int_equal(number_round_up_u64(0, 4096), 0);
    assert_int_equal(number_round_up_u64(1, 4096), 4096);
    assert_int_equal(number_round_up_u64(4096, 4096), 4096);
    assert_int_equal(number_round_up_u64(4097, 4096), 8192);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decimal_digits_are_a_number),
        cmocka_unit_test(anything_else_is_no_number),
        cmocka_unit_test(only_the_bytes_of_the_text_count),
        cmocka_unit_test(a_signed_number_may_begin_with_a_minus),
        cmocka_unit_test(a_formatted_number_parses_to_itself),
        cmocka_unit_test(sizes_take_units_of_1024),
        cmocka_unit_test(durations_are_in_seconds_without_a_unit),
        cmocka_unit_test(products_that_do_not_fit_are_refused),
        cmocka_unit_test(rounding_up_reaches_the_next_multiple),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
