/* The index alone: the test writes the records into memory, and sets the slots like the pool. */
#include "store_support.h"

#include "base/clock.h"
#include "base/hash.h"
#include "store/index.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    BED_SEGMENT = 1 << 20,
    BED_SEGMENTS = 16,
    BED_OFFSET_BITS = 17,
};

/* An index, and records for its slots to point at. */
struct bed {
    struct layout_index_header plan;
    struct lookup_view view;
    struct index index;
    int file;
    char *memory;
    uint64_t memory_bytes;
    uint32_t segment; /* where the next record goes */
    uint32_t offset;
};

static void bed_begin(struct bed *bed) {
    *bed = (struct bed){.plan = {
                            .segment_bytes = BED_SEGMENT,
                            .segment_count = BED_SEGMENTS,
                            .offset_bits = BED_OFFSET_BITS,
                            .hash_seed = UINT64_C(0x5eed),
                        }};
    index_plan(&bed->plan, (uint64_t)BED_SEGMENT * BED_SEGMENTS);
    bed->memory_bytes = index_size(&bed->plan);
    bed->file = memfd_create("index", MFD_CLOEXEC);
    EXPECT(bed->file >= 0 && ftruncate(bed->file, (off_t)bed->memory_bytes) == 0);
    bed->memory = mmap(NULL, bed->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bed->file, 0);
    EXPECT(bed->memory != MAP_FAILED);
    memcpy(bed->memory, &bed->plan, sizeof bed->plan);
    bed->view = (struct lookup_view){
        .data = calloc(1, LAYOUT_PAGE + (size_t)BED_SEGMENT * BED_SEGMENTS),
        .index = (void *)bed->memory,
        .segments = (void *)(bed->memory + bed->plan.segments_offset),
        .buckets = (void *)(bed->memory + bed->plan.buckets_offset),
        .overflow = (void *)(bed->memory + bed->plan.overflow_offset),
        .segment_bytes = BED_SEGMENT,
        .segment_count = BED_SEGMENTS,
        .offset_bits = BED_OFFSET_BITS,
        .bucket_max = bed->plan.bucket_max,
        .overflow_max = bed->plan.overflow_max,
        .chain_max = LOOKUP_CHAIN_MAX,
        .hash_seed = bed->plan.hash_seed,
    };
    EXPECT(bed->view.data != NULL);
    EXPECT(index_init(&bed->index, &bed->view, bed->file, true, 0));
    bed->offset = sizeof(struct layout_segment_header);
    fault_none();
}

static void bed_end(struct bed *bed) {
    index_finish(&bed->index);
    munmap(bed->memory, bed->memory_bytes);
    close(bed->file);
    free(bed->view.data);
}

static struct bytes bed_key(char text[POOL_KEY_MAX], unsigned number) {
    return bytes_from(text, (size_t)snprintf(text, POOL_KEY_MAX, "%x", number));
}

static uint64_t bed_hash(const struct bed *bed, unsigned number) {
    char text[POOL_KEY_MAX];
    return hash_key(bed->view.hash_seed, bed_key(text, number));
}

/* Writes a record of this key; returns its location. */
static uint64_t bed_write(struct bed *bed, unsigned number) {
    char text[POOL_KEY_MAX];
    struct record record = {.kind = LAYOUT_VALUE, .sequence = 1, .key = bed_key(text, number)};
    record.value = bytes_from_string("");
    size_t size = record_size(&record);
    if (bed->offset + size > BED_SEGMENT) {
        bed->segment++;
        bed->offset = sizeof(struct layout_segment_header);
        EXPECT(bed->segment < BED_SEGMENTS);
    }
    record_write((void *)(lookup_segment(&bed->view, bed->segment) + bed->offset), &record, 0);
    uint64_t location = lookup_location(&bed->view, bed->segment, bed->offset);
    bed->offset += (uint32_t)size;
    return location;
}

/* Adds a key like the pool. `hash` is the key's hash, or another number that the test chooses. */
static bool bed_insert_as(struct bed *bed, unsigned number, uint64_t hash) {
    uint64_t location = bed_write(bed, number);
    struct layout_bucket *bucket = index_lock(&bed->index, hash);
    bool inserted = index_insert(&bed->index, bucket, layout_slot(hash, 0, location));
    index_unlock(bucket);
    return inserted;
}

