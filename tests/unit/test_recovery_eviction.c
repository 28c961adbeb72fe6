/* Evictions and crashes, in a persistent cache: no older version of an evicted item comes back. */
#include "recovery_support.h"

#include "store/operations.h"
#include "store/pool_private.h"

#include <sys/mman.h>

static struct store store;

static enum status set_until(struct store *child, const char *key, const char *value, uint32_t s) {
    store_thread_refresh(&child->thread);
    enum status status =
        pool_store(child->pool, &child->thread, bytes_from_string(key),
                   &(struct pool_store){.value = bytes_from_string(value), .expiry_s = s}, NULL);
    store_thread_leave(&child->thread);
    return status;
}

/* The old versions lie in a segment of another TTL class than the new versions. That segment is not
 * freed.
 */
static void evict_new_versions(struct store *child, void *argument) {
    const unsigned count = *(unsigned *)argument;
    char key[POOL_KEY_MAX];
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%u", i);
        EXPECT(set_until(child, key, "old", CLOCK_START_S + 80000) == STATUS_OK);
    }
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%u", i);
        EXPECT(set_until(child, key, "new", 0) == STATUS_OK);
    }
    struct pool_stats stats;
    for (unsigned number = 0, gone = 0; gone < count; number++) {
        EXPECT(number < 100000);
        EXPECT(store_set_number(child, number, 0, 1000, 0) == STATUS_OK);
        store_stats(child, &stats);
        if (stats.counters[POOL_EVICTIONS] == 0 || number % 100 != 0) {
            continue;
        }
        gone = 0;
        for (unsigned i = 0; i < count; i++) {
            struct lookup_hit hit;
            snprintf(key, sizeof key, "k%u", i);
            gone += !operations_find(child->pool, bytes_from_string(key), &hit);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%u", i);
        EXPECT(store_delete(child, key) == STATUS_NOT_FOUND);
    }
}

static void an_older_version_of_an_evicted_item_does_not_come_back(void **state) {
    (void)state;
    unsigned count = 50;
    store_end(&store);
    struct pool_options options = store_options(32);
    options.persist = true;
    options.evict = true;
    store_begin(&store, options);
    store_survive(&store, evict_new_versions, &count);
    for (unsigned i = 0; i < count; i++) {
        char key[POOL_KEY_MAX];
        snprintf(key, sizeof key, "k%u", i);
        expect_gone(&store, key);
    }
}

/* Once a look-up has missed an evicted item, the item must never come back. */
static void evict_until_a_sync_kills(struct store *child, void *argument) {
    unsigned *missed = argument; /* shared: numbers of items that the child has seen evicted */
    fault_die_at_sync((int)missed[0]);
    for (unsigned number = 0; number < 100000; number++) {
        EXPECT(store_set_number(child, number, 0, 1000, 0) == STATUS_OK);
        store_thread_refresh(&child->thread);
        for (unsigned old = 0; number > 1000 && old < 400; old++) {
            struct lookup_hit hit;
            char key[POOL_KEY_MAX];
            size_t size = number_key(key, old);
            if (!operations_find(child->pool, bytes_from(key, size), &hit)) {
                missed[old + 1] =
                    1; /* operations_find counts no read: eviction keeps items that were read */
            }
        }
        store_thread_leave(&child->thread);
    }
}

static void an_item_that_a_client_has_missed_stays_gone(void **state) {
    (void)state;
    struct pool_options options = store_options(32);
    options.persist = true;
    options.evict = true;
    size_t size = 401 * sizeof(unsigned);
    unsigned *missed = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(missed != MAP_FAILED);
    for (unsigned round = 1; round <= 6; round++) {
        store_end(&store);
        store_begin(&store, options);
        memset(missed, 0, size);
        missed[0] = round;
        store_survive(&store, evict_until_a_sync_kills, missed);
        for (unsigned old = 0; old < 400; old++) {
            EXPECT(!missed[old + 1] || !store_has_number(&store, old, 0, 1000));
        }
    }
    munmap(missed, size);
}

#define PERSISTENT(test) STORE_TEST(test, .segments = 32, .persist = true)

int main(void) {
    const struct CMUnitTest tests[] = {
        PERSISTENT(an_older_version_of_an_evicted_item_does_not_come_back),
        PERSISTENT(an_item_that_a_client_has_missed_stays_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
