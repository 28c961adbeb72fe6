/* The implementation of transfers by io_uring. Used by transfers.c only. */
#ifndef STAYD_NET_TRANSFERS_URING_H
#define STAYD_NET_TRANSFERS_URING_H

#include "net/transfers.h"

struct transfers_ring;

/* Whether the kernel has all operations that the ring needs, and lets this process use them. If
 * not, `error` says why. */
bool transfers_ring_probe(char error[TRANSFERS_ERROR_MAX]);

const char *transfers_ring_liburing(void);

/* NULL with errno if the system refuses. */
struct transfers_ring *transfers_ring_create(void);

/* Accepts NULL. */
void transfers_ring_destroy(struct transfers_ring *ring);

/* Called once by the thread that is going to use the ring. */
void transfers_ring_begin(struct transfers_ring *ring);

/* Returns how many of the transfers have been made, in order. Fewer than `count`: the ring has
 * failed, with errno, and must be destroyed. The other transfers have not been made, and will not
 * be made after that. */
unsigned transfers_ring_run(struct transfers_ring *ring, struct transfer *group, unsigned count);

#endif