static void bed_insert(struct bed *bed, unsigned number) {
    EXPECT(bed_insert_as(bed, number, bed_hash(bed, number)));
    index_grow(&bed->index);
}

static bool bed_remove_as(struct bed *bed, unsigned number, uint64_t hash) {
    char text[POOL_KEY_MAX];
    struct lookup_hit hit;
    struct layout_bucket *bucket = index_lock(&bed->index, hash);
    bool found = index_find(&bed->index, bucket, hash, bed_key(text, number), &hit);
    if (found) {
        EXPECT(index_find_location(&bed->index, bucket, layout_slot_location(hit.slot_value)) ==
               hit.slot);
        index_remove(&bed->index, bucket, hit.slot);
    }
    index_unlock(bucket);
    return found;
}

/* Looks up without a lock, like a reader. */
static bool bed_has_as(const struct bed *bed, unsigned number, uint64_t hash) {
    char text[POOL_KEY_MAX];
    struct bytes key = bed_key(text, number);
    struct lookup_hit hit;
    enum lookup_outcome outcome;
    while ((outcome = lookup_find(&bed->view, hash, key, &hit)) == LOOKUP_BUSY) {
        sched_yield();
    }
    EXPECT(outcome == LOOKUP_MISSING || bytes_equal(hit.record.key, key));
    return outcome == LOOKUP_FOUND;
}

static bool bed_has(const struct bed *bed, unsigned number) {
    return bed_has_as(bed, number, bed_hash(bed, number));
}

static uint64_t bed_free_overflow(const struct bed *bed) {
    uint64_t count = 0;
    uint64_t number = atomic_load(&bed->view.index->overflow_free);
    while (number != 0) {
        EXPECT(++count <= atomic_load(&bed->view.index->overflow_used));
        number = layout_word_link(atomic_load(&bed->view.overflow[number - 1].word));
    }
    return count;
}

static uint64_t bed_used_overflow(const struct bed *bed) {
    return atomic_load(&bed->view.index->overflow_used) - bed_free_overflow(bed);
}

static void every_key_is_found_while_the_index_grows(void **state) {
    (void)state;
    enum { KEYS = 100000 };
    struct bed bed;
    bed_begin(&bed);
    const struct layout_index_header *header = bed.view.index;
    uint64_t before = atomic_load(&header->bucket_count);
    unsigned check_at = 1;
    for (unsigned number = 0; number < KEYS; number++) {
        bed_insert(&bed, number);
        if (number + 1 == check_at || number + 1 == KEYS) {
            for (unsigned other = 0; other <= number; other++) {
                EXPECT(bed_has(&bed, other));
            }
            EXPECT(!bed_has(&bed, KEYS + number));
            check_at = check_at * 3 + 1;
        }
    }
    assert_int_equal(atomic_load(&header->items), KEYS);
    assert_true(atomic_load(&header->bucket_count) > before);
    assert_true(atomic_load(&header->bucket_count) * 5 >= KEYS);
    assert_true(index_used_bytes(&bed.index) <
                (uint64_t)KEYS * 18); /* 15 for each key, and the free places in the buckets */
    bed_end(&bed);
}

static void a_removed_key_is_gone_and_the_others_stay(void **state) {
    (void)state;
    enum { KEYS = 20000 };
    struct bed bed;
    bed_begin(&bed);
    for (unsigned number = 0; number < KEYS; number++) {
        bed_insert(&bed, number);
    }
    for (unsigned number = 0; number < KEYS; number += 2) {
        EXPECT(bed_remove_as(&bed, number, bed_hash(&bed, number)));
        EXPECT(!bed_remove_as(&bed, number, bed_hash(&bed, number)));
    }
    for (unsigned number = 0; number < KEYS; number++) {
        EXPECT(bed_has(&bed, number) == (number % 2 == 1));
    }
    assert_int_equal(atomic_load(&bed.view.index->items), KEYS / 2);
    bed_end(&bed);
}

