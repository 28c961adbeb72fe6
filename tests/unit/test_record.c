/* One record: written, read, verified, moved. Buffers have exactly the needed size, so that the
 * address sanitizer finds a read beyond them. */
#include "store_support.h"

#include "store/record.h"

#include <stdlib.h>

enum { SEED = 0x12345678 };

static struct record example_record(void) {
    return (struct record){
        .kind = LAYOUT_VALUE,
        .client_flags = 0xdeadbeef,
        .expiry_s = 1234567890,
        .accessed_s = 1234560000,
        .created_s = 1234550000,
        .sequence = UINT64_C(0x123456789abc),
        .cas = UINT64_C(0xfedcba9876543210),
        .key = bytes_from_string("session-4711"),
        .value = bytes_from_string("who it is and what is in the cart"),
    };
}

static struct layout_record *write_record(const struct record *record, uint32_t crc_seed) {
    struct layout_record *at = malloc(record_size(record));
    assert_non_null(at);
    record_write(at, record, crc_seed);
    return at;
}

static void expect_same(const struct record *read, const struct record *written) {
    assert_int_equal(read->kind, written->kind);
    assert_int_equal(read->stale, written->stale);
    assert_int_equal(read->token_sent, written->token_sent);
    assert_int_equal(read->paired, written->paired);
    assert_int_equal(read->touchable, written->touchable);
    assert_int_equal(read->touches, written->touches);
    assert_false(read->touch_damaged);
    assert_int_equal(read->client_flags, written->client_flags);
    assert_int_equal(read->expiry_s, written->expiry_s);
    assert_int_equal(read->accessed_s, written->accessed_s);
    assert_int_equal(read->created_s, written->created_s);
    assert_true(read->sequence == written->sequence);
    assert_true(read->cas == (written->cas != 0 ? written->cas : written->sequence));
    assert_true(bytes_equal(read->key, written->key));
    assert_int_equal(read->value.size, written->value.size + written->value_tail.size);
    assert_memory_equal(read->value.data, written->value.data, written->value.size);
    static const char spaces[] = "                                        ";
    assert_true(written->value_tail.data != NULL || written->value_tail.size < sizeof spaces);
    if (written->value_tail.size > 0) {
        assert_memory_equal(read->value.data + written->value.size,
                            written->value_tail.data != NULL ? written->value_tail.data : spaces,
                            written->value_tail.size);
    }
    assert_int_equal(read->value_tail.size, 0);
}

/* A random record: any kind, with any parts. */
static struct record random_record(uint64_t *state, char *bytes) {
    struct record record = {
        .kind = (enum layout_kind)(LAYOUT_VALUE + random_below(state, 3)),
        .stale = random_below(state, 2),
        .token_sent = random_below(state, 2),
        .client_flags = random_below(state, 2) ? (uint32_t)random_next(state) : 0,
        .expiry_s = random_below(state, 2) ? (uint32_t)random_next(state) : 0,
        .accessed_s = (uint32_t)random_next(state),
        .created_s = random_below(state, 2) ? (uint32_t)random_next(state) : 0,
        .sequence = random_next(state) % (LAYOUT_SEQUENCE_FILE_MAX + 1),
        .cas = random_below(state, 2) ? random_next(state) : 0,
    };
    if (record.kind == LAYOUT_VALUE) {
        record.touchable = random_below(state, 2);
    } else {
        record.paired = random_below(state, 2);
    }
    for (size_t i = 0; i < 1024; i++) {
        bytes[i] = (char)random_next(state);
    }
    record.key = bytes_from(bytes, random_below(state, POOL_KEY_MAX + 1));
    record.value = bytes_from(bytes + 256, random_below(state, 400));
    record.value_tail = bytes_from(bytes + 656, random_below(state, 2) * random_below(state, 300));
    if (random_below(state, 4) == 0) {
        record.value_tail = bytes_from(NULL, random_below(state, 40)); /* spaces */
    }
    return record;
}

static void a_record_reads_back_as_it_was_written(void **state) {
    (void)state;
    uint64_t random = 1;
    char bytes[1024];
    for (int i = 0; i < 3000; i++) {
        struct record record = random_record(&random, bytes);
        uint32_t crc_seed = i % 2 == 0 ? SEED : 0;
        size_t size = record_size(&record);
        struct layout_record *at = write_record(&record, crc_seed);
        assert_int_equal(size % LAYOUT_ALIGN, 0);
        assert_int_equal(record_stored_size(at), size);
        assert_true(record_sequence(at) == record.sequence);
        struct record read;
        assert_true(record_read(at, size, &read));
        expect_same(&read, &record);
        assert_true(record_verify(at, size, crc_seed, &read));
        expect_same(&read, &record);
        free(at);
    }
}

static void the_overhead_of_a_plain_item_is_24_bytes(void **state) {
    (void)state;
    struct record record = {
        .kind = LAYOUT_VALUE,
        .expiry_s = 1,
        .key = bytes_from_string("12345678"),
        .value = bytes_from_string("12345678"),
    };
    assert_int_equal(record_size(&record), 24 + 16);
}

