/* Which replies wait for which sync. The test replaces the disk, and decides when a sync ends. */
#include "store_support.h"

#include "base/clock.h"
#include "store/io.h"
#include "store/operations.h"
#include "store/pool_private.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

enum { CLIENTS_MAX = 8, WAIT_MS = 10000 /* for what must come */, STEP_MS = 2 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool shut; /* a sync that begins does not end */
    unsigned begun;
    unsigned ended;
    unsigned takes_ms; /* the time of a sync while the disk is not shut */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct store store;
static struct store_thread clients[CLIENTS_MAX];

static void pause_ms(unsigned ms) {
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&wait, NULL);
}

static int disk_sync(int file) {
    (void)file;
    pthread_mutex_lock(&disk.lock);
    unsigned takes_ms = disk.takes_ms;
    unsigned number = ++disk.begun;
    pthread_cond_broadcast(&disk.changed);
    while (disk.shut && disk.ended < number) {
        pthread_cond_wait(&disk.changed, &disk.lock);
    }
    pthread_mutex_unlock(&disk.lock);
    pause_ms(takes_ms);
    return 0;
}

static void disk_shut(bool shut) {
    pthread_mutex_lock(&disk.lock);
    disk.shut = shut;
    disk.ended = disk.begun;
    pthread_cond_broadcast(&disk.changed);
    pthread_mutex_unlock(&disk.lock);
}

static void disk_slow(unsigned takes_ms) {
    pthread_mutex_lock(&disk.lock);
    disk.takes_ms = takes_ms;
    pthread_mutex_unlock(&disk.lock);
}

/* Lets the current sync end, and no later sync. */
static void disk_end_one(void) {
    disk_shut(true);
}

static unsigned disk_begun(void) {
    pthread_mutex_lock(&disk.lock);
    unsigned begun = disk.begun;
    pthread_mutex_unlock(&disk.lock);
    return begun;
}

static void disk_await_begin(unsigned number) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&disk.lock);
    int waited = 0;
    while (disk.begun < number && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&disk.changed, &disk.lock, &until);
    }
    EXPECT(disk.begun >= number);
    pthread_mutex_unlock(&disk.lock);
}

/* Opens a pool of this policy; then begins to count. */
static void begin(enum pool_fsync fsync) {
    static struct store_io gated;
    gated = store_io_system;
    gated.sync = disk_sync;
    store_io = &gated;
    struct pool_options options = store_options(12);
    options.persist = true;
    options.fsync = fsync;
    disk_shut(false);
    store_begin_threads(&store, options, CLIENTS_MAX + 1);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        store_thread_init(&clients[i], store.grace, i + 1);
    }
    pthread_mutex_lock(&disk.lock);
    disk.begun = disk.ended = 0;
    pthread_mutex_unlock(&disk.lock);
}

static int finish(void **state) {
    (void)state;
    disk_slow(0);
    disk_shut(false);
    store_end(&store);
    store_io = &store_io_system;
    return 0;
}

/* Makes a request; returns its ticket. */
static uint64_t write_once(unsigned client) {
    struct store_thread *thread = &clients[client];
    char key[POOL_KEY_MAX];
    store_thread_refresh(thread);
    EXPECT(pool_store(store.pool, thread, bytes_from(key, number_key(key, client)),
                      &(struct pool_store){.value = bytes_from_string("v")}, NULL) == STATUS_OK);
    uint64_t ticket = pool_take_ticket(store.pool, thread);
    store_thread_leave(thread);
    return ticket;
}

static void await_ticket(uint64_t ticket) {
    uint64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    while (pool_check_ticket(store.pool, ticket) == STATUS_PENDING) {
        EXPECT(clock_monotonic_ms() < until_ms);
        pause_ms(STEP_MS);
    }
    EXPECT(pool_check_ticket(store.pool, ticket) == STATUS_OK);
}

/* The ticket of everything that store.thread has done. Afterwards the thread waits for requests,
 * like a worker. */
static uint64_t take_ticket(void) {
    store_thread_leave(&store.thread);
    return pool_take_ticket(store.pool, &store.thread);
}