static void keys_of_one_and_the_same_hash_are_told_apart(void **state) {
    (void)state;
    enum { KEYS = 1000 };
    uint64_t hash = UINT64_C(0xabcd000000000123);
    struct bed bed;
    bed_begin(&bed);
    for (unsigned number = 0; number < KEYS; number++) {
        EXPECT(bed_insert_as(&bed, number, hash));
    }
    for (unsigned number = 0; number < KEYS; number++) {
        EXPECT(bed_has_as(&bed, number, hash));
    }
    EXPECT(!bed_has_as(&bed, KEYS, hash));
    assert_int_equal(bed_used_overflow(&bed), (KEYS + LAYOUT_SLOTS - 1) / LAYOUT_SLOTS - 1);
    bed_end(&bed);
}

/* Keys whose hashes have the same low bits. All share a bucket, until the number of buckets is
 * larger than these bits can tell apart. */
static void keys_that_crowd_into_one_bucket_stay_findable_through_every_split(void **state) {
    (void)state;
    enum { CROWD = 200, CROWD_MASK = 0x3ff, OTHERS = 30000 };
    struct bed bed;
    bed_begin(&bed);
    unsigned crowd[CROWD];
    unsigned found = 0;
    for (unsigned number = 1 << 20; found < CROWD; number++) {
        if ((bed_hash(&bed, number) & CROWD_MASK) == 5) {
            crowd[found++] = number;
        }
    }
    for (unsigned i = 0; i < CROWD; i++) {
        bed_insert(&bed, crowd[i]);
    }
    assert_true(bed_used_overflow(&bed) >= CROWD / LAYOUT_SLOTS - 1);
    for (unsigned number = 0; number < OTHERS; number++) {
        bed_insert(&bed, number);
        if (number % 512 == 0) {
            for (unsigned i = 0; i < CROWD; i++) {
                EXPECT(bed_has(&bed, crowd[i]));
            }
        }
    }
    for (unsigned i = 0; i < CROWD; i++) {
        EXPECT(bed_has(&bed, crowd[i]));
        EXPECT(bed_remove_as(&bed, crowd[i], bed_hash(&bed, crowd[i])));
    }
    for (unsigned number = 0; number < OTHERS; number++) {
        EXPECT(bed_has(&bed, number));
    }
    bed_end(&bed);
}

static void an_emptied_chain_gives_its_overflow_buckets_back(void **state) {
    (void)state;
    enum { KEYS = 100 };
    struct bed bed;
    bed_begin(&bed);
    uint64_t most = 0;
    for (uint64_t round = 0; round < 5; round++) {
        uint64_t hash = UINT64_C(0x7777000000000000) | round;
        for (unsigned number = 0; number < KEYS; number++) {
            EXPECT(bed_insert_as(&bed, number, hash));
        }
        for (unsigned number = 0; number < KEYS; number++) {
            /* Takes the first, the last and the middle one. */
            unsigned other = round == 0   ? number
                             : round == 1 ? KEYS - 1 - number
                                          : (number * 37) % KEYS;
            EXPECT(bed_remove_as(&bed, other, hash));
            for (unsigned left = 0; round == 2 && left < KEYS; left++) {
                bool gone = false;
                for (unsigned i = 0; i <= number; i++) {
                    gone = gone || (i * 37) % KEYS == left;
                }
                EXPECT(bed_has_as(&bed, left, hash) == !gone);
            }
        }
        assert_int_equal(bed_used_overflow(&bed), 0);
        uint64_t used = atomic_load(&bed.view.index->overflow_used);
        assert_true(round == 0 || used == most); /* the same ones again */
        most = used;
    }
    assert_int_equal(atomic_load(&bed.view.index->items), 0);
    bed_end(&bed);
}

