/* Where the daemon keeps its files: the data_dir (pools that outlive it) and the run_dir (sockets,
 * and what can be made anew). Main thread only. */
#ifndef STAYD_STAYD_DIRECTORIES_H
#define STAYD_STAYD_DIRECTORIES_H

#include <limits.h>
#include <stdbool.h>

enum { DIRECTORIES_ERROR_MAX = PATH_MAX + 256 };

/* $STATE_DIRECTORY (of systemd), else $XDG_STATE_HOME/stayd, else ~/.local/state/stayd. Empty if
 * there is not even a home. */
void directories_default_data(char path[PATH_MAX]);

/* $RUNTIME_DIRECTORY (of systemd), else $XDG_RUNTIME_DIR/stayd, else /tmp/stayd-UID. */
void directories_default_run(char path[PATH_MAX]);

/* Makes the folder, and those above it, with mode 0700, unless it is there; then it must belong to
 * this user (or to root) and be writable: in /tmp anybody may have made it first. False with a
 * sentence in `error`; `key` is its name in the configuration. */
bool directories_make(const char *path, const char *key, char error[DIRECTORIES_ERROR_MAX]);

#endif
