/* The memory limit of a volatile pool, changed while it runs.
 *
 *     segments   | in use | free |          spare           |
 *                '--- the limit --'  no memory, only addresses
 *
 * A pool is mapped with more addresses than it may use; what the limit does not allow is spare, and
 * has given its memory back to the system. Lowering the limit takes effect in the janitor: free
 * segments become spare, and it evicts or compacts until enough of them have. Raising it makes
 * spare ones free again.
 */
#ifndef STAYD_STORE_MEMORY_LIMIT_H
#define STAYD_STORE_MEMORY_LIMIT_H

#include "store/pool_private.h"

/* How many segments a pool that is planned like this is mapped with: so many that its memory can be
 * raised to four times what it begins with, as far as a location can tell them apart. */
uint32_t memory_limit_reserve(const struct pool_options *options,
                              const struct layout_data_header *planned);

/* Sets the limit that the pool begins with. */
void memory_limit_init(struct pool *pool);

/* The janitor's, before and after it frees segments: moves segments between free and spare, and
 * gives the memory of spare ones back. At least `keep` stay free while there are too many in use.
 */
void memory_limit_follow(struct pool *pool, uint32_t keep);

/* Whether more segments are in use than the limit allows. The janitor's. */
bool memory_limit_exceeded(struct pool *pool);

#endif
