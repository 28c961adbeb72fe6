/* A flush is a sequence number: all records up to that number are deleted. In persistent pools that
 * number is itself a record, so that a flush is as durable as a set.
 *
 * A change that has looked up an item before the flush must not write it again with a higher
 * number: the item would survive the flush. So a flush announces itself before it takes its number,
 * and a change looks for a flush again after it has taken its own number (change_take_sequence):
 *
 *     change 1   see the item, take 7, look ............................ publish 7: flushed
 *     flush                             announce, take 8, hide up to 8
 *     change 2   see the item ............................ take 9, look: do it all again, see none
 *
 * A flush takes no longer in a full pool than in an empty one: all deleted bytes are counted as
 * dead at once, as one sum, and the janitor removes the items afterwards.
 */
#ifndef STAYD_STORE_FLUSH_H
#define STAYD_STORE_FLUSH_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct pool;
struct store_thread;

/* Performs a delayed flush that has fallen due. True: it did. Any thread, holding no lock. (pool.h
 * declares pool_flush, which clients call.) */
bool flush_run_due(struct pool *pool, uint32_t now_s);

/* As pool_flush, of this pool alone also if it is replicated. */
enum status flush_here(struct pool *pool, struct store_thread *thread, uint32_t due_s);

#endif
