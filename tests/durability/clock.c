/* Preloaded into the daemon by test_clock.py: its clocks are the system's and so many seconds, as
 * the file STAYD_CLOCK says at each moment. CLOCK_MONOTONIC stays real: timers go by it. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const struct {
    int64_t wall_s;
    int64_t boot_s;
} * ahead;

__attribute__((constructor)) static void clock_begin(void) {
    int file = open(getenv("STAYD_CLOCK"), O_RDONLY | O_CLOEXEC);
    ahead = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || ahead == MAP_FAILED) {
        abort();
    }
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (ahead == NULL) {
        return result; /* another library asks before clock_begin */
    }
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        now->tv_sec += ahead->wall_s;
    } else if (clock == CLOCK_BOOTTIME) {
        now->tv_sec += ahead->boot_s;
    }
    return result;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result != NULL) {
        *result = now.tv_sec;
    }
    return now.tv_sec;
}
