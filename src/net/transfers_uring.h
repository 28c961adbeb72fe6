/* The implementation of transfers by io_uring. Used by transfers.c only. */
#ifndef STAYD_NET_TRANSFERS_URING_H
#define STAYD_NET_TRANSFERS_URING_H

#include "net/transfers.h"

struct transfers_ring;

/* Whether the kernel has what this needs, and lets this process use it. If not, `error` says why.
 */
bool transfers_ring_probe(char error[TRANSFERS_ERROR_MAX]);

const char *transfers_ring_liburing(void);

/* NULL with errno if the system refuses. */
struct transfers_ring *transfers_ring_create(void);

/* Accepts NULL. */
void transfers_ring_destroy(struct transfers_ring *ring);

/* The thread that is going to use it calls this once. */
void transfers_ring_begin(struct transfers_ring *ring);

/* Returns how many of the transfers have been made, in order. Fewer than `count`: the ring has
 * failed, with errno, and is not to be used again. The transfers after these have not been made,
 * and will not be once the ring is destroyed. */
unsigned transfers_ring_run(struct transfers_ring *ring, struct transfer *group, unsigned count);

#endif
