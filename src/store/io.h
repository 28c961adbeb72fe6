/* The system calls that the store makes on its data files, in one table, so that tests can run the
 * whole store on a simulated disk, and let each call fail once. */
#ifndef STAYD_STORE_IO_H
#define STAYD_STORE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct store_io {
    /* fdatasync(2): everything that was written or stored into shared mappings before the call is
     * on the disk when it returns. */
    int (*sync)(int file);
    /* posix_fallocate(3): returns 0 or an errno. An amount that cannot fit is refused before any of
     * it is allocated, so that other programs on a nearly full disk are not disturbed. */
    int (*allocate)(int file, off_t offset, off_t bytes);
    /* pwrite(2). */
    ssize_t (*write)(int file, const void *data, size_t size, off_t offset);
    /* fallocate(2): these bytes read as zero and take no space; the file's length stays. */
    int (*punch)(int file, off_t offset, off_t bytes);
    /* mmap(2), shared, readable and writable; MAP_FAILED. */
    void *(*map)(size_t size, int file);
};

/* The system's own calls. */
extern const struct store_io store_io_system;

/* What the store uses: store_io_system, unless a test sets another before it opens a pool. */
extern const struct store_io *store_io;

/* As the calls of the same name, but repeated when a signal interrupts them. */
int store_io_sync(int file);
int store_io_allocate(int file, off_t offset, off_t bytes);
int store_io_punch(int file, off_t offset, off_t bytes);

/* Writes all bytes, repeating the call after signals and partial writes. 0, or -1 and errno. */
int store_io_write_all(int file, const void *data, size_t size, off_t offset);

#endif
