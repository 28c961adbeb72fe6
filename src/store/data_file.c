#include "store/data_file.h"

#include "base/log.h"
#include "store/geometry.h"
#include "store/io.h"
#include "store/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void data_file_note_failed_sync(int file) {
    const uint32_t failed = 1;
    int ignored = store_io_write_all(file, &failed, sizeof failed,
                                     offsetof(struct layout_data_header, sync_failed));
    (void)ignored; /* ignore a failure: the caller of the sync reports the failed sync */
}

bool data_file_write_again(const struct mapping *mapping) {
    struct layout_data_header *header = (void *)mapping->base;
    if (header->sync_failed == 0) {
        return true;
    }
    log_warning("pool %s: an earlier sync of its file failed; writing the whole file again",
                header->name);
    if (store_io_write_all(mapping->file, mapping->base, mapping->size_bytes, 0) != 0) {
        return false;
    }
    header->sync_failed = 0;
    return true;
}

/* The least length of a file with this header and `count` segments. */
static uint64_t data_file_bytes(const struct layout_data_header *header, uint32_t count) {
    return LAYOUT_PAGE + (uint64_t)header->segment_bytes * count;
}

bool data_file_write_header(int file, struct layout_data_header *header, uint32_t count) {
    struct layout_data_header resized = *header;
    resized.segment_count = count;
    resized.header_crc = geometry_header_crc(&resized);
    return store_io_write_all(file, &resized, offsetof(struct layout_data_header, stop_id), 0) == 0;
}

void data_file_give_back(int file, const struct layout_data_header *header, uint32_t count) {
    struct stat status;
    off_t from = (off_t)data_file_bytes(header, count);
    if (fstat(file, &status) == 0 && status.st_size > from &&
        store_io_punch(file, from, status.st_size - from) != 0) {
        log_warning("pool %s: cannot give %llu bytes behind its last segment back to the file "
                    "system: %m",
                    header->name, (unsigned long long)(status.st_size - from));
    }
}

/* Turns a file of an earlier version into one of this version; updates `header`. */
static bool data_file_take_over(int file, struct layout_data_header *header, char *error) {
    uint32_t before = header->version;
    header->version = LAYOUT_VERSION;
    header->header_crc = geometry_header_crc(header);
    if (!data_file_write_header(file, header, header->segment_count) || store_io_sync(file) != 0) {
        snprintf(error, POOL_ERROR_MAX, "cannot write the header of pool %s: %m", header->name);
        data_file_note_failed_sync(file);
        return false;
    }
    log_info("pool %s: its file was converted from format version %u to version %d", header->name,
             before, LAYOUT_VERSION);
    return true;
}

/* Grows a file to `count` segments. The file is open and locked, and not mapped yet. Updates
 * `header` to the header in the file. If the disk is full, the file is not changed. */
static bool data_file_grow(int file, struct layout_data_header *header, uint32_t count,
                           char error[POOL_ERROR_MAX]) {
    uint64_t before = data_file_bytes(header, header->segment_count);
    uint64_t after = data_file_bytes(header, count);
    int failed = store_io_allocate(file, (off_t)before, (off_t)(after - before));
    if (failed != 0) {
        data_file_give_back(file, header, header->segment_count);
        snprintf(error, POOL_ERROR_MAX,
                 "cannot grow the file of pool %s from %llu to %llu bytes: %s. Free space on that "
                 "file system, or set the pool's memory to what it was",
                 header->name, (unsigned long long)before, (unsigned long long)after,
                 strerror(failed));
        return false;
    }
    /* The new segments must be on the disk before the header counts them. */
    if (store_io_sync(file) != 0 || !data_file_write_header(file, header, count) ||
        store_io_sync(file) != 0) {
        snprintf(error, POOL_ERROR_MAX, "cannot write the header of pool %s: %m", header->name);
        data_file_note_failed_sync(file);
        return false;
    }
    header->segment_count = count;
    log_info("pool %s: grown to %u segments of %u bytes", header->name, count,
             header->segment_bytes);
    return true;
}

