#include "store/replication.h"

#include "store/pool_private.h"

void pool_set_replication(struct pool *pool, const struct pool_replication *replication) {
    pool->replication = *replication;
}

const struct pool_replication *pool_get_replication(const struct pool *pool) {
    return pool->replication.submit != NULL ? &pool->replication : NULL;
}

void pool_admit_readers(struct pool *pool, bool admitted) {
    atomic_store(&pool->view.index->readers,
                 admitted ? LAYOUT_READERS_WHILE_KEPT : LAYOUT_READERS_NONE);
}
