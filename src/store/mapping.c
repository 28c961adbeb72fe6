#include "store/mapping.h"

#include "base/hash.h"
#include "base/log.h"
#include "store/io.h"
#include "store/resize.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void mapping_finish(struct mapping *mapping) {
    if (mapping->base != NULL) {
        munmap(mapping->base, mapping->size_bytes);
    }
    if (mapping->file >= 0) {
        close(mapping->file);
    }
    *mapping = MAPPING_NONE;
}

/* A path that is longer than the message may be is cut off at its end. */
__attribute__((format(printf, 2, 3))) static void mapping_explain(char *error, const char *format,
                                                                  ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, POOL_ERROR_MAX, format, arguments);
    va_end(arguments);
}

/* Maps mapping->file, shared. */
static bool mapping_map(struct mapping *mapping, uint64_t size_bytes) {
    void *base = store_io->map(size_bytes, mapping->file);
    if (base == MAP_FAILED) {
        return false;
    }
    mapping->base = base;
    mapping->size_bytes = size_bytes;
    return true;
}

/* Items are read here and there, so nothing beside them is to be read ahead. What is more, what is
 * read ahead comes in large folios, and a store into one makes all of it dirty: with each sync up
 * to a whole segment would be written again for a record that was added, or a header cleared. */
static void mapping_advise(const struct mapping *mapping) {
    madvise(mapping->base, mapping->size_bytes, MADV_RANDOM);
}

/* What to do about a failed call, for a person. */
static const char *mapping_advice(int error_number) {
    switch (error_number) {
    case EACCES:
    case EPERM:
    case EROFS:
        return ". Let the user that stayd runs as write there, or choose another folder";
    case EFBIG:
        return ". Raise the limit of a file's size (LimitFSIZE= in the systemd unit, or ulimit -f)";
    case ENOMEM:
        return ". Lower the pool's memory, or raise the limit of this process's";
    case EMFILE:
    case ENFILE:
        return ". Raise the limit of open files (LimitNOFILE= in the systemd unit, or ulimit -n)";
    default:
        return "";
    }
}

static enum status mapping_fail(struct mapping *mapping, char *error, const char *what,
                                const char *path) {
    int error_number = errno;
    mapping_explain(error, "cannot %s %s: %s%s", what, path, strerror(error_number),
                    mapping_advice(error_number));
    mapping_finish(mapping);
    return STATUS_IO;
}

enum status mapping_create_memory(struct mapping *mapping, const char *name, uint64_t size_bytes,
                                  char error[POOL_ERROR_MAX]) {
    *mapping = MAPPING_NONE;
    mapping->file = memfd_create(name, MFD_CLOEXEC);
    if (mapping->file < 0 || ftruncate(mapping->file, (off_t)size_bytes) != 0 ||
        !mapping_map(mapping, size_bytes)) {
        return mapping_fail(mapping, error, "get memory for", name);
    }
    return STATUS_OK;
}

void mapping_return_memory(const struct mapping *mapping, uint64_t offset, uint64_t size_bytes) {
    if (fallocate(mapping->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  (off_t)size_bytes) != 0) {
        log_warning("cannot give memory back to the system: %m");
    }
}

uint32_t mapping_header_crc(const struct layout_data_header *header) {
    return hash_crc32c(0, header, offsetof(struct layout_data_header, header_crc));
}

static enum status mapping_refuse(struct mapping *mapping) {
    mapping_finish(mapping);
    return STATUS_INVALID;
}

bool mapping_geometry_valid(const struct layout_data_header *header) {
    return header->segment_bytes >= LAYOUT_PAGE && header->segment_bytes % LAYOUT_PAGE == 0 &&
           header->segment_bytes <= 2 * (uint64_t)POOL_ITEM_MAX_LIMIT &&
           header->segment_count > 0 && header->offset_bits < LAYOUT_LOCATION_BITS &&
           (UINT64_C(1) << header->offset_bits) * LAYOUT_ALIGN >= header->segment_bytes &&
           header->segment_count <= UINT64_C(1) << (LAYOUT_LOCATION_BITS - header->offset_bits);
}