/* Whether a file's header is valid, and the file belongs to this pool. */
static enum status data_file_check(struct mapping *mapping, const char *path,
                                   const struct layout_data_header *found, uint64_t file_bytes,
                                   char *error) {
    if (found->magic != LAYOUT_DATA_MAGIC) {
        mapping_explain(
            error,
            "%s is not a stayd pool file; it is left as it is. Move it away, or give the pool "
            "another name",
            path);
        return mapping_refuse(mapping);
    }
    if (found->version < LAYOUT_VERSION_FIRST || found->version > LAYOUT_VERSION) {
        mapping_explain(
            error,
            "%s has format version %u, this stayd reads versions %d to %d; it is left as it is. "
            "Run the stayd that wrote it, or move the file away to begin an empty pool",
            path, found->version, LAYOUT_VERSION_FIRST, LAYOUT_VERSION);
        return mapping_refuse(mapping);
    }
    if (found->header_crc != geometry_header_crc(found) || !geometry_is_valid(found)) {
        mapping_explain(
            error,
            "%s is damaged: its header does not match its checksum; it is left as it is. "
            "Restore a copy, or move the file away to begin an empty pool",
            path);
        return mapping_refuse(mapping);
    }
    uint64_t header_bytes = data_file_bytes(found, found->segment_count);
    if (file_bytes < header_bytes) {
        mapping_explain(
            error,
            "%s is damaged: it is %llu bytes long, its header says %llu; it is left as it is. "
            "Restore a copy, or move the file away to begin an empty pool",
            path, (unsigned long long)file_bytes, (unsigned long long)header_bytes);
        return mapping_refuse(mapping);
    }
    return STATUS_OK;
}

/* BUSY: another file has this path now. */
static enum status data_file_open_existing(struct mapping *mapping, const char *path,
                                           const struct pool_options *options, char *error) {
    if (flock(mapping->file, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            mapping_explain(
                error,
                "%s is in use by another stayd. Stop that stayd, or give this stayd another "
                "data_dir",
                path);
            return mapping_refuse(mapping);
        }
        return mapping_fail(mapping, error, "lock", path);
    }
    struct stat status;
    if (fstat(mapping->file, &status) != 0) {
        return mapping_fail(mapping, error, "examine", path);
    }
    if (!S_ISREG(status.st_mode)) {
        mapping_explain(error, "%s is not a regular file; it is left as it is", path);
        return mapping_refuse(mapping);
    }
    struct stat named;
    if (stat(path, &named) != 0 || named.st_dev != status.st_dev || named.st_ino != status.st_ino) {
        /* `stayctl restore` has put another file there between the open and the lock. */
        mapping_finish(mapping);
        return STATUS_BUSY;
    }
    struct layout_data_header found = {0};
    ssize_t length = pread(mapping->file, &found, sizeof found, 0);
    if (length < 0) {
        return mapping_fail(mapping, error, "read", path);
    }
    if (length < (ssize_t)sizeof found) {
        found.magic = 0; /* too short for a header: reported as not a pool file */
    }
    enum status checked = data_file_check(mapping, path, &found, (uint64_t)status.st_size, error);
    if (checked != STATUS_OK) {
        return checked;
    }
    uint32_t count;
    if (!geometry_segment_count(&found, options, &count, error) ||
        (found.version != LAYOUT_VERSION && !data_file_take_over(mapping->file, &found, error)) ||
        (count > found.segment_count && !data_file_grow(mapping->file, &found, count, error))) {
        return mapping_refuse(mapping);
    }
    data_file_give_back(mapping->file, &found, found.segment_count); /* after a crash */
    if (!mapping_map(mapping, data_file_bytes(&found, found.segment_count))) {
        return mapping_fail(mapping, error, "map", path);
    }
    mapping_advise(mapping);
    return STATUS_OK;
}

/* Syncs the folder of a file, so that the file's name is on the disk. */
static bool data_file_sync_folder(const char *folder) {
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    bool synced = fsync(file) == 0;
    close(file);
    return synced;
}

