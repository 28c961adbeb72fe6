/* The way of an operation's change: straight to the pool (change.h), or through the log
 * (replication.h). */
#ifndef STAYD_STORE_REPLICATE_H
#define STAYD_STORE_REPLICATE_H

#include "store/change.h"
#include "store/replication.h"

/* As change_run. In a replicated pool also: UNAVAILABLE, UNSUPPORTED; NEEDS_ROOM: the thread's
 * proposal is in flight. */
enum status replicate_change(struct pool *pool, struct store_thread *thread, struct bytes key,
                             change_planner planner, void *request, struct item *result);

/* As pool_flush, in a replicated pool. UNSUPPORTED: a flush that is due later. */
enum status replicate_flush(struct pool *pool, struct store_thread *thread, uint32_t due_s);

/* For a read that must be fresh: OK when the pool is confirmed for this request, or not replicated.
 * NEEDS_ROOM: the thread's proposal is in flight. NO_MEMORY, UNAVAILABLE. */
enum status replicate_refresh(struct pool *pool, struct store_thread *thread, struct bytes key);

/* How old an item's last access must be before a read of a replicated pool with an idle timeout
 * notes a new one, and tells the log. */
static inline uint32_t replicate_access_interval_s(const struct pool *pool) {
    uint32_t share_s = pool->options.idle_timeout_s / REPLICATION_ACCESS_SHARE;
    return share_s > 0 ? share_s : 1;
}

/* An access of the item was noted. */
void replicate_access(struct pool *pool, struct bytes key);

/* Whether the thread's proposal is acknowledged: the request is to be answered from it, and not
 * from the pool. */
static inline bool replicate_is_acknowledged(const struct pool *pool,
                                             const struct store_thread *thread) {
    return pool->replication.submit != NULL && proposal_is_acknowledged(thread->proposal);
}

#endif
