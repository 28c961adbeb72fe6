/* The buffer of bytes that grows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"

static void expect_content(const struct buffer *buffer, const char *content) {
    assert_int_equal(buffer->size, strlen(content));
    assert_memory_equal(buffer->data, content, buffer->size);
}

static void a_zeroed_buffer_is_empty_and_can_be_finished_twice(void **state) {
    (void)state;
    struct buffer buffer = {0};
    buffer_consume(&buffer, 0);
    assert_true(buffer_append(&buffer, NULL, 0));
    assert_int_equal(buffer.size, 0);
    buffer_finish(&buffer);
    buffer_finish(&buffer);
    assert_null(buffer.data);
    assert_true(buffer_append_string(&buffer, "again"));
    expect_content(&buffer, "again");
    buffer_finish(&buffer);
}

static void what_is_appended_comes_out_in_order(void **state) {
    (void)state;
    struct buffer buffer = {0};
    assert_true(buffer_append_string(&buffer, "VALUE k 0 "));
    assert_true(buffer_append_u64(&buffer, 0));
    assert_true(buffer_append(&buffer, "\0\r\n", 3));
    assert_true(buffer_append_u64(&buffer, UINT64_MAX));
    static const char expected[] = "VALUE k 0 0\0\r\n18446744073709551615";
    assert_int_equal(buffer.size, sizeof expected - 1);
    assert_memory_equal(buffer.data, expected, sizeof expected - 1);
    buffer_finish(&buffer);
}

static void it_grows_and_keeps_what_it_has(void **state) {
    (void)state;
    struct buffer buffer = {0};
    for (uint32_t i = 0; i < 100000; i++) {
        assert_true(buffer_append(&buffer, &i, sizeof i));
    }
    assert_int_equal(buffer.size, 400000);
    assert_true(buffer.capacity >= buffer.size && buffer.capacity <= 2 * buffer.size);
    for (uint32_t i = 0; i < 100000; i++) {
        assert_memory_equal(buffer.data + i * sizeof i, &i, sizeof i);
    }
    buffer_finish(&buffer);
}

static void reserved_room_can_be_filled_without_growing(void **state) {
    (void)state;
    struct buffer buffer = {0};
    assert_true(buffer_append_string(&buffer, "x"));
    assert_true(buffer_reserve(&buffer, 5000));
    const char *data = buffer.data;
    assert_true(buffer.capacity - buffer.size >= 5000);
    char filling[5000];
    memset(filling, 'y', sizeof filling);
    assert_true(buffer_append(&buffer, filling, sizeof filling));
    assert_ptr_equal(buffer.data, data);
    buffer_finish(&buffer);
}

static void room_that_cannot_be_had_is_refused_and_changes_nothing(void **state) {
    (void)state;
    struct buffer buffer = {0};
    assert_true(buffer_append_string(&buffer, "kept"));
    size_t capacity = buffer.capacity;
    assert_false(buffer_reserve(&buffer, SIZE_MAX));
    assert_false(buffer_reserve(&buffer, SIZE_MAX - buffer.size));
    assert_false(buffer_reserve(&buffer, SIZE_MAX / 2 + 1));
    assert_int_equal(buffer.capacity, capacity);
    expect_content(&buffer, "kept");
    buffer_finish(&buffer);
}

static void consuming_drops_the_front_and_moves_the_rest_there(void **state) {
    (void)state;
    struct buffer buffer = {0};
    assert_true(buffer_append_string(&buffer, "get a\r\nget b\r\nge"));
    buffer_consume(&buffer, 7);
    expect_content(&buffer, "get b\r\nge");
    buffer_consume(&buffer, 7);
    expect_content(&buffer, "ge");
    assert_true(buffer_append_string(&buffer, "t c"));
    expect_content(&buffer, "get c");
    buffer_consume(&buffer, 5);
    assert_int_equal(buffer.size, 0);
    buffer_finish(&buffer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_buffer_is_empty_and_can_be_finished_twice),
        cmocka_unit_test(what_is_appended_comes_out_in_order),
        cmocka_unit_test(it_grows_and_keeps_what_it_has),
        cmocka_unit_test(reserved_room_can_be_filled_without_growing),
        cmocka_unit_test(room_that_cannot_be_had_is_refused_and_changes_nothing),
        cmocka_unit_test(consuming_drops_the_front_and_moves_the_rest_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
