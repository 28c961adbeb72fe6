/* Shared by the tests of store/: a pool in a folder of its own, a clock that stands still until a
 * test moves it, and system calls that fail, or kill the process, at a named step.
 *
 * A crash is real: a child process opens the pool, works and ends by SIGKILL, while the parent has
 * the pool closed. Then the parent opens the pool. */
#ifndef STAYD_TESTS_STORE_SUPPORT_H
#define STAYD_TESTS_STORE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "random.h"
#include "store/pool.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Like cmocka's assert_true, and usable in a child process and in any thread. A failure ends the
 * process. */
#define EXPECT(condition) expect((condition), #condition, __FILE__, __LINE__)
void expect(bool holds, const char *what, const char *file, int line);

/* A number of repetitions: `count`, or fewer if a sanitizer makes the test slow. */
unsigned scaled(unsigned count);

/* ---- the clock for expiry; durations use the real clock ---- */

#define CLOCK_START_S UINT32_C(2000000000)

uint32_t clock_now_s(void);
void clock_set_s(uint32_t now_s); /* in this process and its children */
void clock_advance_s(uint32_t by_s);
void clock_step_s(int64_t by_s); /* sets the clock back or forward; no time passes */

/* ---- faults of system calls; all calls work again after fault_none ---- */

void fault_none(void);
void fault_die_at_sync(int number);     /* SIGKILL at the start of the n-th sync from now on */
void fault_fail_syncs(bool fail);       /* with EIO */
void fault_fail_allocations(bool fail); /* posix_fallocate, with ENOSPC */
unsigned fault_syncs(void);             /* how many there were */
unsigned fault_allocations(void);       /* the same */

/* ---- a pool and the thread that uses it ---- */

enum {
    STORE_SEGMENT = 64 << 10, /* bytes of a segment, in a pool of up to 16M and item_max to 65408 */
    STORE_VALUE_MAX = 64 << 10,
};

struct store {
    char folder[64];
    char data_path[128];
    char index_path[128];
    struct pool_options options; /* for the next store_open */
    struct grace *grace;
    struct pool *pool; /* NULL: closed */
    struct store_thread thread;
};

/* Of `segments` segments of STORE_SEGMENT bytes; volatile, evict = no, item_max 16K. */
struct pool_options store_options(unsigned segments);

/* Makes the folder, opens the pool for one thread and the main thread's store_thread. */
void store_begin(struct store *store, struct pool_options options);
/* Does the same for a persistent pool of so many segments. */
void store_begin_persistent(struct store *store, unsigned segments);
void store_begin_threads(struct store *store, struct pool_options options, unsigned threads);
void store_end(struct store *store);

/* A test on a pool that is begun before it and ended afterwards, in the variable `store` of the
 * test's file: STORE_TEST(a_pool_is_empty, .segments = 8, .persist = true). */
struct store_bed {
    struct store *store;
    unsigned segments;
    bool evict;
    bool persist;
};

int store_setup(void **bed);
int store_teardown(void **bed);

#define STORE_TEST(test, ...)                                                                      \
    cmocka_unit_test_prestate_setup_teardown(test, store_setup, store_teardown,                    \
                                             (&(struct store_bed){&store, __VA_ARGS__}))

/* Runs the same test on a volatile pool and on a persistent pool, evict = no. */
#define VOLATILE_AND_PERSISTENT(count, test)                                                       \
    STORE_TEST(test, .segments = count), STORE_TEST(test, .segments = count, .persist = true)

void store_open(struct store *store);
void store_close(struct store *store);
void store_reopen(struct store *store);

/* The message of a pool_open that must fail. */
const char *store_open_error(struct store *store);

/* A child opens the pool, runs `work` and is killed. In this process the pool is closed before and
 * afterwards. */
typedef void (*store_work)(struct store *store, void *argument);
void store_crash(struct store *store, store_work work, void *argument);

/* Does what store_crash does, and opens the pool afterwards. */
void store_survive(struct store *store, store_work work, void *argument);

/* Waits until the janitor has made `passes` whole passes that began after this call. */
void store_run_janitor(struct store *store, unsigned passes);

/* ---- items; each call is a batch of its own, and ends the validity of earlier results ---- */

enum status store_set(struct store *store, const char *key, const char *value, uint32_t expiry_s);
enum status store_delete(struct store *store, const char *key);
enum status store_touch(struct store *store, const char *key, uint32_t expiry_s);
enum status store_get(struct store *store, const char *key, struct item *item);
uint64_t store_cas(struct store *store, const char *key);

#define expect_there(store, key, value) expect_there_at(store, key, value, __FILE__, __LINE__)
#define expect_gone(store, key) expect_gone_at(store, key, __FILE__, __LINE__)
void expect_there_at(struct store *store, const char *key, const char *value, const char *file,
                     int line);
void expect_gone_at(struct store *store, const char *key, const char *file, int line);

/* Items by number. Key and value follow from the number and `version`, so that every byte can be
 * checked. */
size_t number_key(char text[POOL_KEY_MAX], unsigned number);
void number_value(char *value, size_t size, unsigned number, unsigned version);
enum status store_set_number(struct store *store, unsigned number, unsigned version, size_t size,
                             uint32_t expiry_s);
enum status store_delete_number(struct store *store, unsigned number);
bool store_has_number(struct store *store, unsigned number, unsigned version, size_t size);

/* Stores items from `number` on until the pool is full. Returns the number of the refused item. */
unsigned store_fill(struct store *store, unsigned number, size_t size, uint32_t expiry_s);

void store_stats(struct store *store, struct pool_stats *stats);
struct pool_stats store_stats_now(struct store *store);

/* Bytes of the tombstones and flushes in the data that compaction has not dropped yet. */
uint64_t store_tombstone_bytes(struct store *store);

#endif
