#include "environment.h"

#include "base/clock.h"

#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    ENVIRONMENT_LONG_S = 7 * 86400, /* the time that a stopped timer has left */
    ENVIRONMENT_UP_S = 100 * 86400, /* the system's uptime when a test begins */
};

static _Atomic uint32_t unix_s = ENVIRONMENT_START_S;
static _Atomic bool timers_run = true;
static _Atomic uint64_t randomness;

/* Deadlines are computed from this clock. With the clock ahead, they are far off. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        *now = (struct timespec){.tv_sec = atomic_load(&unix_s)};
        return 0;
    }
    if (clock == CLOCK_BOOTTIME) {
        *now = (struct timespec){.tv_sec = ENVIRONMENT_UP_S + (int64_t)atomic_load(&unix_s) -
                                           (int64_t)ENVIRONMENT_START_S};
        return 0;
    }
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && !atomic_load(&timers_run)) {
        now->tv_sec += ENVIRONMENT_LONG_S;
    }
    return result;
}

ssize_t getrandom(void *buffer, size_t size, unsigned flags) {
    (void)flags;
    char *to = buffer;
    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t state = atomic_fetch_add(&randomness, UINT64_C(0x9e3779b97f4a7c15));
        uint64_t word = random_next(&state);
        memcpy(to + at, &word, size - at < sizeof word ? size - at : sizeof word);
    }
    return (ssize_t)size;
}

void environment_begin(uint64_t seed) {
    atomic_store(&unix_s, ENVIRONMENT_START_S);
    atomic_store(&timers_run, false);
    atomic_store(&randomness, random_next(&seed));
}

uint32_t environment_now_s(void) {
    return atomic_load(&unix_s);
}

void environment_set_s(uint32_t now_s) {
    atomic_store(&unix_s, now_s);
}

void environment_let_timers_run(bool run) {
    atomic_store(&timers_run, run);
}

void environment_make_folder(char folder[ENVIRONMENT_FOLDER_MAX]) {
    const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, ENVIRONMENT_FOLDER_MAX, "%s/stayd-unit-XXXXXX", root);
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        abort();
    }
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

void environment_remove_folder(const char *folder) {
    nftw(folder, remove_entry, 4, FTW_DEPTH | FTW_PHYS);
}

static double soak_s(void) {
    const char *text = getenv("STAYD_SOAK_SECONDS");
    return text != NULL ? atof(text) : 0;
}

uint64_t environment_test_ms(uint64_t short_ms, unsigned tests) {
    uint64_t share_ms = (uint64_t)(soak_s() * 1000 / tests);
    return share_ms > short_ms ? share_ms : short_ms;
}

uint64_t environment_first_seed(bool *only) {
    const char *text = getenv("STAYD_SEED");
    *only = text != NULL;
    if (text != NULL) {
        return strtoull(text, NULL, 0);
    }
    return soak_s() > 0 ? clock_monotonic_ns() % UINT64_C(1000000000000) : 1;
}