static void a_write_waits_for_a_sync_that_began_after_it(void **state) {
    (void)state;
    begin(POOL_FSYNC_ALWAYS);
    disk_shut(true);
    uint64_t first = write_once(0);
    disk_await_begin(1);
    uint64_t second = write_once(1); /* during that sync, and maybe too late for it */
    EXPECT(pool_check_ticket(store.pool, first) == STATUS_PENDING);
    disk_end_one();
    await_ticket(first);
    EXPECT(pool_check_ticket(store.pool, second) == STATUS_PENDING);
    disk_await_begin(2);
    EXPECT(pool_check_ticket(store.pool, second) == STATUS_PENDING);
    disk_end_one();
    await_ticket(second);
}

static void one_sync_serves_all_that_wait_for_it(void **state) {
    (void)state;
    begin(POOL_FSYNC_ALWAYS);
    disk_shut(true);
    uint64_t tickets[CLIENTS_MAX];
    tickets[0] = write_once(0);
    disk_await_begin(1);
    for (unsigned i = 1; i < CLIENTS_MAX; i++) {
        tickets[i] = write_once(i);
    }
    disk_end_one();
    disk_await_begin(2);
    disk_end_one();
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        await_ticket(tickets[i]);
    }
    EXPECT(disk_begun() == 2);
}

static void a_read_of_what_is_on_the_disk_waits_for_no_sync(void **state) {
    (void)state;
    begin(POOL_FSYNC_ALWAYS);
    EXPECT(store_set(&store, "k", "v", 0) == STATUS_OK);
    await_ticket(take_ticket());
    disk_shut(true);
    write_once(0);
    disk_await_begin(disk_begun());
    expect_there(&store, "k", "v");
    EXPECT(take_ticket() == 0);
}

/* The replies to one client while another client's write is not on the disk yet. */

static void ask_all_that_rest_on(const char *there, const char *gone, bool waits) {
    struct item item;
    struct pool_fetched fetched;
    uint64_t number;
    struct store_thread *thread = &clients[1];
    struct bytes present = bytes_from_string(there);
    struct bytes missing = bytes_from_string(gone);
    const struct pool_store add = {.mode = POOL_ADD, .value = bytes_from_string("1")};
    const struct pool_store cas = {
        .value = bytes_from_string("1"), .compare_cas = true, .cas = 99999};
    const struct pool_store replace = {.mode = POOL_REPLACE, .value = bytes_from_string("1")};
    const struct pool_fetch touch = {.touch = true};
    const struct pool_arithmetic add_one = {.delta = 1};
    for (int question = 0; question < 10; question++) {
        store_thread_refresh(thread);
        switch (question) {
        case 0:
            EXPECT(pool_get(store.pool, thread, present, &item) == STATUS_OK);
            break;
        case 1:
            EXPECT(pool_get(store.pool, thread, missing, &item) == STATUS_NOT_FOUND);
            break;
        case 2:
            EXPECT(pool_delete(store.pool, thread, missing, NULL) == STATUS_NOT_FOUND);
            break;
        case 3:
            EXPECT(pool_store(store.pool, thread, present, &add, NULL) == STATUS_NOT_STORED);
            break;
        case 4:
            EXPECT(pool_store(store.pool, thread, present, &cas, NULL) == STATUS_EXISTS);
            break;
        case 5:
            EXPECT(pool_store(store.pool, thread, missing, &cas, NULL) == STATUS_NOT_FOUND);
            break;
        case 6:
            EXPECT(pool_store(store.pool, thread, missing, &replace, NULL) == STATUS_NOT_STORED);
            break;
        case 7:
            EXPECT(pool_fetch(store.pool, thread, missing, &touch, &fetched) == STATUS_NOT_FOUND);
            break;
        case 8:
            EXPECT(pool_arithmetic(store.pool, thread, missing, &add_one, &number, NULL) ==
                   STATUS_NOT_FOUND);
            break;
        case 9:
            EXPECT(pool_arithmetic(store.pool, thread, present, &add_one, &number, NULL) ==
                   STATUS_NON_NUMERIC);
            break;
        }
        uint64_t ticket = pool_take_ticket(store.pool, thread);
        store_thread_leave(thread);
        EXPECT(waits == (ticket != 0 && pool_check_ticket(store.pool, ticket) == STATUS_PENDING));
    }
}