static void each_flipped_bit_is_seen(void **state) {
    (void)state;
    struct record record = example_record();
    size_t size = record_size(&record);
    struct layout_record *at = write_record(&record, SEED);
    size_t used = sizeof *at + 4 + 8 + 4 + record.key.size + record.value.size;
    for (size_t byte = 0; byte < used; byte++) {
        if (byte >= offsetof(struct layout_record, accessed_s) &&
            byte < offsetof(struct layout_record, sequence_low)) {
            continue; /* the only field that changes afterwards */
        }
        for (int bit = 0; bit < 8; bit++) {
            struct record read;
            ((unsigned char *)at)[byte] ^= (unsigned char)(1 << bit);
            assert_false(record_verify(at, size, SEED, &read));
            ((unsigned char *)at)[byte] ^= (unsigned char)(1 << bit);
            assert_true(record_verify(at, size, SEED, &read));
        }
    }
    free(at);
}

static void noting_an_access_leaves_a_record_whole(void **state) {
    (void)state;
    struct record record = example_record();
    struct layout_record *at = write_record(&record, SEED);
    atomic_store(&at->accessed_s, 1234567000);
    struct record read;
    assert_true(record_verify(at, record_size(&record), SEED, &read));
    assert_int_equal(read.accessed_s, 1234567000);
    free(at);
}

static void a_touch_changes_the_expiry_and_leaves_a_record_whole(void **state) {
    (void)state;
    uint64_t random = 4;
    char bytes[1024];
    for (int i = 0; i < 1000; i++) {
        struct record record = random_record(&random, bytes);
        record.kind = LAYOUT_VALUE;
        record.paired = false;
        record.touchable = true;
        struct layout_record *at = write_record(&record, SEED);
        size_t size = record_stored_size(at);
        struct record read;
        record.expiry_s = (uint32_t)random_next(&random);
        record.touches = 1 + random_below(&random, LAYOUT_TOUCHES_MAX);
        for (uint32_t touch = 1; touch <= record.touches; touch++) {
            record_touch(at, touch == record.touches ? record.expiry_s : touch, 1000 + touch);
        }
        assert_true(record_verify(at, size, SEED, &read));
        expect_same(&read, &record);
        assert_true(read.touch_sequence == 1000 + record.touches);
        struct layout_record *to = malloc(size);
        record_move(to, at, SEED + 1);
        assert_true(record_verify(to, size, SEED + 1, &read));
        expect_same(&read, &record);
        record.expiry_s = 77;
        record_shorten(to, record.expiry_s, SEED + 1);
        assert_true(record_verify(to, size, SEED + 1, &read));
        expect_same(&read, &record);
        assert_int_equal(to->expiry_s, 77);
        free(at);
        free(to);
    }
}

static void each_flipped_bit_of_a_touch_is_seen(void **state) {
    (void)state;
    struct record record = example_record();
    record.touchable = true;
    struct layout_record *at = write_record(&record, SEED);
    record_touch(at, record.expiry_s + 1000, record.sequence + 5);
    for (int bit = 0; bit < 64; bit++) {
        struct record read;
        atomic_fetch_xor(&record_touch_at(at)->expiry, UINT64_C(1) << bit);
        assert_true(record_verify(at, record_size(&record), SEED, &read));
        assert_true(read.touch_damaged);
        assert_int_equal(read.expiry_s, record.expiry_s);
        assert_int_equal(read.touches, 0);
        atomic_fetch_xor(&record_touch_at(at)->expiry, UINT64_C(1) << bit);
        assert_true(record_verify(at, record_size(&record), SEED, &read));
        assert_int_equal(read.expiry_s, record.expiry_s + 1000);
    }
    free(at);
}

static void a_record_that_does_not_fit_its_room_is_none(void **state) {
    (void)state;
    struct record record = example_record();
    struct layout_record *at = write_record(&record, SEED);
    size_t used = sizeof *at + 4 + 8 + 4 + record.key.size + record.value.size;
    for (size_t room = 0; room < used; room++) {
        struct layout_record *cut = malloc(room);
        struct record read;
        if (room > 0) {
            memcpy(cut, at, room);
        }
        assert_false(record_read(cut, room, &read));
        assert_false(record_verify(cut, room, SEED, &read));
        free(cut);
    }
    free(at);
}

static void garbage_never_points_beyond_its_room(void **state) {
    (void)state;
    uint64_t random = 2;
    unsigned taken_for_records = 0;
    for (int i = 0; i < 200000; i++) {
        size_t room = random_below(&random, 200);
        unsigned char *bytes = malloc(room);
        for (size_t j = 0; j < room; j++) {
            /* Mostly small numbers, so that many lengths are nearly correct. */
            bytes[j] = (unsigned char)(random_next(&random) >> (random_below(&random, 8) * 8 % 60));
            if (random_below(&random, 2)) {
                bytes[j] &= 0x0f;
            }
            if (j >= 21 && j < 24 && random_below(&random, 8) != 0) {
                bytes[j] = 0; /* the value's size, from its second byte on */
            }
        }
        struct record read;
        const struct layout_record *at = (const void *)bytes;
        if (record_read(at, room, &read)) {
            taken_for_records++;
            const char *from = (const char *)(at + 1);
            const char *end = (const char *)bytes + room;
            assert_true(read.key.data >= from && read.key.data + read.key.size <= end);
            assert_true(read.value.data == read.key.data + read.key.size);
            assert_true(read.value.data + read.value.size <= end);
            assert_true(record_stored_size(at) < room + LAYOUT_ALIGN);
        }
        assert_false(record_verify(at, room, SEED, &read));
        free(bytes);
    }
    assert_true(taken_for_records > 1000);
}

