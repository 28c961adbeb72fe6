/* Preloaded into the daemon (support/clock.py): its clocks are the system's plus the seconds in the
 * file STAYD_CLOCK. CLOCK_MONOTONIC is not changed, because timers use it. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct offsets {
    int64_t wall_s;
    int64_t boot_s;
};

static const volatile struct offsets *offsets;

/* Other libraries read the clock before a constructor of this library would run. */
static const volatile struct offsets *clock_offsets(void) {
    if (offsets == NULL) {
        const char *path = getenv("STAYD_CLOCK");
        int file = open(path != NULL ? path : "", O_RDONLY | O_CLOEXEC);
        void *mapped = mmap(NULL, sizeof *offsets, PROT_READ, MAP_SHARED, file, 0);
        if (file < 0 || mapped == MAP_FAILED) {
            abort();
        }
        close(file);
        offsets = mapped;
    }
    return offsets;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*system_clock_gettime)(clockid_t, struct timespec *);
    if (system_clock_gettime == NULL) {
        system_clock_gettime =
            (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    }
    int result = system_clock_gettime(which, now);
    if (result == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        now->tv_sec += clock_offsets()->wall_s;
    } else if (result == 0 && which == CLOCK_BOOTTIME) {
        now->tv_sec += clock_offsets()->boot_s;
    }
    return result;
}

time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (place != NULL) {
        *place = now.tv_sec;
    }
    return now.tv_sec;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = (suseconds_t)(precise.tv_nsec / 1000);
    return 0;
}

/* A time to wait until, by the wall clock, is one of the daemon's; the kernel has the system's.
 * Times of CLOCK_MONOTONIC, which is what conditions of stayd itself use, are smaller: libnats
 * waits by the wall clock. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                           const struct timespec *until) {
    static int (*system_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec system_until = *until;
    if (system_timedwait == NULL) {
        void *found = dlvsym(RTLD_NEXT, "pthread_cond_timedwait",
                             "GLIBC_2.3.2"); /* x86-64 has an older one too */
        found = found != NULL ? found : dlsym(RTLD_NEXT, "pthread_cond_timedwait");
        system_timedwait =
            (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))found;
    }
    if (until->tv_sec > 1000000000) {
        system_until.tv_sec -= clock_offsets()->wall_s;
    }
    return system_timedwait(condition, mutex, &system_until);
}
