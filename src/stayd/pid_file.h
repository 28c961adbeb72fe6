/* The file with the daemon's process id, for service managers and scripts. The daemon keeps the
 * file locked while it runs. A file that is not locked was left by a crash and is replaced, even if
 * another process has that id now. Main thread only. */
#ifndef STAYD_STAYD_PID_FILE_H
#define STAYD_STAYD_PID_FILE_H

#include <limits.h>
#include <stdbool.h>

enum { PID_FILE_ERROR_MAX = PATH_MAX + 256 };

struct pid_file {
    bool is_open;
    int fd;
    char path[PATH_MAX];
};

/* Opens or creates the file, and locks it. False with a sentence in `error`: another daemon has
 * locked it, it contains something other than a process id, or the folder is not writable. */
bool pid_file_claim(struct pid_file *file, const char *path, char error[PID_FILE_ERROR_MAX]);

/* Writes this process's id. Called when clients are served. */
bool pid_file_write(struct pid_file *file, char error[PID_FILE_ERROR_MAX]);

/* Removes the file. Accepts a zeroed struct, and one whose claim failed. */
void pid_file_remove(struct pid_file *file);

#endif
