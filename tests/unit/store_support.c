#include "store_support.h"

#include "store/pool_private.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* CLOCK_BOOTTIME is the wall clock plus this difference, which changes only when the wall clock is
 * set. */
#define BOOT_S (INT64_C(1000) - (int64_t)CLOCK_START_S)

static pid_t parent; /* the process that cmocka runs in */

/* Shared by the parent and its children, so that all of them have the same time. */
static struct {
    _Atomic uint32_t now_s;
    _Atomic int64_t stepped_s;
    _Atomic int die_at_sync;
    _Atomic bool fail_syncs;
    _Atomic bool fail_allocations;
    _Atomic unsigned syncs;
    _Atomic unsigned allocations;
} * world;

__attribute__((constructor)) static void world_begin(void) {
    parent = getpid();
    world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world == MAP_FAILED) {
        abort();
    }
    world->now_s = CLOCK_START_S;
}

void expect(bool holds, const char *what, const char *file, int line) {
    if (holds) {
        return;
    }
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    if (getpid() == parent && gettid() == parent) {
        _fail(file, line);
    }
    _exit(1);
}

#if defined(__has_feature) /* clang's form of what gcc says with a macro */
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#elif __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

unsigned scaled(unsigned count) {
#if defined(__SANITIZE_THREAD__)
    return count / 8;
#elif defined(__SANITIZE_ADDRESS__)
    return count / 3;
#else
    return count;
#endif
}

/* ---- the clock; these three functions replace those of the C library ---- */

int clock_gettime(clockid_t clock, struct timespec *now) {
    if ((clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) && world != NULL) {
        *now = (struct timespec){.tv_sec = world->now_s};
        return 0;
    }
    if (clock == CLOCK_BOOTTIME && world != NULL) {
        *now = (struct timespec){.tv_sec = BOOT_S + world->now_s - world->stepped_s};
        return 0;
    }
    return (int)syscall(SYS_clock_gettime, clock, now);
}

int fdatasync(int file) {
    world->syncs++;
    if (world->die_at_sync > 0 && --world->die_at_sync == 0) {
        raise(SIGKILL);
    }
    if (world->fail_syncs) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, file);
}

int posix_fallocate(int file, off_t offset, off_t size) {
    world->allocations++;
    if (world->fail_allocations) {
        return ENOSPC;
    }
    return syscall(SYS_fallocate, file, 0, offset, size) == 0 ? 0 : errno;
}

uint32_t clock_now_s(void) {
    return world->now_s;
}

void clock_set_s(uint32_t now_s) {
    world->now_s = now_s;
}

void clock_advance_s(uint32_t by_s) {
    world->now_s += by_s;
}

void clock_step_s(int64_t by_s) {
    world->now_s = (uint32_t)(world->now_s + by_s);
    world->stepped_s += by_s;
}

void fault_none(void) {
    world->die_at_sync = 0;
    world->fail_syncs = false;
    world->fail_allocations = false;
}

void fault_die_at_sync(int number) {
    world->die_at_sync = number;
}

void fault_fail_syncs(bool fail) {
    world->fail_syncs = fail;
}

void fault_fail_allocations(bool fail) {
    world->fail_allocations = fail;
}

unsigned fault_syncs(void) {
    return world->syncs;
}

unsigned fault_allocations(void) {
    return world->allocations;
}

/* ---- the pool ---- */

struct pool_options store_options(unsigned segments) {
    return (struct pool_options){
        .name = "test",
        .memory_bytes = (uint64_t)segments * STORE_SEGMENT,
        .item_max_bytes = 16 << 10,
        .fsync = POOL_FSYNC_NO,
    };
}

