/* The memory limit of a volatile pool, changed while it runs.
 *
 *     segments   | in use | free |          spare           |
 *                '--- the limit --'  no memory, only addresses
 *
 * A pool's mapping has addresses for more segments than the pool may use. Segments beyond the limit
 * are spare: their memory has been given back to the system. When the limit is lowered, the janitor
 * makes free segments spare, and evicts or compacts until enough segments are spare. When the limit
 * is raised, spare segments become free again. */
#ifndef STAYD_STORE_MEMORY_LIMIT_H
#define STAYD_STORE_MEMORY_LIMIT_H

#include "store/pool_private.h"

/* The number of segments to map for a pool with this planned header. If the limit may be raised:
 * four times the initial memory, but no more than a location can address. */
uint32_t memory_limit_reserve(const struct pool_options *options,
                              const struct layout_data_header *planned);

/* Sets the limit that the pool begins with. */
void memory_limit_init(struct pool *pool);

/* Called by the janitor before and after it frees segments: makes segments free or spare, and gives
 * the memory of spare segments back. At least `keep` segments stay free while too many are in use.
 */
void memory_limit_follow(struct pool *pool, uint32_t keep);

/* Whether more segments are in use than the limit allows. Called by the janitor. */
bool memory_limit_exceeded(struct pool *pool);

#endif
