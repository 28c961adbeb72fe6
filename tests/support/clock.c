/* Preloaded into the daemon: at each moment the wall clock is off by as many seconds as the 8 bytes
 * of the file STAYD_CLOCK say. Clocks that nobody sets are left alone. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_s;

/* Other libraries ask for the time before a constructor of this one would run. */
static int64_t clock_offset_s(void) {
    if (offset_s == NULL) {
        const char *path = getenv("STAYD_CLOCK");
        int file = open(path != NULL ? path : "", O_RDONLY | O_CLOEXEC);
        void *mapped = mmap(NULL, sizeof *offset_s, PROT_READ, MAP_SHARED, file, 0);
        if (file < 0 || mapped == MAP_FAILED) {
            abort();
        }
        close(file);
        offset_s = mapped;
    }
    return *offset_s;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*system_clock_gettime)(clockid_t, struct timespec *);
    if (system_clock_gettime == NULL) {
        system_clock_gettime =
            (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    }
    int result = system_clock_gettime(which, now);
    if (result == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        now->tv_sec += clock_offset_s();
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
