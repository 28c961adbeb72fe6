#include "stayd/watchdog.h"

#include "base/log.h"
#include "base/number.h"
#include "net/workers.h"
#include "stayd/notify.h"

#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

enum { SECOND_US = 1000000 };

void watchdog_start(void) {
    const char *interval = getenv("WATCHDOG_USEC");
    const char *process = getenv("WATCHDOG_PID");
    uint64_t interval_us;
    uint64_t number;
    if (interval == NULL) {
        return;
    }
    if (!number_parse_u64(bytes_from_string(interval), &interval_us) || interval_us < 2 ||
        (process != NULL && !number_parse_u64(bytes_from_string(process), &number))) {
        log_warning("cannot use systemd's watchdog: WATCHDOG_USEC=%.32s, WATCHDOG_PID=%.32s",
                    interval, process != NULL ? process : "");
        return;
    }
    if (process != NULL && number != (uint64_t)getpid()) {
        return;
    }
    const struct timeval half = {.tv_sec = (time_t)(interval_us / 2 / SECOND_US),
                                 .tv_usec = (suseconds_t)(interval_us / 2 % SECOND_US)};
    const struct itimerval timer = {.it_interval = half, .it_value = half};
    if (setitimer(ITIMER_REAL, &timer, NULL) != 0) {
        log_warning("cannot use systemd's watchdog: %m");
    }
}

void watchdog_check(struct workers *workers) {
    unsigned hung = workers_probe(workers);
    if (hung == 0) {
        notify_send("WATCHDOG=1");
    } else {
        log_error("worker thread %u does not answer; systemd ends the daemon unless the thread "
                  "answers in time (WatchdogSec= in the unit)",
                  hung);
    }
}