static void without_memory_to_grow_every_key_stays_findable(void **state) {
    (void)state;
    enum { KEYS = 20000 };
    struct bed bed;
    bed_begin(&bed);
    const struct layout_index_header *header = bed.view.index;
    uint64_t hash = UINT64_C(0x1111000000000001);
    bed_insert_as(&bed, 1 << 20, hash); /* overflow memory is allocated from here on */
    for (unsigned number = 0; number < 3 * LAYOUT_SLOTS; number++) {
        EXPECT(bed_insert_as(&bed, (1 << 20) + 1 + number, hash));
    }
    fault_fail_allocations(true);
    unsigned asked = fault_allocations();
    uint64_t began_ms = clock_monotonic_ms();
    uint64_t buckets = atomic_load(&header->bucket_count);
    unsigned inserted = 0;
    for (unsigned number = 0; number < KEYS; number++) {
        if (!bed_insert_as(&bed, number, bed_hash(&bed, number))) {
            break; /* there are no more overflow buckets: the pool refuses the key */
        }
        inserted++;
        index_grow(&bed.index);
    }
    assert_true(inserted > 5 * 1024 && inserted < KEYS);
    assert_int_equal(atomic_load(&header->bucket_count), buckets);
    /* The index asks the system at most every 50 ms, and not at each key. */
    assert_true(fault_allocations() - asked <= 2 + (clock_monotonic_ms() - began_ms) / 50);
    for (unsigned number = 0; number < KEYS; number++) {
        EXPECT(bed_has(&bed, number) == (number < inserted));
    }
    fault_fail_allocations(false);
    atomic_store(&bed.index.retry_ms, 0); /* the interval between two tries has passed */
    for (unsigned number = inserted; number < KEYS; number++) {
        bed_insert(&bed, number);
    }
    assert_true(atomic_load(&header->bucket_count) * 5 >= KEYS);
    for (unsigned number = 0; number < KEYS; number++) {
        EXPECT(bed_has(&bed, number));
    }
    bed_end(&bed);
}

/* A split moves some slots before it finds that there is no overflow bucket for the other slots. */
static void a_split_that_runs_out_of_overflow_buckets_is_taken_back(void **state) {
    (void)state;
    enum { CROWD = 50 };
    struct bed bed;
    bed_begin(&bed);
    struct layout_index_header *header = bed.view.index;
    uint64_t count = atomic_load(&header->bucket_count);
    unsigned crowd[CROWD];
    unsigned found = 0;
    for (unsigned number = 1 << 20; found < CROWD; number++) {
        /* These keys are in bucket 0. The next split would move all of them into the new bucket. */
        if ((bed_hash(&bed, number) & (2 * count - 1)) == count) {
            crowd[found++] = number;
        }
    }
    for (unsigned i = 0; i < CROWD; i++) {
        EXPECT(bed_insert_as(&bed, crowd[i], bed_hash(&bed, crowd[i])));
    }
    header->overflow_max = (uint32_t)atomic_load(&header->overflow_used);
    /* Adds keys to other buckets until a split is due. */
    unsigned others = 0;
    for (unsigned number = 0; atomic_load(&header->items) <= 5 * count; number++) {
        if ((bed_hash(&bed, number) & (count - 1)) != 0) {
            others += bed_insert_as(&bed, number, bed_hash(&bed, number));
        }
        EXPECT(number < 100 * count);
        if (number % count == 0) {
            header->overflow_max = (uint32_t)atomic_load(&header->overflow_used) + 64;
        }
    }
    header->overflow_max = (uint32_t)atomic_load(&header->overflow_used);
    EXPECT(bed_free_overflow(&bed) == 0);
    index_grow(&bed.index);
    assert_int_equal(atomic_load(&header->bucket_count), count);
    for (unsigned i = 0; i < CROWD; i++) {
        EXPECT(bed_has(&bed, crowd[i]));
    }
    header->overflow_max = bed.plan.overflow_max;
    index_grow(&bed.index);
    assert_true(atomic_load(&header->bucket_count) > count);
    for (unsigned i = 0; i < CROWD; i++) {
        EXPECT(bed_has(&bed, crowd[i]));
    }
    assert_true(others > 0);
    bed_end(&bed);
}

/* ---- readers beside a writer ---- */

struct readers {
    struct bed *bed;
    unsigned keys; /* these keys exist all the time */
    _Atomic bool stop;
};

static void *read_keys(void *argument) {
    struct readers *readers = argument;
    uint64_t random = (uint64_t)pthread_self();
    while (!atomic_load(&readers->stop)) {
        unsigned number = random_below(&random, readers->keys);
        EXPECT(bed_has(readers->bed, number));
    }
    return NULL;
}