/* Whether the path still names the open file. */
static bool data_file_is_in_place(int file, const char *path) {
    struct stat opened;
    struct stat named;
    return fstat(file, &opened) == 0 && lstat(path, &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

/* Creates a file under the temporary name, and locks it. A file that has that name already was
 * left by a crash. It is removed and never written to, because it may have other names, other
 * readers or another mode. Returns -1 with errno; EWOULDBLOCK: another daemon is creating the file.
 */
static int data_file_create_temporary(const char *temporary) {
    for (;;) {
        int file = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        bool created = file >= 0;
        bool exists = !created && errno == EEXIST;
        if (exists) {
            file = open(temporary, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        }
        bool locked = file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0;
        bool in_place = locked && data_file_is_in_place(file, temporary);
        if (created && in_place && fchmod(file, 0600) == 0) {
            return file;
        }
        bool removed = in_place && !created && unlink(temporary) == 0;
        int error_number = errno;
        if (file >= 0) {
            close(file);
        }
        /* Another daemon may have just removed the file. */
        bool vanished = (locked && !in_place) || (exists && file < 0 && error_number == ENOENT);
        bool again = removed || vanished;
        if (!again) {
            errno = error_number;
            return -1;
        }
    }
}

/* Creates the file under a temporary name. When the file is whole, links it to its final name. */
static enum status data_file_create(struct mapping *mapping, const char *path,
                                    const struct pool_options *options,
                                    const struct layout_data_header *wanted, char *error) {
    char temporary[PATH_MAX];
    paths_temporary(path, temporary);
    mapping->file = data_file_create_temporary(temporary);
    if (mapping->file < 0 && errno == EWOULDBLOCK) {
        mapping_explain(error, "%s is being created by another stayd", path);
        return mapping_refuse(mapping);
    }
    if (mapping->file < 0) {
        return mapping_fail(mapping, error, "create", temporary);
    }
    uint64_t size = data_file_bytes(wanted, wanted->segment_count);
    int failed = store_io_allocate(mapping->file, 0, (off_t)size);
    if (failed != 0) {
        bool is_full = failed == ENOSPC || failed == EDQUOT;
        mapping_explain(error, "cannot reserve %llu bytes for %s: %s%s", (unsigned long long)size,
                        path, strerror(failed),
                        is_full ? ". Free space on that file system, or lower the pool's memory"
                                : mapping_advice(failed));
        unlink(temporary);
        mapping_finish(mapping);
        return STATUS_IO;
    }
    if (store_io_write_all(mapping->file, wanted, sizeof *wanted, 0) != 0 ||
        store_io_sync(mapping->file) != 0 || link(temporary, path) != 0) {
        enum status status = mapping_fail(mapping, error, "write", path);
        unlink(temporary);
        return status;
    }
    unlink(temporary);
    if (!data_file_sync_folder(options->data_dir) || !mapping_map(mapping, size)) {
        return mapping_fail(mapping, error, "map", path);
    }
    mapping_advise(mapping);
    return STATUS_OK;
}

enum status data_file_open(struct mapping *mapping, const struct pool_options *options,
                           const struct layout_data_header *wanted, bool *created,
                           char error[POOL_ERROR_MAX]) {
    char path[PATH_MAX];
    if (!paths_data(options, path)) {
        mapping_explain(error, "the path of data_dir is too long");
        return STATUS_INVALID;
    }
    *created = false;
    enum status status = STATUS_BUSY;
    while (status == STATUS_BUSY) {
        *mapping = MAPPING_NONE;
        mapping->file = open(path, O_RDWR | O_CLOEXEC);
        if (mapping->file < 0) {
            break;
        }
        status = data_file_open_existing(mapping, path, options, error);
    }
    if (status != STATUS_BUSY) {
        return status;
    }
    if (errno != ENOENT) {
        return mapping_fail(mapping, error, "open", path);
    }
    *created = true;
    return data_file_create(mapping, path, options, wanted, error);
}
