/* The CRC of a part of a range, computed from tables, equals the CRC of the part's bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/crc_ranges.h"
#include "base/hash.h"

#include <stdlib.h>

static uint32_t next(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void expect_same(size_t size) {
    uint32_t random = (uint32_t)size;
    unsigned char *data = malloc(size + 1);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++) {
        data[i] = (unsigned char)next(&random);
    }
    struct crc_ranges *ranges = crc_ranges_create(data, size);
    assert_non_null(ranges);
    for (unsigned i = 0; i < 2000; i++) {
        size_t begin = next(&random) % (size + 1);
        size_t bytes = next(&random) % (size - begin + 1);
        uint32_t seed = next(&random) * 0x9e3779b9U;
        assert_int_equal(crc_ranges_get(ranges, seed, begin, bytes),
                         hash_crc32c(seed, data + begin, bytes));
    }
    assert_int_equal(crc_ranges_get(ranges, 1, 0, size), hash_crc32c(1, data, size));
    crc_ranges_destroy(ranges);
    free(data);
}

static void the_crc_of_any_part_is_that_of_its_bytes(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, 63, 64, 65, 127, 128, 1000, 4096, 65536, 1000003};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        expect_same(sizes[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_crc_of_any_part_is_that_of_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