/* Whether a file's header is one that this program wrote, and means the pool that is wanted. */
static enum status mapping_check_data(struct mapping *mapping, const char *path,
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
    if (found->version != LAYOUT_VERSION) {
        mapping_explain(
            error,
            "%s has format version %u, this stayd reads version %d; it is left as it is. Run "
            "the stayd that wrote it, or move the file away to begin an empty pool",
            path, found->version, LAYOUT_VERSION);
        return mapping_refuse(mapping);
    }
    if (found->header_crc != mapping_header_crc(found) || !mapping_geometry_valid(found)) {
        mapping_explain(
            error,
            "%s is damaged: its header does not match its checksum; it is left as it is. "
            "Restore a copy, or move the file away to begin an empty pool",
            path);
        return mapping_refuse(mapping);
    }
    uint64_t header_bytes =
        LAYOUT_PAGE + (uint64_t)found->segment_count * (uint64_t)found->segment_bytes;
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

/* NOT_FOUND: another file has the path by now. */
static enum status mapping_open_existing(struct mapping *mapping, const char *path,
                                         const struct pool_options *options, char *error) {
    if (flock(mapping->file, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            mapping_explain(
                error,
                "%s is in use by another stayd. Stop that one, or give this one another "
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
        return STATUS_NOT_FOUND;
    }
    struct layout_data_header found = {0};
    ssize_t length = pread(mapping->file, &found, sizeof found, 0);
    if (length < 0) {
        return mapping_fail(mapping, error, "read", path);
    }
    if (length < (ssize_t)sizeof found) {
        found.magic = 0; /* too short to be one: says so */
    }
    enum status checked =
        mapping_check_data(mapping, path, &found, (uint64_t)status.st_size, error);
    if (checked != STATUS_OK) {
        return checked;
    }
    uint32_t count;
    if (!resize_plan(&found, options, &count, error) ||
        (count > found.segment_count && !resize_grow(mapping->file, &found, count, error))) {
        return mapping_refuse(mapping);
    }
    if (!mapping_map(mapping, LAYOUT_PAGE + (uint64_t)found.segment_count * found.segment_bytes)) {
        return mapping_fail(mapping, error, "map", path);
    }
    mapping_advise(mapping);
    return STATUS_OK;
}

/* Syncs the folder that a file is in, so that its name lasts. */
static bool mapping_sync_folder(const char *folder) {
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    bool synced = fsync(file) == 0;
    close(file);
    return synced;
}

/* Whether the open file is still what the path leads to. */
static bool mapping_is_in_place(int file, const char *path) {
    struct stat opened;
    struct stat named;
    return fstat(file, &opened) == 0 && lstat(path, &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

/* Makes a new file under its temporary name, and locks it. What has that name already is a rest
 * that a crash left: it goes, and nothing is written to it, because it may have other names, other
 * readers or another mode. Returns -1 with errno; EWOULDBLOCK: another daemon is making it. */
static int mapping_create_passing(const char *passing) {
    for (;;) {
        int file = open(passing, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        bool created = file >= 0;
        if (!created && errno == EEXIST) {
            file = open(passing, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        }
        bool locked = file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0;
        bool in_place = locked && mapping_is_in_place(file, passing);
        if (created && in_place && fchmod(file, 0600) == 0) {
            return file;
        }
        bool removed = in_place && !created && unlink(passing) == 0;
        int error_number = errno;
        if (file >= 0) {
            close(file);
        }
        /* Locked and not in place: another daemon has just removed it. */
        bool again = removed || (locked && !in_place) || (file < 0 && error_number == ENOENT);
        if (!again) {
            errno = error_number;
            return -1;
        }
    }
}

/* Makes the file under a temporary name and links it to its own only when it is whole. */
static enum status mapping_create_data(struct mapping *mapping, const char *path,
                                       const struct pool_options *options,
                                       const struct layout_data_header *wanted, char *error) {
    char passing[PATH_MAX];
    snprintf(passing, sizeof passing, "%s/%s.pool.new", options->data_dir, options->name);
    mapping->file = mapping_create_passing(passing);
    if (mapping->file < 0 && errno == EWOULDBLOCK) {
        mapping_explain(error, "%s is being made by another stayd", path);
        return mapping_refuse(mapping);
    }
    if (mapping->file < 0) {
        return mapping_fail(mapping, error, "create", passing);
    }
    uint64_t size = LAYOUT_PAGE + (uint64_t)wanted->segment_count * (uint64_t)wanted->segment_bytes;
    int failed = store_io_allocate(mapping->file, 0, (off_t)size);
    if (failed != 0) {
        bool is_full = failed == ENOSPC || failed == EDQUOT;
        mapping_explain(error, "cannot reserve %llu bytes for %s: %s%s", (unsigned long long)size,
                        path, strerror(failed),
                        is_full ? ". Free space on that file system, or lower the pool's memory"
                                : mapping_advice(failed));
        unlink(passing);
        mapping_finish(mapping);
        return STATUS_IO;
    }
    if (store_io_write_all(mapping->file, wanted, sizeof *wanted, 0) != 0 ||
        store_io_sync(mapping->file) != 0 || link(passing, path) != 0) {
        enum status status = mapping_fail(mapping, error, "write", path);
        unlink(passing);
        return status;
    }
    unlink(passing);
    if (!mapping_sync_folder(options->data_dir) || !mapping_map(mapping, size)) {
        return mapping_fail(mapping, error, "map", path);
    }
    mapping_advise(mapping);
    return STATUS_OK;
}

void mapping_note_failed_sync(int file) {
    const uint32_t failed = 1;
    int ignored = store_io_write_all(file, &failed, sizeof failed,
                                     offsetof(struct layout_data_header, sync_failed));
    (void)ignored; /* the disk is what it is; whoever asked for the sync is told */
}

bool mapping_write_again(const struct mapping *mapping) {
    struct layout_data_header *header = (void *)mapping->base;
    if (header->sync_failed == 0) {
        return true;
    }
    log_warning("%s: an earlier sync of its file failed; all of it is written again", header->name);
    if (store_io_write_all(mapping->file, mapping->base, mapping->size_bytes, 0) != 0) {
        return false;
    }
    header->sync_failed = 0;
    return true;
}

enum status mapping_open_data(struct mapping *mapping, const struct pool_options *options,
                              const struct layout_data_header *wanted, bool *created,
                              char error[POOL_ERROR_MAX]) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s.pool", options->data_dir, options->name) >=
        (int)sizeof path - 4) {
        mapping_explain(error, "data_dir is too long a path");
        return STATUS_INVALID;
    }
    *created = false;
    enum status status = STATUS_NOT_FOUND;
    while (status == STATUS_NOT_FOUND) {
        *mapping = MAPPING_NONE;
        mapping->file = open(path, O_RDWR | O_CLOEXEC);
        if (mapping->file < 0) {
            break;
        }
        status = mapping_open_existing(mapping, path, options, error);
    }
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    if (errno != ENOENT) {
        return mapping_fail(mapping, error, "open", path);
    }
    *created = true;
    return mapping_create_data(mapping, path, options, wanted, error);
}

uint64_t mapping_boot_id(void) {
    char text[64];
    int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text);
    if (file >= 0) {
        close(file);
    }
    return length <= 0 ? 0 : hash_key(0, bytes_from(text, (size_t)length)) | 1;
}

/* Reads the header of an index: in a full tmpfs, to touch a part of a mapping that has no memory
 * yet would end the process. */
static bool mapping_read_index(int file, struct layout_index_header *found) {
    return pread(file, found, sizeof *found, 0) == (ssize_t)sizeof *found &&
           found->magic == LAYOUT_INDEX_MAGIC;
}

void mapping_supersede_index(int file) {
    struct layout_index_header found;
    const uint32_t state = LAYOUT_INDEX_SUPERSEDED;
    if (mapping_read_index(file, &found)) {
        ssize_t ignored =
            pwrite(file, &state, sizeof state, offsetof(struct layout_index_header, state));
        (void)ignored; /* it can not fail where it could be read */
    }
}

/* Whether an index is the one that the data's clean stop left. */
static bool mapping_index_fits(const struct layout_index_header *found,
                               const struct layout_data_header *data,
                               const struct layout_index_header *wanted) {
    return found->magic == LAYOUT_INDEX_MAGIC && found->version == LAYOUT_VERSION &&
           found->pool_id == data->pool_id && found->hash_seed == data->hash_seed &&
           found->segment_bytes == wanted->segment_bytes &&
           found->segment_count == wanted->segment_count &&
           found->offset_bits == wanted->offset_bits &&
           found->segments_offset == wanted->segments_offset &&
           found->buckets_offset == wanted->buckets_offset &&
           found->overflow_offset == wanted->overflow_offset &&
           found->bucket_max == wanted->bucket_max && found->overflow_max == wanted->overflow_max &&
           atomic_load(&found->state) == LAYOUT_INDEX_STOPPED && atomic_load(&data->stop_id) != 0 &&
           atomic_load(&found->stop_id) == atomic_load(&data->stop_id) && found->boot_id != 0 &&
           found->boot_id == mapping_boot_id();
}

enum status mapping_attach_index(struct mapping *mapping, const struct pool_options *options,
                                 const struct layout_data_header *data,
                                 const struct layout_index_header *wanted) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.index", options->run_dir, options->name);
    *mapping = MAPPING_NONE;
    mapping->file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (mapping->file < 0) {
        return STATUS_NOT_FOUND;
    }
    uint64_t wanted_bytes =
        wanted->overflow_offset + (uint64_t)wanted->overflow_max * sizeof(struct layout_bucket);
    struct stat status;
    struct layout_index_header found;
    if (fstat(mapping->file, &status) == 0 && (uint64_t)status.st_size == wanted_bytes &&
        mapping_read_index(mapping->file, &found) && mapping_index_fits(&found, data, wanted) &&
        mapping_map(mapping, wanted_bytes)) {
        return STATUS_OK;
    }
    mapping_supersede_index(mapping->file);
    mapping_finish(mapping);
    return STATUS_NOT_FOUND;
}

enum status mapping_create_index(struct mapping *mapping, const struct pool_options *options,
                                 uint64_t size_bytes, char error[POOL_ERROR_MAX]) {
    char path[PATH_MAX];
    char passing[PATH_MAX];
    *mapping = MAPPING_NONE;
    if (snprintf(path, sizeof path, "%s/%s.index", options->run_dir, options->name) >=
            (int)sizeof path - 4 ||
        snprintf(passing, sizeof passing, "%s/%s.index.new", options->run_dir, options->name) < 0) {
        mapping_explain(error, "run_dir is too long a path");
        return STATUS_INVALID;
    }
    unlink(passing);
    mapping->file = open(passing, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (mapping->file < 0) {
        return mapping_fail(mapping, error, "create", passing);
    }
    /* The header; index_init allocates the rest before it is touched. */
    int failed = store_io_allocate(mapping->file, 0, LAYOUT_PAGE);
    if (failed != 0) {
        mapping_explain(error, "cannot reserve memory for %s: %s. Give run_dir's file system room",
                        path, strerror(failed));
        unlink(passing);
        mapping_finish(mapping);
        return failed == ENOSPC || failed == EDQUOT ? STATUS_NO_MEMORY : STATUS_IO;
    }
    if (ftruncate(mapping->file, (off_t)size_bytes) != 0 || !mapping_map(mapping, size_bytes) ||
        rename(passing, path) != 0) {
        enum status status = mapping_fail(mapping, error, "create", path);
        unlink(passing);
        return status;
    }
    return STATUS_OK;
}

void mapping_remove_index(struct mapping *mapping, const struct pool_options *options) {
    char path[PATH_MAX];
    if (mapping->file >= 0 && snprintf(path, sizeof path, "%s/%s.index", options->run_dir,
                                       options->name) < (int)sizeof path) {
        mapping_supersede_index(mapping->file);
        unlink(path);
    }
    mapping_finish(mapping);
}