void store_begin_threads(struct store *store, struct pool_options options, unsigned threads) {
    *store = (struct store){.options = options};
    world->stepped_s = 0;
    clock_set_s(CLOCK_START_S);
    fault_none();
    /* Uses /dev/shm if possible, because the speed of the disk does not matter to these tests. */
    const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(store->folder, sizeof store->folder, "%s/stayd-unit-XXXXXX", root);
    EXPECT(mkdtemp(store->folder) != NULL);
    snprintf(store->data_path, sizeof store->data_path, "%s/%s.pool", store->folder, options.name);
    snprintf(store->index_path, sizeof store->index_path, "%s/%s.index", store->folder,
             options.name);
    store->options.data_dir = store->folder;
    store->options.run_dir = store->folder;
    store->grace = grace_create(threads);
    EXPECT(store->grace != NULL);
    store_thread_init(&store->thread, store->grace, 0);
    store_open(store);
}

void store_begin(struct store *store, struct pool_options options) {
    store_begin_threads(store, options, 1);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

void store_begin_persistent(struct store *store, unsigned segments) {
    struct pool_options options = store_options(segments);
    options.persist = true;
    store_begin(store, options);
}

void store_end(struct store *store) {
    if (store->pool != NULL) {
        store_close(store);
    }
    grace_destroy(store->grace);
    nftw(store->folder, remove_entry, 4, FTW_DEPTH | FTW_PHYS);
    fault_none();
}

int store_setup(void **bed) {
    const struct store_bed *of = *bed;
    struct pool_options options = store_options(of->segments);
    options.evict = of->evict;
    options.persist = of->persist;
    store_begin(of->store, options);
    return 0;
}

int store_teardown(void **bed) {
    const struct store_bed *of = *bed;
    store_end(of->store);
    return 0;
}

void store_open(struct store *store) {
    char error[POOL_ERROR_MAX] = "";
    store->pool = pool_open(&store->options, store->grace, error);
    if (store->pool == NULL) {
        fprintf(stderr, "pool_open: %s\n", error);
    }
    EXPECT(store->pool != NULL);
    store_thread_refresh(&store->thread);
}

void store_close(struct store *store) {
    store_thread_leave(&store->thread);
    pool_close(store->pool);
    store->pool = NULL;
}

void store_reopen(struct store *store) {
    store_close(store);
    store_open(store);
}

const char *store_open_error(struct store *store) {
    static char error[POOL_ERROR_MAX];
    memset(error, 0, sizeof error);
    EXPECT(pool_open(&store->options, store->grace, error) == NULL);
    EXPECT(error[0] != '\0');
    return error;
}

void store_crash(struct store *store, store_work work, void *argument) {
    if (store->pool != NULL) {
        store_close(store);
    }
    fflush(NULL);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        store_open(store);
        work(store, argument);
        raise(SIGKILL);
    }
    int status;
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

void store_survive(struct store *store, store_work work, void *argument) {
    store_crash(store, work, argument);
    fault_none();
    store_open(store);
}

void store_run_janitor(struct store *store, unsigned passes) {
    struct room *room = &store->pool->room;
    store_thread_leave(&store->thread);
    pthread_mutex_lock(&room->lock);
    for (unsigned pass = 0; pass < passes; pass++) {
        uint64_t awaited = room->begun + 1;
        while (room->ended < awaited) {
            atomic_store(&room->wanted, true);
            pthread_cond_signal(&room->wake);
            pthread_cond_wait(&room->done, &room->lock);
        }
    }
    pthread_mutex_unlock(&room->lock);
    store_thread_refresh(&store->thread);
}

/* ---- items ---- */

enum status store_set(struct store *store, const char *key, const char *value, uint32_t expiry_s) {
    store_thread_refresh(&store->thread);
    return pool_store(store->pool, &store->thread, bytes_from_string(key),
                      &(struct pool_store){.value = bytes_from_string(value), .expiry_s = expiry_s},
                      NULL);
}

enum status store_delete(struct store *store, const char *key) {
    store_thread_refresh(&store->thread);
    return pool_delete(store->pool, &store->thread, bytes_from_string(key), NULL);
}

enum status store_touch(struct store *store, const char *key, uint32_t expiry_s) {
    struct pool_fetched fetched;
    store_thread_refresh(&store->thread);
    return pool_fetch(store->pool, &store->thread, bytes_from_string(key),
                      &(struct pool_fetch){.touch = true, .touch_expiry_s = expiry_s}, &fetched);
}

enum status store_get(struct store *store, const char *key, struct item *item) {
    store_thread_refresh(&store->thread);
    return pool_get(store->pool, &store->thread, bytes_from_string(key), item);
}

uint64_t store_cas(struct store *store, const char *key) {
    struct item item;
    EXPECT(store_get(store, key, &item) == STATUS_OK);
    return item.cas;
}

void expect_there_at(struct store *store, const char *key, const char *value, const char *file,
                     int line) {
    struct item item;
    char what[160];
    enum status status = store_get(store, key, &item);
    snprintf(what, sizeof what, "%.40s is there", key);
    expect(status == STATUS_OK, what, file, line);
    snprintf(what, sizeof what, "%.40s is \"%.40s\", not \"%.*s\"", key, value,
             (int)(item.value.size < 40 ? item.value.size : 40), item.value.data);
    expect(bytes_equal(item.value, bytes_from_string(value)), what, file, line);
    expect(bytes_equal(item.key, bytes_from_string(key)), "the item has this key", file, line);
}

void expect_gone_at(struct store *store, const char *key, const char *file, int line) {
    struct item item;
    char what[80];
    snprintf(what, sizeof what, "%.40s is gone", key);
    expect(store_get(store, key, &item) == STATUS_NOT_FOUND, what, file, line);
}

size_t number_key(char text[POOL_KEY_MAX], unsigned number) {
    return (size_t)snprintf(text, POOL_KEY_MAX, "key-%u", number);
}

void number_value(char *value, size_t size, unsigned number, unsigned version) {
    uint64_t state = (uint64_t)number << 32 | version;
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t word = random_next(&state);
        memcpy(value + i, &word, size - i < sizeof word ? size - i : sizeof word);
    }
}

