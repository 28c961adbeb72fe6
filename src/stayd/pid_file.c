#include "stayd/pid_file.h"

#include "base/log.h"
#include "base/number.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PID_TEXT_BYTES = 32 };

static bool pid_file_fail(const struct pid_file *file, const char *why, const char *advice,
                          char error[PID_FILE_ERROR_MAX]) {
    snprintf(error, PID_FILE_ERROR_MAX, "cannot use the pid file %.*s: %s%s", PATH_MAX, file->path,
             why, advice);
    return false;
}

static bool pid_file_fail_system(const struct pid_file *file, char error[PID_FILE_ERROR_MAX]) {
    const char *advice = "";
    switch (errno) {
    case EACCES:
    case EPERM:
    case EROFS:
        advice = "; choose a folder that the daemon's user may write to (with -u: that user)";
        break;
    case ENOENT:
        advice = "; make its folder first";
        break;
    case ELOOP:
        advice = "; remove the symbolic link in its place";
        break;
    }
    return pid_file_fail(file, strerror(errno), advice, error);
}

/* Reads the process id; 0 if the file is empty. False if the file contains anything else. */
static bool pid_file_read(const struct pid_file *file, uint64_t *process) {
    char text[PID_TEXT_BYTES];
    ssize_t size = pread(file->fd, text, sizeof text, 0);
    if (size > 0 && text[size - 1] == '\n') {
        size--;
    }
    *process = 0;
    return size == 0 || (size > 0 && size < (ssize_t)sizeof text &&
                         number_parse_u64((struct bytes){text, (size_t)size}, process));
}

/* memcached does not lock its pid file, so a running memcached is found by its process id. */
static bool process_is_memcached(uint64_t process) {
    char path[64];
    char name[32] = "";
    snprintf(path, sizeof path, "/proc/%llu/comm", (unsigned long long)process);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, name, sizeof name - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    return size > 0 && strcmp(name, "memcached\n") == 0;
}

/* Whether the path still names the open file: a daemon that ends removes its file. */
static bool pid_file_is_in_place(const struct pid_file *file) {
    struct stat opened;
    struct stat named;
    return fstat(file->fd, &opened) == 0 && lstat(file->path, &named) == 0 &&
           opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

static bool pid_file_take(struct pid_file *file, char error[PID_FILE_ERROR_MAX]) {
    struct stat status;
    uint64_t process = 0;
    if (fstat(file->fd, &status) != 0) {
        return pid_file_fail_system(file, error);
    }
    if (!S_ISREG(status.st_mode)) {
        return pid_file_fail(file, "it is not a regular file", "; choose another path", error);
    }
    bool locked = flock(file->fd, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno != EWOULDBLOCK) {
        return pid_file_fail_system(file, error);
    }
    bool understood = pid_file_read(file, &process);
    char why[128];
    if (!locked || (understood && process != 0 && process_is_memcached(process))) {
        snprintf(why, sizeof why, "%s, process %llu, is running and uses it",
                 locked ? "a memcached" : "another stayd", (unsigned long long)process);
        return pid_file_fail(file, why, "; stop that, or choose another path", error);
    }
    if (!understood) {
        return pid_file_fail(file, "it contains something other than a process id",
                             "; choose another path, or remove it", error);
    }
    return true;
}

bool pid_file_claim(struct pid_file *file, const char *path, char error[PID_FILE_ERROR_MAX]) {
    *file = (struct pid_file){.fd = -1};
    snprintf(file->path, sizeof file->path, "%s", path);
    for (;;) {
        file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
        if (file->fd < 0) {
            return pid_file_fail_system(file, error);
        }
        if (!pid_file_take(file, error)) {
            break;
        }
        if (pid_file_is_in_place(file)) {
            file->is_open = true;
            return true;
        }
        close(file->fd); /* the daemon that had it has just removed it: create a new file */
    }
    close(file->fd);
    return false;
}

bool pid_file_write(struct pid_file *file, char error[PID_FILE_ERROR_MAX]) {
    char text[PID_TEXT_BYTES];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(file->fd, 0) != 0 || pwrite(file->fd, text, (size_t)length, 0) != length) {
        return pid_file_fail_system(file, error);
    }
    return true;
}

void pid_file_remove(struct pid_file *file) {
    if (!file->is_open) {
        return;
    }
    /* Unlinked before the lock is released: a daemon that gets the lock then sees that the path no
     * longer names this file. */
    if (pid_file_is_in_place(file) && unlink(file->path) != 0) {
        log_warning("cannot remove the pid file %s: %m", file->path);
    }
    close(file->fd);
    file->is_open = false;
}
