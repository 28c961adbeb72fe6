/* Signals that interrupt system calls, for tests of waits. */
#ifndef STAYD_TESTS_ALARMS_H
#define STAYD_TESTS_ALARMS_H

#include <signal.h>
#include <sys/time.h>

static inline void ignore_signal(int number) {
    (void)number;
}

/* From now on a signal comes every so many milliseconds, and interrupts every system call. 0: no
 * more signals. */
static inline void signal_every_ms(unsigned ms) {
    const struct sigaction action = {.sa_handler = ignore_signal}; /* no SA_RESTART */
    const struct timeval time = {.tv_usec = ms * 1000};
    const struct itimerval timer = {.it_interval = time, .it_value = time};
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

#endif
