/* Preallocation of files. It succeeds, or is refused before it takes disk space that other programs
 * need. */
#include "store_support.h"

#include "store/io.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int make_file(void) {
    char path[] = "/tmp/stayd-io-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    unlink(path);
    return file;
}

static off_t taken_bytes(int file) {
    struct stat stat;
    assert_int_equal(fstat(file, &stat), 0);
    return (off_t)stat.st_blocks * 512;
}

static void what_the_disk_cannot_hold_is_refused_before_any_of_it_is_taken(void **state) {
    (void)state;
    int file = make_file();
    struct statvfs disk;
    assert_int_equal(fstatvfs(file, &disk), 0);
    off_t too_much = (off_t)((disk.f_bfree + 2 * (disk.f_blocks / 8)) * disk.f_frsize);
    unsigned before = fault_allocations();
    assert_int_equal(store_io_system.allocate(file, 0, too_much), ENOSPC);
    assert_int_equal(fault_allocations(), before);
    assert_int_equal(taken_bytes(file), 0);
    assert_int_equal(store_io_system.allocate(file, INT64_MAX - 10, 11), EFBIG);
    close(file);
}

/* To allocate a small part of a large file with holes, such as an index, the disk needs room only
 * for that part. */
static void holes_elsewhere_in_the_file_do_not_count(void **state) {
    (void)state;
    int file = make_file();
    struct statvfs disk;
    assert_int_equal(fstatvfs(file, &disk), 0);
    off_t size = (off_t)((disk.f_bfree + disk.f_blocks / 8) * disk.f_frsize);
    size = size < INT64_C(1) << 43 ? size : INT64_C(1) << 43; /* some allow no larger files */
    assert_int_equal(ftruncate(file, size), 0);
    assert_int_equal(store_io_system.allocate(file, size - (64 << 10), 64 << 10), 0);
    assert_int_equal(store_io_system.allocate(file, size - (8 << 20), 4 << 20), 0);
    assert_int_equal(taken_bytes(file) / (1 << 20), 4);
    close(file);
}

static void what_the_disk_can_hold_is_taken(void **state) {
    (void)state;
    int file = make_file();
    assert_int_equal(store_io_system.allocate(file, 0, 1 << 20), 0);
    assert_true(taken_bytes(file) >= 1 << 20);
    unsigned before = fault_allocations();
    fault_fail_allocations(true); /* only the system can know this, so the call is made */
    assert_int_equal(store_io_system.allocate(file, 1 << 20, 1 << 20), ENOSPC);
    fault_none();
    assert_int_equal(fault_allocations(), before + 1);
    close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_disk_cannot_hold_is_refused_before_any_of_it_is_taken),
        cmocka_unit_test(holes_elsewhere_in_the_file_do_not_count),
        cmocka_unit_test(what_the_disk_can_hold_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
