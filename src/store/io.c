#include "store/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static void *io_map(size_t size, int file) {
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

const struct store_io store_io_system = {
    .sync = fdatasync,
    .allocate = posix_fallocate,
    .write = pwrite,
    .truncate = ftruncate,
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
