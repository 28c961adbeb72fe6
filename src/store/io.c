#include "store/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void *io_map(size_t size, int file) {
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

/* In bytes. To allocate so little for a moment disturbs no other program. */
enum { IO_SMALL = 1 << 20 };

/* Whether the file system surely has too few free bytes to allocate the range. Part of the range
 * may be allocated already, so only a lower bound of the missing bytes is known. False in doubt:
 * then posix_fallocate finds out. */
static bool io_cannot_fit(int file, off_t offset, off_t bytes) {
    struct stat stat;
    struct statvfs system;
    if (fstat(file, &stat) != 0 || fstatvfs(file, &system) != 0 || system.f_blocks == 0) {
        return false; /* a file system without a limit, such as a tmpfs, may report 0 blocks */
    }
    uint64_t taken = (uint64_t)stat.st_blocks * 512;
    uint64_t missing = (uint64_t)bytes > taken ? (uint64_t)bytes - taken : 0;
    if (stat.st_size <= offset) {
        missing = (uint64_t)bytes; /* all allocated blocks are before the range */
    }
    return missing / system.f_frsize > system.f_bfree;
}

static int io_allocate(int file, off_t offset, off_t bytes) {
    off_t end;
    if (__builtin_add_overflow(offset, bytes, &end)) {
        return EFBIG;
    }
    return bytes > IO_SMALL && io_cannot_fit(file, offset, bytes)
               ? ENOSPC
               : posix_fallocate(file, offset, bytes);
}

static int io_punch(int file, off_t offset, off_t bytes) {
    return fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes);
}

const struct store_io store_io_system = {
    .sync = fdatasync,
    .allocate = io_allocate,
    .write = pwrite,
    .punch = io_punch,
    .map = io_map,
};

const struct store_io *store_io = &store_io_system;

int store_io_sync(int file) {
    int result;
    do {
        result = store_io->sync(file);
    } while (result != 0 && errno == EINTR);
    return result;
}

int store_io_allocate(int file, off_t offset, off_t bytes) {
    int failed;
    do {
        failed = store_io->allocate(file, offset, bytes);
    } while (failed == EINTR);
    return failed;
}

int store_io_punch(int file, off_t offset, off_t bytes) {
    int result;
    do {
        result = store_io->punch(file, offset, bytes);
    } while (result != 0 && errno == EINTR);
    return result;
}

int store_io_write_all(int file, const void *data, size_t size, off_t offset) {
    const char *from = data;
    while (size > 0) {
        ssize_t written = store_io->write(file, from, size, offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            errno = written == 0 ? EIO : errno;
            return -1;
        }
        from += written;
        offset += written;
        size -= (size_t)written;
    }
    return 0;
}