/* Points the key's slot at another record, like an update or a compaction. */
static void republish(struct bed *bed, unsigned number) {
    char text[POOL_KEY_MAX];
    uint64_t hash = bed_hash(bed, number);
    uint64_t location = bed_write(bed, number);
    struct lookup_hit hit;
    struct layout_bucket *bucket = index_lock(&bed->index, hash);
    EXPECT(index_find(&bed->index, bucket, hash, bed_key(text, number), &hit));
    atomic_store_explicit(hit.slot, layout_slot(hash, 0, location), memory_order_release);
    index_unlock(bucket);
}

static void a_reader_never_misses_a_key_while_others_come_move_and_go(void **state) {
    (void)state;
    enum { READERS = 2, STAYING = 500, PASSING = 30000 };
    struct bed bed;
    bed_begin(&bed);
    for (unsigned number = 0; number < STAYING; number++) {
        bed_insert(&bed, number);
    }
    struct readers readers = {.bed = &bed, .keys = STAYING};
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++) {
        EXPECT(pthread_create(&threads[i], NULL, read_keys, &readers) == 0);
    }
    for (unsigned number = STAYING; number < STAYING + PASSING; number++) {
        bed_insert(&bed, number);
        republish(&bed, number % STAYING);
        if (number % 3 == 0) {
            EXPECT(bed_remove_as(&bed, number, bed_hash(&bed, number)));
        }
    }
    for (unsigned number = STAYING; number < STAYING + PASSING; number++) {
        bed_remove_as(&bed, number, bed_hash(&bed, number));
    }
    atomic_store(&readers.stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(atomic_load(&bed.view.index->bucket_count) > PASSING / 8);
    assert_int_equal(atomic_load(&bed.view.index->items), STAYING);
    bed_end(&bed);
}

struct writers {
    struct bed *bed;
    unsigned first;
    unsigned keys;
    uint64_t *locations;
};

static void *write_keys(void *argument) {
    struct writers *writers = argument;
    struct bed *bed = writers->bed;
    for (unsigned i = 0; i < writers->keys; i++) {
        uint64_t hash = bed_hash(bed, writers->first + i);
        struct layout_bucket *bucket = index_lock(&bed->index, hash);
        EXPECT(index_insert(&bed->index, bucket, layout_slot(hash, 0, writers->locations[i])));
        index_unlock(bucket);
        index_grow(&bed->index);
        if (i % 2 == 1) {
            EXPECT(
                bed_remove_as(bed, writers->first + i - 1, bed_hash(bed, writers->first + i - 1)));
        }
    }
    return NULL;
}

static void several_writers_lose_nothing_of_each_other(void **state) {
    (void)state;
    enum { WRITERS = 4, KEYS = 10000 };
    struct bed bed;
    bed_begin(&bed);
    struct writers writers[WRITERS];
    pthread_t threads[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writers){.bed = &bed, .first = i * KEYS, .keys = KEYS};
        writers[i].locations = malloc(KEYS * sizeof(uint64_t));
        for (unsigned key = 0; key < KEYS; key++) {
            writers[i].locations[key] = bed_write(&bed, i * KEYS + key);
        }
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        EXPECT(pthread_create(&threads[i], NULL, write_keys, &writers[i]) == 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        free(writers[i].locations);
    }
    for (unsigned number = 0; number < WRITERS * KEYS; number++) {
        EXPECT(bed_has(&bed, number) == (number % 2 == 1));
    }
    assert_int_equal(atomic_load(&bed.view.index->items), WRITERS * KEYS / 2);
    bed_end(&bed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_found_while_the_index_grows),
        cmocka_unit_test(a_removed_key_is_gone_and_the_others_stay),
        cmocka_unit_test(keys_of_one_and_the_same_hash_are_told_apart),
        cmocka_unit_test(keys_that_crowd_into_one_bucket_stay_findable_through_every_split),
        cmocka_unit_test(an_emptied_chain_gives_its_overflow_buckets_back),
        cmocka_unit_test(without_memory_to_grow_every_key_stays_findable),
        cmocka_unit_test(a_split_that_runs_out_of_overflow_buckets_is_taken_back),
        cmocka_unit_test(a_reader_never_misses_a_key_while_others_come_move_and_go),
        cmocka_unit_test(several_writers_lose_nothing_of_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
