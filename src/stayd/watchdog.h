/* systemd's watchdog (WatchdogSec= in the unit, sd_watchdog_enabled(3)): while all is well the
 * daemon reports that in each interval; if a report is missing, systemd restarts the daemon.
 *
 * All is well if the main thread runs and each worker has answered since the last time, or waits
 * for the disk. A worker that waits for the disk cannot be helped by a restart, which would wait
 * for the same disk and would end the reads that the other workers and the mapped readers still
 * serve. For the same reason nobody asks the threads that write to the disk. Main thread only. */
#ifndef STAYD_STAYD_WATCHDOG_H
#define STAYD_STAYD_WATCHDOG_H

struct workers;

/* If systemd has enabled the watchdog for this process, has SIGALRM sent to the process, twice in
 * each of its intervals. The signal is blocked, and read from a signalfd. */
void watchdog_start(void);

/* On SIGALRM: tells systemd that all is well, or logs that it is not. */
void watchdog_check(struct workers *workers);

#endif
