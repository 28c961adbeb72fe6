/* The file with the daemon's process id, as service managers and scripts read it. It is locked as
 * long as the daemon lives: a file that is not locked is one that a crash left behind, whatever
 * process has that id by now, and is replaced. Main thread only. */
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

/* Takes the file, or makes it. False with a sentence in `error`: another daemon has it, it holds
 * something else than a process id, or the folder cannot be written to. */
bool pid_file_claim(struct pid_file *file, const char *path, char error[PID_FILE_ERROR_MAX]);

/* Writes this process's id; done once clients are served. */
bool pid_file_write(struct pid_file *file, char error[PID_FILE_ERROR_MAX]);

/* Removes it. Accepts a zeroed one, and one that could not be claimed. */
void pid_file_remove(struct pid_file *file);

#endif
