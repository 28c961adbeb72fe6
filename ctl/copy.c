#include "copy.h"

#include "store/io.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Formats an error, and truncates a long one. Returns false. */
__attribute__((format(printf, 2, 3))) static bool copy_explain(char *error, const char *format,
                                                               ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, POOL_ERROR_MAX, format, arguments);
    va_end(arguments);
    return false;
}

static bool copy_fail(const struct copy *copy, const char *what, int error_number, char *error) {
    return copy_explain(error, "cannot %s %s: %s", what, copy->temporary, strerror(error_number));
}

bool copy_begin(struct copy *copy, const char *path, const struct inspect *source,
                char error[POOL_ERROR_MAX]) {
    off_t bytes = (off_t)inspect_about(source)->file_bytes;
    if (copy->file < 0) {
        copy->path = path;
        int length = snprintf(copy->temporary, sizeof copy->temporary, "%s.new-XXXXXX", path);
        if (length >= (int)sizeof copy->temporary) {
            return copy_explain(error, "the path %.100s... is too long", path);
        }
        /* Always a new file: other users may have access to an existing file, by a hard link, by
         * its mode, or by an open descriptor. */
        copy->file = mkostemp(copy->temporary, O_CLOEXEC);
        if (copy->file < 0) {
            return copy_fail(copy, "create", errno, error);
        }
        if (fchmod(copy->file, 0600) != 0 || flock(copy->file, LOCK_EX | LOCK_NB) != 0) {
            return copy_fail(copy, "prepare", errno, error);
        }
    }
    if (ftruncate(copy->file, 0) != 0) {
        return copy_fail(copy, "write", errno, error);
    }
    int failed = store_io_allocate(copy->file, 0, bytes);
    return failed == 0 || copy_fail(copy, "reserve disk space for", failed, error);
}

static bool copy_put(const struct copy *copy, const struct inspect_piece *piece) {
    size_t written = 0;
    while (written < piece->size) {
        ssize_t length = pwrite(copy->file, piece->data + written, piece->size - written,
                                (off_t)(piece->offset + written));
        if (length < 0 && errno != EINTR) {
            return false;
        }
        written += length > 0 ? (size_t)length : 0;
    }
    return true;
}

enum copy_end copy_write(struct copy *copy, struct inspect *source, uint64_t sequence,
                         const char *what, bool (*go_on)(void *context), void *context,
                         char error[POOL_ERROR_MAX]) {
    const struct inspect_about *about = inspect_about(source);
    enum copy_end end = COPY_DONE;
    struct progress progress;
    progress_begin(&progress, what, about->file_bytes);
    for (uint64_t number = 0; number <= about->segment_count && end == COPY_DONE; number++) {
        struct inspect_piece piece;
        if (!inspect_read(source, number, sequence, &piece, error)) {
            end = COPY_FAILED;
        } else if (!copy_put(copy, &piece)) {
            copy_fail(copy, "write", errno, error);
            end = COPY_FAILED;
        } else if (go_on != NULL && !go_on(context)) {
            end = COPY_STOPPED;
        }
        progress_show(&progress, number * about->segment_bytes);
    }
    progress_clear(&progress);
    return end;
}

/* Syncs the folder, so that the rename survives a crash. */
static bool copy_sync_folder(const char *path) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s", path);
    int folder = open(dirname(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        return false;
    }
    bool synced = fsync(folder) == 0;
    int error_number = errno;
    close(folder);
    errno = error_number;
    return synced;
}

bool copy_finish(struct copy *copy, char error[POOL_ERROR_MAX]) {
    if (fsync(copy->file) != 0) {
        return copy_fail(copy, "sync", errno, error);
    }
    unsigned flags = copy->first ? RENAME_NOREPLACE : 0;
    bool renamed = renameat2(AT_FDCWD, copy->temporary, AT_FDCWD, copy->path, flags) == 0;
    if (!renamed && errno == EINVAL &&
        copy->first) { /* the file system does not support RENAME_NOREPLACE */
        renamed = link(copy->temporary, copy->path) == 0 && unlink(copy->temporary) == 0;
    }
    if (!renamed) {
        return copy_explain(error, "cannot rename %s to %s: %s", copy->temporary, copy->path,
                            strerror(errno));
    }
    close(copy->file);
    copy->file = -1;
    return copy_sync_folder(copy->path) ||
           copy_explain(error, "cannot sync the folder of %s: %s", copy->path, strerror(errno));
}

void copy_abandon(struct copy *copy) {
    if (copy->file >= 0) {
        unlink(copy->temporary);
        close(copy->file);
        copy->file = -1;
    }
}