static void a_reply_waits_if_it_rests_on_what_is_not_on_the_disk(void **state) {
    (void)state;
    begin(POOL_FSYNC_ALWAYS);
    EXPECT(store_set(&store, "old", "v", 0) == STATUS_OK);
    EXPECT(store_set(&store, "gone", "v", 0) == STATUS_OK);
    await_ticket(take_ticket());
    ask_all_that_rest_on("old", "never", false);
    disk_shut(true);
    EXPECT(store_set(&store, "new", "v", 0) == STATUS_OK);
    EXPECT(store_delete(&store, "gone") == STATUS_OK);
    ask_all_that_rest_on("new", "gone", true); /* nobody has asked for a sync yet */
    disk_await_begin(1);
    ask_all_that_rest_on("new", "gone", true); /* it is under way */
    expect_there(&store, "old", "v");
    take_ticket(); /* of the writes */
    expect_there(&store, "old", "v");
    EXPECT(take_ticket() == 0); /* this request was there before */
    disk_shut(false);
    await_ticket(atomic_load(&store.pool->sync.wanted));
    ask_all_that_rest_on("new", "gone", false);
}

static void a_reply_waits_if_it_rests_on_a_touch_that_is_not_on_the_disk(void **state) {
    (void)state;
    begin(POOL_FSYNC_ALWAYS);
    static char large[6000];
    memset(large, 'v', sizeof large - 1);
    EXPECT(store_set(&store, "big", large, CLOCK_START_S + 100) == STATUS_OK);
    EXPECT(store_set(&store, "gone", "v", 0) == STATUS_OK);
    await_ticket(take_ticket());
    ask_all_that_rest_on("big", "never", false);
    disk_shut(true);
    EXPECT(store_delete(&store, "gone") == STATUS_OK);
    EXPECT(store_touch(&store, "big", CLOCK_START_S + 200) == STATUS_OK);
    ask_all_that_rest_on("big", "gone", true);
    EXPECT(take_ticket() != 0); /* of the touch */
    disk_await_begin(1);
    /* This holds even if the sync does not know of the touch yet, because other clients can see the
     * touch earlier. */
    atomic_store(&store.pool->sync.dirty, false);
    struct item item;
    EXPECT(store_get(&store, "big", &item) == STATUS_OK);
    EXPECT(take_ticket() > atomic_load(&store.pool->sync.begun));
    EXPECT(store_touch(&store, "big", CLOCK_START_S + 200) == STATUS_OK); /* changes nothing */
    EXPECT(pool_check_ticket(store.pool, take_ticket()) == STATUS_PENDING);
    disk_shut(false);
    await_ticket(atomic_load(&store.pool->sync.wanted));
    ask_all_that_rest_on("big", "gone", false);
}

/* Nothing checks the sequence of a touch in a file. One that was never given out would make each
 * read of the item wait for a sync, for ever. */
static void a_damaged_sequence_of_a_touch_makes_no_reply_wait(void **state) {
    (void)state;
    begin(POOL_FSYNC_ALWAYS);
    static char large[6000];
    memset(large, 'v', sizeof large - 1);
    EXPECT(store_set(&store, "big", large, CLOCK_START_S + 100) == STATUS_OK);
    await_ticket(take_ticket());
    struct lookup_hit hit;
    EXPECT(operations_find(store.pool, bytes_from_string("big"), &hit));
    for (int bit = 40; bit < 64; bit++) {
        atomic_fetch_or(&record_touch_at(hit.at)->sequence, UINT64_C(1) << bit);
        struct item item;
        EXPECT(store_get(&store, "big", &item) == STATUS_OK);
        EXPECT(take_ticket() == 0);
    }
    EXPECT(store_touch(&store, "big", CLOCK_START_S + 200) == STATUS_OK);
    await_ticket(take_ticket()); /* of the touch, which has given the record a right sequence */
    ask_all_that_rest_on("big", "never", false);
}

/* Clients write again as soon as they may. Each sync serves all of them, not half of them in
 * turn. */

enum { ROUNDS = 40, SYNC_TAKES_MS = 10 };

static void *write_again_and_again(void *argument) {
    unsigned client = *(unsigned *)argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t ticket = write_once(client);
        while (pool_check_ticket(store.pool, ticket) == STATUS_PENDING) {
            struct timespec wait = {.tv_nsec = 100000};
            nanosleep(&wait, NULL);
        }
    }
    return NULL;
}

static void those_whom_a_sync_releases_share_the_next(void **state) {
    (void)state;
    begin(POOL_FSYNC_ALWAYS);
    disk_slow(SYNC_TAKES_MS);
    pthread_t threads[CLIENTS_MAX];
    unsigned numbers[CLIENTS_MAX];
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        numbers[i] = i;
        EXPECT(pthread_create(&threads[i], NULL, write_again_and_again, &numbers[i]) == 0);
    }
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        pthread_join(threads[i], NULL);
    }
    /* If the clients split into two groups that take turns, there are twice as many syncs. */
    EXPECT(disk_begun() < ROUNDS * 8 / 5);
}

