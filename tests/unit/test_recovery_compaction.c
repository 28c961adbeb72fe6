/* Crashes in the middle of a compaction: nothing is lost, and the pool still works. */
#include "recovery_support.h"

#include <stdatomic.h>
#include <sys/mman.h>

static struct store store;

static void work_until_a_sync_kills(struct store *child, void *argument) {
    uint64_t random = 1000 + *(unsigned *)argument;
    fault_die_at_sync((int)*(unsigned *)argument);
    for (unsigned round = 0; round < 100000; round++) {
        unsigned number = random_below(&random, 800);
        EXPECT(store_set_number(child, number, 0, 100 + number % 400, 0) == STATUS_OK);
    }
}

static void a_crash_at_any_step_of_a_compaction_loses_nothing(void **state) {
    (void)state;
    for (unsigned number = 0; number < 800; number++) {
        EXPECT(store_set_number(&store, number, 0, 100 + number % 400, 0) == STATUS_OK);
    }
    for (unsigned number = 0; number < 800; number += 5) {
        EXPECT(store_delete_number(&store, 100000 + number) == STATUS_NOT_FOUND);
        EXPECT(store_set_number(&store, 100000 + number, 0, 10, 0) == STATUS_OK);
        EXPECT(store_delete_number(&store, 100000 + number) == STATUS_OK);
    }
    for (unsigned step = 2; step < 4 + scaled(20); step++) { /* the start makes the first sync */
        store_survive(&store, work_until_a_sync_kills, &step);
        for (unsigned number = 0; number < 800; number++) {
            EXPECT(store_has_number(&store, number, 0, 100 + number % 400));
            EXPECT(number % 5 != 0 || !store_has_number(&store, 100000 + number, 0, 10));
        }
    }
}

struct filled {
    unsigned step; /* the sync that kills */
    _Atomic unsigned stored;
    _Atomic unsigned updated;
};

static void fill_until_a_sync_kills(struct store *child, void *argument) {
    struct filled *filled = argument;
    uint64_t random = filled->step;
    unsigned number = 0;
    while (store_set_number(child, number, 0, 700, 0) == STATUS_OK) {
        atomic_store(&filled->stored, ++number);
    }
    fault_die_at_sync((int)filled->step);
    for (unsigned i = 0; i < 100000; i++) {
        EXPECT(store_set_number(child, random_below(&random, number), 0, 700, 0) == STATUS_OK);
    }
}

/* The janitor may have taken the last free segment just before the crash. Its copies must not block
 * the pool for good. */
static void a_full_pool_works_on_after_a_crash_at_any_step(void **state) {
    (void)state;
    struct filled *filled =
        mmap(NULL, sizeof *filled, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(filled != MAP_FAILED);
    struct pool_options options = store.options;
    for (filled->step = 1; filled->step <= 1 + scaled(7); filled->step++) {
        store_end(&store);
        store_begin(&store, options);
        store_survive(&store, fill_until_a_sync_kills, filled);
        unsigned stored = atomic_load(&filled->stored);
        for (unsigned number = 0; number < stored; number++) {
            EXPECT(store_has_number(&store, number, 0, 700));
        }
        for (unsigned number = 0; number < scaled(2 * stored); number++) {
            EXPECT(store_set_number(&store, number * 7 % stored, 1, 700, 0) == STATUS_OK);
        }
        for (unsigned number = 0; number < stored; number++) {
            EXPECT(store_delete_number(&store, number) == STATUS_OK);
        }
    }
    munmap(filled, sizeof *filled);
}

#define BOTH(test)                                                                                 \
    STORE_TEST(test, .segments = 32, .persist = true),                                             \
        STORE_TEST(test, .segments = 12, .persist = true)

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(a_crash_at_any_step_of_a_compaction_loses_nothing),
        BOTH(a_full_pool_works_on_after_a_crash_at_any_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
