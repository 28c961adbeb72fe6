#include "store/mapping.h"

#include "base/log.h"
#include "store/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
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

void mapping_explain(char *error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, POOL_ERROR_MAX, format, arguments);
    va_end(arguments);
}

bool mapping_map(struct mapping *mapping, uint64_t size_bytes) {
    void *base = store_io->map(size_bytes, mapping->file);
    if (base == MAP_FAILED) {
        return false;
    }
    mapping->base = base;
    mapping->size_bytes = size_bytes;
    return true;
}

/* Items are read at random places, so read-ahead is useless. Read-ahead also brings in large
 * folios, and a store into a folio makes all of it dirty: each sync would write up to a whole
 * segment again for one new record or one cleared header. */
void mapping_advise(const struct mapping *mapping) {
    madvise(mapping->base, mapping->size_bytes, MADV_RANDOM);
}

const char *mapping_advice(int error_number) {
    switch (error_number) {
    case EACCES:
    case EPERM:
    case EROFS:
        return ". Let the user that stayd runs as write there, or choose another folder";
    case EFBIG:
        return ". Raise the limit of a file's size (LimitFSIZE= in the systemd unit, or ulimit -f)";
    case ENOMEM:
        return ". Lower the pool's memory, or raise the process's limit of memory";
    case EMFILE:
    case ENFILE:
        return ". Raise the limit of open files (LimitNOFILE= in the systemd unit, or ulimit -n)";
    default:
        return "";
    }
}

enum status mapping_fail(struct mapping *mapping, char *error, const char *what, const char *path) {
    int error_number = errno;
    mapping_explain(error, "cannot %s %s: %s%s", what, path, strerror(error_number),
                    mapping_advice(error_number));
    mapping_finish(mapping);
    return STATUS_IO;
}

enum status mapping_create_memory(struct mapping *mapping, const char *name, uint64_t size_bytes,
                                  char error[POOL_ERROR_MAX]) {
    *mapping = MAPPING_NONE;
    mapping->file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* The mode decides who may open the file again through /proc from a read-only descriptor. */
    if (mapping->file < 0 || fchmod(mapping->file, 0400) != 0 ||
        ftruncate(mapping->file, (off_t)size_bytes) != 0 || !mapping_map(mapping, size_bytes) ||
        fcntl(mapping->file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return mapping_fail(mapping, error, "get memory for", name);
    }
    return STATUS_OK;
}

void mapping_return_memory(const struct mapping *mapping, uint64_t offset, uint64_t size_bytes) {
    if (store_io_punch(mapping->file, (off_t)offset, (off_t)size_bytes) != 0) {
        log_warning("cannot give memory back to the system: %m");
    }
}

int mapping_open_read_only(const struct mapping *mapping) {
    char path[64];
    /* Not dup(2), which would share the file's lock and the right to write. Not the file's path,
     * which may name another file now. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", mapping->file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

enum status mapping_refuse(struct mapping *mapping) {
    mapping_finish(mapping);
    return STATUS_INVALID;
}
