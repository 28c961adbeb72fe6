/* The daemon's folders: data_dir for the files of persistent pools, and run_dir for sockets and for
 * indexes, which can be rebuilt. Main thread only. */
#ifndef STAYD_STAYD_DIRECTORIES_H
#define STAYD_STAYD_DIRECTORIES_H

#include <limits.h>
#include <stdbool.h>

enum { DIRECTORIES_ERROR_MAX = PATH_MAX + 256 };

/* $STATE_DIRECTORY (of systemd), else $XDG_STATE_HOME/stayd, else ~/.local/state/stayd. Empty if
 * the user has no home folder. */
void directories_default_data(char path[PATH_MAX]);

/* $RUNTIME_DIRECTORY (of systemd), else $XDG_RUNTIME_DIR/stayd, else /tmp/stayd-UID. */
void directories_default_run(char path[PATH_MAX]);

/* Creates the folder, and missing folders above it, with mode 0700. A folder that exists must
 * belong to this user (or to root) and be writable: in /tmp anybody may have created it before.
 * False with a sentence in `error`; `key` is the folder's key in the configuration. */
bool directories_make(const char *path, const char *key, char error[DIRECTORIES_ERROR_MAX]);

#endif
