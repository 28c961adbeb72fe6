/* Preloaded into the daemon: a system that forbids io_uring, as the default of containers is. */
#include <errno.h>

int io_uring_queue_init(unsigned entries, void *ring, unsigned flags) {
    (void)entries;
    (void)ring;
    (void)flags;
    return -EPERM;
}
