/* Leaves the terminal, for -d. The command that started the daemon returns when clients are served.
 * If the daemon cannot start, the command prints the reason to stderr and exits with a status other
 * than 0:
 *
 *     parent: fork -> wait ..................... -> exit 0, or with the child's status
 *     child:  setsid, chdir / -> start the daemon -> daemonize_ready -> serve
 *
 * Main thread only. */
#ifndef STAYD_STAYD_DAEMONIZE_H
#define STAYD_STAYD_DAEMONIZE_H

#include <stdbool.h>

struct daemonize {
    bool is_waited_for; /* the parent waits for daemonize_ready */
    bool keep_streams;
    int ready_fd;
};

/* Forks. Returns in the child; the parent waits for the child and exits. `keep_folder`: stays in
 * the working folder, where core files are written. `keep_streams`: continues to log to stderr.
 * Called before other threads start. False after a failure; the reason was logged. */
bool daemonize_begin(struct daemonize *daemonize, bool keep_folder, bool keep_streams);

/* Called when clients are served: ends the parent and closes the standard streams. Accepts a zeroed
 * struct. */
void daemonize_ready(struct daemonize *daemonize);

#endif
