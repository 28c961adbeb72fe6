/* Sequence numbers, which clients see as CAS numbers: no number is given out twice, even if a crash
 * has lost its record. */
#include "recovery_support.h"

#include "store/pool_private.h"

#include <sys/mman.h>

static struct store store;

/* A set that expires at once takes a sequence number and leaves no record. The test makes only the
 * sets around each step of the sequence in the header, and skips the numbers between. */
static void store_what_expires_at_once(struct store *child, void *argument) {
    uint64_t *last = argument;
    _Atomic uint64_t *sequence = &child->pool->view.index->sequence;
    for (uint64_t left = 2 * LAYOUT_SEQUENCE_GAP / LAYOUT_SEQUENCE_STEP; left > 0; left--) {
        struct item item;
        uint64_t step = atomic_load(sequence) / LAYOUT_SEQUENCE_STEP;
        atomic_store(sequence, (step + 1) * LAYOUT_SEQUENCE_STEP - 1);
        store_thread_refresh(&child->thread);
        EXPECT(pool_store(child->pool, &child->thread, bytes_from_string("k"),
                          &(struct pool_store){.value = bytes_from_string("v"), .expiry_s = 1},
                          &item) == STATUS_OK);
        *last = item.cas;
    }
}

static void no_cas_is_given_out_twice_though_no_record_bears_it(void **state) {
    (void)state;
    uint64_t *last =
        mmap(NULL, sizeof *last, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(last != MAP_FAILED);
    store_survive(&store, store_what_expires_at_once, last);
    EXPECT(store_set(&store, "k", "v", 0) == STATUS_OK);
    EXPECT(*last > LAYOUT_SEQUENCE_GAP && store_cas(&store, "k") > *last);
    munmap(last, sizeof *last);
}

static void store_and_report_cas(struct store *child, void *argument) {
    uint64_t *cas = argument;
    EXPECT(store_set(child, "k", "numbered-value", 0) == STATUS_OK);
    *cas = store_cas(child, "k");
    for (unsigned i = 0; i < scaled(100000);
         i++) { /* these sets leave no record with their number */
        EXPECT(store_set(child, "gone", "v", 1) == STATUS_OK);
    }
    EXPECT(store_set(child, "k", "numbered-value", 0) == STATUS_OK);
    *cas = store_cas(child, "k");
}

static void a_cas_is_never_given_out_again(void **state) {
    (void)state;
    uint64_t *cas = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(cas != MAP_FAILED);
    uint64_t before = 0;
    for (int crash = 0; crash < 8; crash++) {
        store_crash(&store, store_and_report_cas, cas);
        assert_true(*cas > before);
        before = *cas;
        if (crash % 2) {
            tear(&store, "numbered-value"); /* a power cut takes the records with these numbers */
            tear(&store, "numbered-value");
        }
        store_open(&store);
        EXPECT(store_set(&store, "other", "v", 0) == STATUS_OK);
        assert_true(store_cas(&store, "other") > before);
        before = store_cas(&store, "other");
        if (crash % 3 == 0) {
            store_reopen(&store);
            EXPECT(store_set(&store, "other", "v", 0) == STATUS_OK);
            assert_true(store_cas(&store, "other") > before);
            before = store_cas(&store, "other");
        }
    }
    munmap(cas, 4096);
}

#define PERSISTENT(test) STORE_TEST(test, .segments = 32, .persist = true)

int main(void) {
    const struct CMUnitTest tests[] = {
        PERSISTENT(no_cas_is_given_out_twice_though_no_record_bears_it),
        PERSISTENT(a_cas_is_never_given_out_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