static void with_everysec_replies_go_at_once_and_stats_tell_what_is_at_stake(void **state) {
    (void)state;
    begin(POOL_FSYNC_EVERYSEC);
    struct pool_stats stats;
    store_stats(&store, &stats);
    EXPECT(stats.sync_lag_ms == 0);
    disk_shut(true);
    uint64_t begun_ms = clock_monotonic_ms();
    EXPECT(write_once(0) == 0);
    disk_await_begin(1);
    EXPECT(clock_monotonic_ms() - begun_ms < SYNC_LAG_MAX_S * 1000);
    uint64_t before_ms = clock_monotonic_ms() - begun_ms;
    store_stats(&store, &stats);
    EXPECT(stats.sync_lag_ms + 5 >= before_ms); /* the clock's steps are 4 ms */
    disk_shut(false);
    do {
        pause_ms(STEP_MS);
        store_stats(&store, &stats);
    } while (stats.sync_lag_ms > 0 && clock_monotonic_ms() - begun_ms < WAIT_MS);
    EXPECT(stats.sync_lag_ms == 0);
}

static void without_syncs_nothing_is_owed(void **state) {
    (void)state;
    begin(POOL_FSYNC_NO);
    struct pool_stats stats;
    EXPECT(write_once(0) == 0);
    pause_ms(20);
    store_stats(&store, &stats);
    EXPECT(stats.sync_lag_ms == 0);
}

static void with_everysec_no_more_than_two_seconds_are_at_stake(void **state) {
    (void)state;
    begin(POOL_FSYNC_EVERYSEC);
    disk_shut(true);
    uint64_t first_ms = clock_monotonic_ms();
    uint64_t last_ms = first_ms; /* when the last write was acknowledged */
    uint64_t now_ms = first_ms;
    uint64_t ticket;
    while ((ticket = write_once(0)) == 0) {
        last_ms = now_ms;
        EXPECT(last_ms - first_ms < WAIT_MS);
        pause_ms(STEP_MS);
        now_ms = clock_monotonic_ms();
    }
    EXPECT(last_ms - first_ms <= SYNC_LAG_MAX_S * 1000);
    EXPECT(last_ms - first_ms > 1000);
    EXPECT(disk_begun() == 1 && pool_check_ticket(store.pool, ticket) == STATUS_PENDING);
    expect_gone(&store, "k"); /* reads go on */
    disk_end_one();
    disk_await_begin(2);
    EXPECT(pool_check_ticket(store.pool, ticket) == STATUS_PENDING);
    disk_shut(false);
    await_ticket(ticket);
    EXPECT(write_once(0) == 0); /* it has caught up */
}

static void with_everysec_no_thread_writes_without_bound_between_two_syncs(void **state) {
    (void)state;
    begin(POOL_FSYNC_EVERYSEC);
    EXPECT(store.pool->sync.ahead_bytes >= 4 << 20);
    disk_shut(true);
    store.pool->sync.ahead_bytes = 10000;
    uint64_t ticket = 0;
    unsigned writes = 0;
    while ((ticket = write_once(0)) == 0) {
        EXPECT(++writes < 10000);
    }
    disk_await_begin(1); /* at once, and not after a second */
    disk_shut(false);
    await_ticket(ticket);
    EXPECT(write_once(0) == 0); /* now it may write as much again */
}

#define TEST(test) cmocka_unit_test_teardown(test, finish)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_write_waits_for_a_sync_that_began_after_it),
        TEST(one_sync_serves_all_that_wait_for_it),
        TEST(a_read_of_what_is_on_the_disk_waits_for_no_sync),
        TEST(a_reply_waits_if_it_rests_on_what_is_not_on_the_disk),
        TEST(a_reply_waits_if_it_rests_on_a_touch_that_is_not_on_the_disk),
        TEST(a_damaged_sequence_of_a_touch_makes_no_reply_wait),
        TEST(those_whom_a_sync_releases_share_the_next),
        TEST(with_everysec_replies_go_at_once_and_stats_tell_what_is_at_stake),
        TEST(without_syncs_nothing_is_owed),
        TEST(with_everysec_no_more_than_two_seconds_are_at_stake),
        TEST(with_everysec_no_thread_writes_without_bound_between_two_syncs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
