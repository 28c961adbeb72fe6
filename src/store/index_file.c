#include "store/index_file.h"

#include "base/hash.h"
#include "store/io.h"
#include "store/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t index_file_boot_id(void) {
    char text[64];
    int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text);
    if (file >= 0) {
        close(file);
    }
    return length <= 0 ? 0 : hash_key(0, bytes_from(text, (size_t)length)) | 1;
}

/* Reads the header of an index with pread. Touching a part of a mapping that has no memory yet
 * would end the process if the tmpfs is full. */
static bool index_file_read(int file, struct layout_index_header *found) {
    return pread(file, found, sizeof *found, 0) == (ssize_t)sizeof *found &&
           found->magic == LAYOUT_INDEX_MAGIC;
}

void index_file_supersede(int file) {
    struct layout_index_header found;
    struct stat status;
    const uint32_t state = LAYOUT_INDEX_SUPERSEDED;
    /* Since version 2, other processes map indexes, and `state` has its present offset. */
    if (!index_file_read(file, &found) || found.version < LAYOUT_VERSION_INDEX_ID ||
        found.version > LAYOUT_VERSION) {
        return;
    }
    ssize_t ignored =
        pwrite(file, &state, sizeof state, offsetof(struct layout_index_header, state));
    (void)ignored; /* cannot fail: the header was read from there */
    if (fstat(file, &status) == 0 && status.st_size > LAYOUT_PAGE) {
        /* A process that still maps the file then occupies no memory by it, unless the file system
         * cannot punch holes. */
        int punched = store_io_punch(file, LAYOUT_PAGE, status.st_size - LAYOUT_PAGE);
        (void)punched;
    }
}

/* Whether the last clean stop of this data wrote the index. */
static bool index_file_fits(const struct layout_index_header *found,
                            const struct layout_data_header *data,
                            const struct layout_index_header *wanted) {
    return found->magic == LAYOUT_INDEX_MAGIC && found->version == LAYOUT_VERSION &&
           found->pool_id == data->pool_id && atomic_load(&found->index_id) != 0 &&
           atomic_load(&found->index_id) == atomic_load(&data->index_id) &&
           found->hash_seed == data->hash_seed && found->segment_bytes == wanted->segment_bytes &&
           found->segment_count == wanted->segment_count &&
           found->offset_bits == wanted->offset_bits &&
           found->segments_offset == wanted->segments_offset &&
           found->buckets_offset == wanted->buckets_offset &&
           found->overflow_offset == wanted->overflow_offset &&
           found->bucket_max == wanted->bucket_max && found->overflow_max == wanted->overflow_max &&
           atomic_load(&found->state) == LAYOUT_INDEX_STOPPED && atomic_load(&data->stop_id) != 0 &&
           atomic_load(&found->stop_id) == atomic_load(&data->stop_id) && found->boot_id != 0 &&
           found->boot_id == index_file_boot_id();
}

bool index_file_attach(struct mapping *mapping, const struct pool_options *options,
                       const struct layout_data_header *data,
                       const struct layout_index_header *wanted) {
    char path[PATH_MAX];
    *mapping = MAPPING_NONE;
    if (!paths_index(options, path)) {
        return false;
    }
    mapping->file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (mapping->file < 0) {
        return false;
    }
    uint64_t wanted_bytes =
        wanted->overflow_offset + (uint64_t)wanted->overflow_max * sizeof(struct layout_bucket);
    struct stat status;
    struct layout_index_header found;
    if (fstat(mapping->file, &status) == 0 && (uint64_t)status.st_size == wanted_bytes &&
        index_file_read(mapping->file, &found) && index_file_fits(&found, data, wanted) &&
        mapping_map(mapping, wanted_bytes)) {
        return true;
    }
    index_file_supersede(mapping->file);
    mapping_finish(mapping);
    return false;
}

enum status index_file_create(struct mapping *mapping, const struct pool_options *options,
                              uint64_t size_bytes, char error[POOL_ERROR_MAX]) {
    char path[PATH_MAX];
    char temporary[PATH_MAX];
    *mapping = MAPPING_NONE;
    if (!paths_index(options, path)) {
        mapping_explain(error, "the path of run_dir is too long");
        return STATUS_INVALID;
    }
    paths_temporary(path, temporary);
    unlink(temporary);
    mapping->file = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (mapping->file < 0) {
        return mapping_fail(mapping, error, "create", temporary);
    }
    /* Allocates the header; index_init allocates the rest. */
    int failed = store_io_allocate(mapping->file, 0, LAYOUT_PAGE);
    if (failed != 0) {
        mapping_explain(error,
                        "cannot reserve memory for %s: %s. Make run_dir's file system larger", path,
                        strerror(failed));
        unlink(temporary);
        mapping_finish(mapping);
        return failed == ENOSPC || failed == EDQUOT ? STATUS_NO_MEMORY : STATUS_IO;
    }
    if (ftruncate(mapping->file, (off_t)size_bytes) != 0 || !mapping_map(mapping, size_bytes) ||
        rename(temporary, path) != 0) {
        enum status status = mapping_fail(mapping, error, "create", path);
        unlink(temporary);
        return status;
    }
    return STATUS_OK;
}

void index_file_remove(struct mapping *mapping, const struct pool_options *options) {
    char path[PATH_MAX];
    if (mapping->file >= 0 && paths_index(options, path)) {
        index_file_supersede(mapping->file);
        unlink(path);
    }
    mapping_finish(mapping);
}
