/* systemd's watchdog (WatchdogSec= in the unit, sd_watchdog_enabled(3)): in each interval the
 * daemon reports that all is well; if a report is missing, systemd restarts the daemon.
 *
 * All is well if the main thread runs, and each worker has answered since the last check or waits
 * for the disk. A restart does not help a worker that waits for the disk: the new daemon would wait
 * for the same disk, and the other workers and the mapped readers would have to stop, although they
 * still serve reads. For the same reason the threads that write to the disk are not checked. Main
 * thread only. */
#ifndef STAYD_STAYD_WATCHDOG_H
#define STAYD_STAYD_WATCHDOG_H

struct workers;

/* If systemd has enabled the watchdog for this process, sets a timer that sends SIGALRM to the
 * process twice in each interval. The signal is blocked, and read from a signalfd. */
void watchdog_start(void);

/* On SIGALRM: tells systemd that all is well, or logs that it is not. */
void watchdog_check(struct workers *workers);

#endif
