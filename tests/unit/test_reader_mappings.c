/* A reader (reader.h) cannot write into its mappings, and reads nothing outside them, whatever they
 * contain. */
#include "reader_support.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct store store;

/* ---- what a reader may do ---- */

static void its_descriptors_cannot_be_used_to_write(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading, &store);
    const int files[] = {reading.data_file, reading.index_file};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pwrite(files[i], "x", 1, 0), -1);
        assert_int_equal(ftruncate(files[i], 0), -1);
        assert_ptr_equal(mmap(NULL, LAYOUT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, files[i], 0),
                         MAP_FAILED);
    }
    assert_int_equal(mprotect(reading.data, LAYOUT_PAGE, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(mprotect(reading.index, LAYOUT_PAGE, PROT_READ | PROT_WRITE), -1);
    if (geteuid() != 0) {
        print_message("    not root: whether another user can open them anew is not tried\n");
    } else {
        pid_t child = fork();
        if (child == 0) {
            bool refused = setgid(65534) == 0 && setuid(65534) == 0;
            for (int i = 0; i < 2; i++) {
                char path[64];
                snprintf(path, sizeof path, "/proc/self/fd/%d", files[i]);
                refused = refused && open(path, O_RDWR) < 0 && open(path, O_RDONLY) < 0 &&
                          fchmod(files[i], 0666) != 0;
            }
            _exit(refused ? 0 : 1);
        }
        int status = 1;
        EXPECT(waitpid(child, &status, 0) == child);
        assert_int_equal(status, 0);
    }
    reading_end(&reading);
}

/* ---- any bytes in the mappings ---- */

/* Copies of both mappings. Behind each is a page that no access is allowed to. */
struct hostile {
    char *data;
    char *index;
    size_t data_bytes;
    size_t index_bytes;
};

static char *copy_before_a_wall(const void *from, size_t size) {
    size_t room = (size + LAYOUT_PAGE - 1) / LAYOUT_PAGE * LAYOUT_PAGE;
    char *base = mmap(NULL, room + LAYOUT_PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(base != MAP_FAILED && mprotect(base + room, LAYOUT_PAGE, PROT_NONE) == 0);
    memcpy(base + room - size, from, size);
    return base + room - size;
}

static uint64_t any_number(uint64_t *random) {
    switch (random_below(random, 6)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return UINT64_C(1) << random_below(random, 64);
    case 3:
        return random_below(random, 4096);
    case 4:
        return (uint64_t)random_below(random, 4096) * LAYOUT_PAGE;
    default:
        return random_next(random);
    }
}

/* Changes a few words in the headers, the buckets, the segment table or the records. */
static void corrupt(struct hostile *hostile, const struct layout_index_header *plan,
                    uint64_t *random) {
    unsigned count = 1 + random_below(random, 40);
    for (unsigned i = 0; i < count; i++) {
        char *base = hostile->index;
        uint64_t from = 0;
        uint64_t bytes = sizeof *plan;
        switch (random_below(random, 5)) {
        case 0:
            break;
        case 1:
            from = plan->buckets_offset;
            bytes = 1024 * sizeof(struct layout_bucket);
            break;
        case 2:
            from = plan->overflow_offset;
            bytes = 256 * sizeof(struct layout_bucket);
            break;
        case 3:
            base = hostile->data;
            bytes = sizeof(struct layout_data_header);
            break;
        default:
            base = hostile->data;
            bytes = hostile->data_bytes;
        }
        uint64_t value = any_number(random);
        size_t size = (size_t)1 << random_below(random, 4);
        memcpy(base + from + random_below(random, (uint32_t)(bytes - size)), &value, size);
    }
}

static void mappings_that_anybody_has_written_lead_nowhere_outside_them(void **state) {
    (void)state;
    unsigned count = store_fill(&store, 0, 500, 0);
    struct reading reading;
    reading_begin(&reading, &store);
    const struct layout_index_header *plan = reading.index;
    struct hostile hostile = {.data_bytes = reading.data_bytes, .index_bytes = reading.index_bytes};
    hostile.data = copy_before_a_wall(reading.data, hostile.data_bytes);
    hostile.index = copy_before_a_wall(reading.index, hostile.index_bytes);
    uint64_t random = 9;
    unsigned opened = 0;
    for (unsigned round = 0; round < scaled(400); round++) {
        memcpy(hostile.data, reading.data, hostile.data_bytes);
        memcpy(hostile.index, reading.index, plan->buckets_offset + 2048 * 64);
        memset(hostile.index + plan->overflow_offset, 0, (size_t)256 * 64);
        struct lookup_view view;
        /* The change is made before the view is opened, or afterwards; then the view uses the
         * numbers that it has checked. */
        bool early = round % 2 == 0;
        if (early) {
            corrupt(&hostile, plan, &random);
        }
        if (!lookup_open(&view, hostile.data, hostile.data_bytes, hostile.index,
                         hostile.index_bytes)) {
            assert_true(early);
            continue;
        }
        opened++;
        for (unsigned i = 0; i < 50; i++) {
            if (!early && i % 10 == 0) {
                corrupt(&hostile, plan, &random);
            }
            char key[POOL_KEY_MAX];
            size_t size = number_key(key, random_below(&random, count + 10));
            enum reader_outcome outcome = reader_get(&view, bytes_from(key, size), reading.value,
                                                     sizeof reading.value, &reading.item);
            assert_in_range(outcome, READER_HIT, READER_GONE);
            if (outcome == READER_HIT) {
                assert_true(reading.item.value_size <= sizeof reading.value);
            }
        }
    }
    assert_true(opened > scaled(400) / 2);
    reading_end(&reading);
}

static void a_chain_that_is_a_ring_is_left_to_the_daemon(void **state) {
    (void)state;
    EXPECT(store_set(&store, "key", "v", 0) == STATUS_OK);
    struct reading reading;
    reading_begin(&reading, &store);
    struct hostile hostile = {.data = copy_before_a_wall(reading.data, reading.data_bytes),
                              .index = copy_before_a_wall(reading.index, reading.index_bytes)};
    struct lookup_view view;
    EXPECT(
        lookup_open(&view, hostile.data, reading.data_bytes, hostile.index, reading.index_bytes));
    for (uint64_t bucket = 0; bucket < atomic_load(&view.index->bucket_count); bucket++) {
        atomic_store(&view.buckets[bucket].word, layout_word(1, 2));
    }
    atomic_store(&view.overflow[0].word, layout_word(1, 2));
    assert_int_equal(reader_get(&view, bytes_from_string("key"), reading.value,
                                sizeof reading.value, &reading.item),
                     READER_HIT);
    assert_int_equal(reader_get(&view, bytes_from_string("other"), reading.value,
                                sizeof reading.value, &reading.item),
                     READER_ASK);
    reading_end(&reading);
}

static void mappings_that_do_not_belong_together_are_refused(void **state) {
    (void)state;
    struct reading reading;
    reading_begin(&reading, &store);
    struct lookup_view view;
    const char *data = reading.data;
    const char *index = reading.index;
    size_t data_bytes = reading.data_bytes;
    size_t index_bytes = reading.index_bytes;
    EXPECT(lookup_open(&view, data, data_bytes, index, index_bytes));
    EXPECT(!lookup_open(&view, data, data_bytes - 1, index, index_bytes));
    EXPECT(!lookup_open(&view, data, data_bytes, index, index_bytes - 1));
    EXPECT(!lookup_open(&view, data, LAYOUT_PAGE - 1, index, index_bytes));
    EXPECT(!lookup_open(&view, data, data_bytes, index, LAYOUT_PAGE - 1));
    EXPECT(!lookup_open(&view, index, index_bytes, data, data_bytes));
    struct layout_data_header header;
    char *copy = copy_before_a_wall(data, data_bytes);
    memcpy(&header, data, sizeof header);
    const struct layout_data_header good = header;
    header.pool_id++;
    memcpy(copy, &header, sizeof header);
    EXPECT(!lookup_open(&view, copy, data_bytes, index, index_bytes));
    header = good;
    header.version++;
    memcpy(copy, &header, sizeof header);
    EXPECT(!lookup_open(&view, copy, data_bytes, index, index_bytes));
    memcpy(copy, &good, sizeof good);
    EXPECT(lookup_open(&view, copy, data_bytes, index, index_bytes));
    reading_end(&reading);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_BOTH(its_descriptors_cannot_be_used_to_write),
        ON_BOTH(mappings_that_anybody_has_written_lead_nowhere_outside_them),
        ON_BOTH(a_chain_that_is_a_ring_is_left_to_the_daemon),
        ON_BOTH(mappings_that_do_not_belong_together_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
