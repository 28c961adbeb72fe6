/* Leaving the terminal, as -d asks for. Who started the daemon gets its prompt back when clients
 * are served, and an exit status that is not 0, with the reason on the standard error, if they
 * cannot be:
 *
 *     parent: fork -> wait ..................... -> exit 0, or as the child ended
 *     child:  setsid, chdir / -> start the daemon -> daemonize_ready -> serve
 *
 * Main thread only. */
#ifndef STAYD_STAYD_DAEMONIZE_H
#define STAYD_STAYD_DAEMONIZE_H

#include <stdbool.h>

struct daemonize {
    bool is_waited_for; /* the parent is there */
    bool keep_streams;
    int ready_fd;
};

/* Returns in the child. The parent ends here, as the child does at its start. `keep_folder`: stay
 * in the working folder, where core files go; `keep_streams`: log to the standard error still.
 * Before there are other threads. False if there can be no child: the reason was logged. */
bool daemonize_begin(struct daemonize *daemonize, bool keep_folder, bool keep_streams);

/* Clients are served: lets the parent go, and the standard streams. Accepts a zeroed one. */
void daemonize_ready(struct daemonize *daemonize);

#endif
