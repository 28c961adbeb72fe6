/* The look-up of operations.c, for the other files of the store. The operations themselves are
 * declared in pool.h. */
#ifndef STAYD_STORE_OPERATIONS_H
#define STAYD_STORE_OPERATIONS_H

#include "store/lookup.h"

struct pool;

/* Looks up a key without a lock. Also finds items that clients may not see. */
bool operations_find(struct pool *pool, struct bytes key, struct lookup_hit *hit);

#endif