static void a_value_size_near_the_largest_does_not_wrap_around(void **state) {
    (void)state;
    struct record record = example_record();
    struct layout_record *at = write_record(&record, 0);
    struct record read;
    for (uint32_t below = 0; below < 400; below++) {
        at->value_size = UINT32_MAX - below;
        assert_false(record_read(at, record_size(&record), &read));
    }
    free(at);
}

static void a_moved_record_keeps_all_but_its_pairing(void **state) {
    (void)state;
    uint64_t random = 3;
    char bytes[1024];
    for (int i = 0; i < 1000; i++) {
        struct record record = random_record(&random, bytes);
        struct layout_record *from = write_record(&record, SEED);
        size_t size = record_stored_size(from);
        struct layout_record *to = malloc(size);
        record_move(to, from, SEED + 1);
        struct record read;
        assert_true(record_verify(to, size, SEED + 1, &read));
        assert_false(record_verify(to, size, SEED, &read));
        record.paired = false;
        expect_same(&read, &record);
        free(from);
        free(to);
    }
}

static void a_record_with_a_number_that_no_pool_has_lived_to_give_does_not_pass(void **state) {
    (void)state;
    struct record record = example_record();
    struct record read;
    record.sequence = LAYOUT_SEQUENCE_FILE_MAX;
    struct layout_record *at = write_record(&record, SEED);
    assert_true(record_verify(at, record_size(&record), SEED, &read));
    free(at);
    record.sequence = LAYOUT_SEQUENCE_FILE_MAX + 1;
    at = write_record(&record, SEED);
    assert_false(record_verify(at, record_size(&record), SEED, &read));
    free(at);
}

static void a_record_of_an_earlier_use_of_the_segment_does_not_pass(void **state) {
    (void)state;
    struct layout_segment_header header = {.generation = 7, .salt = 99};
    uint32_t seed = record_crc_seed(1, &header);
    struct record record = example_record();
    struct layout_record *at = write_record(&record, seed);
    struct record read;
    assert_true(record_verify(at, record_size(&record), seed, &read));
    header.generation++;
    assert_false(record_verify(at, record_size(&record), record_crc_seed(1, &header), &read));
    header.generation--;
    header.salt++;
    assert_false(record_verify(at, record_size(&record), record_crc_seed(1, &header), &read));
    header.salt--;
    assert_false(record_verify(at, record_size(&record), record_crc_seed(2, &header), &read));
    free(at);
}

static void a_seed_is_never_the_one_that_means_no_crc(void **state) {
    (void)state;
    /* CRC32C is a bijection of its seed: for any header, one pool seed would give 0. */
    struct layout_segment_header header = {.generation = 1};
    for (uint32_t pool_seed = 0; pool_seed < 100000; pool_seed++) {
        header.salt = pool_seed * UINT64_C(0x9e3779b97f4a7c15);
        assert_true(record_crc_seed(pool_seed, &header) != 0);
    }
}

static void an_item_is_there_until_its_expiry_second_begins(void **state) {
    (void)state;
    assert_false(record_expired(100, 99));
    assert_true(record_expired(100, 100));
    assert_true(record_expired(100, 101));
    assert_false(record_expired(0, UINT32_MAX));
    assert_true(record_expired(1, UINT32_MAX));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_reads_back_as_it_was_written),
        cmocka_unit_test(a_record_with_a_number_that_no_pool_has_lived_to_give_does_not_pass),
        cmocka_unit_test(the_overhead_of_a_plain_item_is_24_bytes),
        cmocka_unit_test(each_flipped_bit_is_seen),
        cmocka_unit_test(noting_an_access_leaves_a_record_whole),
        cmocka_unit_test(a_touch_changes_the_expiry_and_leaves_a_record_whole),
        cmocka_unit_test(each_flipped_bit_of_a_touch_is_seen),
        cmocka_unit_test(a_record_that_does_not_fit_its_room_is_none),
        cmocka_unit_test(garbage_never_points_beyond_its_room),
        cmocka_unit_test(a_value_size_near_the_largest_does_not_wrap_around),
        cmocka_unit_test(a_moved_record_keeps_all_but_its_pairing),
        cmocka_unit_test(a_record_of_an_earlier_use_of_the_segment_does_not_pass),
        cmocka_unit_test(a_seed_is_never_the_one_that_means_no_crc),
        cmocka_unit_test(an_item_is_there_until_its_expiry_second_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
