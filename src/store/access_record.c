/* The record that tells a replicated pool's log of an access, as replication.h declares it. */
#include "store/operations.h"
#include "store/pool_private.h"

bool pool_describe_access(struct pool *pool, struct store_thread *thread, struct bytes key,
                          struct replica *replica) {
    struct lookup_hit hit;
    const struct record *record = &hit.record;
    if (!operations_find(pool, key, &hit) || !item_visible(&pool->view, record, thread->now_s) ||
        record->cas == 0) {
        return false;
    }
    *replica = (struct replica){
        .key = record->key,
        .value = record->value,
        .stale = record->stale,
        .token_sent = record->token_sent,
        .keeps_reads = true,
        .derived = true,
        .client_flags = record->client_flags,
        .expiry_s = record->expiry_s,
        .created_s = record->created_s,
        .accessed_s = record->accessed_s,
        .sequence = record->cas,
    };
    return true;
}