enum status store_set_number(struct store *store, unsigned number, unsigned version, size_t size,
                             uint32_t expiry_s) {
    static _Thread_local char value[STORE_VALUE_MAX];
    char key[POOL_KEY_MAX];
    number_value(value, size, number, version);
    store_thread_refresh(&store->thread);
    return pool_store(store->pool, &store->thread, bytes_from(key, number_key(key, number)),
                      &(struct pool_store){.value = bytes_from(value, size), .expiry_s = expiry_s},
                      NULL);
}

enum status store_delete_number(struct store *store, unsigned number) {
    char key[POOL_KEY_MAX];
    store_thread_refresh(&store->thread);
    return pool_delete(store->pool, &store->thread, bytes_from(key, number_key(key, number)), NULL);
}

bool store_has_number(struct store *store, unsigned number, unsigned version, size_t size) {
    static _Thread_local char value[STORE_VALUE_MAX];
    char key[POOL_KEY_MAX];
    struct item item;
    number_value(value, size, number, version);
    store_thread_refresh(&store->thread);
    return pool_get(store->pool, &store->thread, bytes_from(key, number_key(key, number)), &item) ==
               STATUS_OK &&
           bytes_equal(item.value, bytes_from(value, size));
}

unsigned store_fill(struct store *store, unsigned number, size_t size, uint32_t expiry_s) {
    enum status status;
    while ((status = store_set_number(store, number, 0, size, expiry_s)) == STATUS_OK) {
        number++;
        EXPECT(number < 1000000);
    }
    EXPECT(status == STATUS_NO_MEMORY);
    return number;
}

void store_stats(struct store *store, struct pool_stats *stats) {
    pool_get_stats(store->pool, stats);
}

struct pool_stats store_stats_now(struct store *store) {
    struct pool_stats stats;
    store_stats(store, &stats);
    return stats;
}

uint64_t store_tombstone_bytes(struct store *store) {
    uint64_t bytes = 0;
    for (uint32_t segment = 0; segment < store->pool->view.segment_count; segment++) {
        struct layout_segment *info = &store->pool->view.segments[segment];
        if (atomic_load(&info->state) != LAYOUT_SEGMENT_FREE) {
            bytes += atomic_load(&info->tombstone_bytes);
        }
    }
    return bytes;
}
