#include "stayd/daemonize.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The parent waits until the child is ready or has ended, and then exits. */
static _Noreturn void daemonize_wait(int ready_fd, pid_t child) {
    char byte;
    ssize_t size;
    do {
        size = read(ready_fd, &byte, 1);
    } while (size < 0 && errno == EINTR);
    if (size == 1) {
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "stayd: the daemon was killed during startup: %s\n",
                strsignal(WTERMSIG(status)));
    }
    _exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1);
}

/* Replaces the standard streams from `first` to `last` by /dev/null. */
static bool daemonize_close_streams(int first, int last) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool well = null >= 0;
    for (int fd = first; fd <= last && well; fd++) {
        well = dup2(null, fd) >= 0;
    }
    if (null > STDERR_FILENO) {
        close(null);
    }
    return well;
}

bool daemonize_begin(struct daemonize *daemonize, bool keep_folder, bool keep_streams) {
    int ends[2];
    *daemonize = (struct daemonize){.keep_streams = keep_streams};
    fflush(NULL); /* otherwise the child would write the buffered output again */
    if (pipe2(ends, O_CLOEXEC) != 0) {
        log_error("cannot leave the terminal: %m");
        return false;
    }
    pid_t child = fork();
    if (child < 0) {
        log_error("cannot leave the terminal: %m");
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    if (child > 0) {
        close(ends[1]);
        daemonize_wait(ends[0], child);
    }
    close(ends[0]);
    daemonize->is_waited_for = true;
    daemonize->ready_fd = ends[1];
    if (setsid() < 0 || (!keep_folder && chdir("/") != 0) ||
        !daemonize_close_streams(STDIN_FILENO, STDIN_FILENO)) {
        log_error("cannot leave the terminal: %m");
        return false;
    }
    if (!keep_streams) {
        log_to_syslog("stayd");
    }
    return true;
}

void daemonize_ready(struct daemonize *daemonize) {
    if (!daemonize->is_waited_for) {
        return;
    }
    daemonize->is_waited_for = false;
    if (!daemonize->keep_streams) {
        log_leave_stderr();
        if (!daemonize_close_streams(STDOUT_FILENO, STDERR_FILENO)) {
            log_warning("cannot close the standard streams: %m");
        }
    }
    ssize_t ignored = write(daemonize->ready_fd, "",
                            1); /* fails only if the parent was killed: does not matter */
    (void)ignored;
    close(daemonize->ready_fd);
}
