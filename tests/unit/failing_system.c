#include "failing_system.h"

#include <errno.h>
#include <sys/mman.h>

const char *const call_names[CALLS] = {"sync", "allocate", "write", "punch", "map"};

struct failing_system system_state;

/* Counts a call. True: this call must fail. */
static bool fails(enum call call) {
    unsigned number = atomic_fetch_add(&system_state.made[call], 1) + 1;
    if (call == CALL_SYNC && atomic_load(&system_state.happened)) {
        atomic_fetch_add(&system_state.syncs_since, 1);
    }
    if (call != system_state.planned.call || number != system_state.planned.number) {
        return false;
    }
    atomic_store(&system_state.happened, true);
    return true;
}

static int failing_sync(int file) {
    if (fails(CALL_SYNC)) {
        if (system_state.planned.error != EINTR) {
            disk_fail_sync(system_state.simulation->disk);
        }
        errno = system_state.planned.error;
        return -1;
    }
    return disk_io.sync(file);
}

static int failing_allocate(int file, off_t offset, off_t bytes) {
    return fails(CALL_ALLOCATE) ? system_state.planned.error
                                : disk_io.allocate(file, offset, bytes);
}

static ssize_t failing_write(int file, const void *data, size_t size, off_t offset) {
    if (!fails(CALL_WRITE)) {
        return disk_io.write(file, data, size, offset);
    }
    if (system_state.planned.error == 0) {
        return disk_io.write(file, data, size / 2, offset);
    }
    errno = system_state.planned.error;
    return -1;
}

static int failing_punch(int file, off_t offset, off_t bytes) {
    if (fails(CALL_PUNCH)) {
        errno = system_state.planned.error;
        return -1;
    }
    return disk_io.punch(file, offset, bytes);
}

static void *failing_map(size_t size, int file) {
    if (fails(CALL_MAP)) {
        errno = system_state.planned.error;
        return MAP_FAILED;
    }
    return disk_io.map(size, file);
}

static const struct store_io failing_io = {
    .sync = failing_sync,
    .allocate = failing_allocate,
    .write = failing_write,
    .punch = failing_punch,
    .map = failing_map,
};

void plan_fault(struct simulation *simulation, struct fault fault) {
    system_state.simulation = simulation;
    system_state.planned = fault;
    for (int call = 0; call < CALLS; call++) {
        atomic_store(&system_state.made[call], 0);
    }
    atomic_store(&system_state.happened, false);
    atomic_store(&system_state.syncs_since, 0);
    store_io = &failing_io;
}

void mend_system(void) {
    store_io = &disk_io;
}

bool fault_happened(void) {
    return atomic_load(&system_state.happened);
}
