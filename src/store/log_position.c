/* The positions of a replicated pool, and the names of its stages, as replication.h declares them.
 */
#include "store/flush.h"
#include "store/pool_private.h"

uint64_t pool_get_position(const struct pool *pool, uint32_t partition) {
    return atomic_load(&pool->positions.applied[partition]);
}

void pool_note_position(struct pool *pool, uint32_t partition, uint64_t sequence) {
    atomic_store(&pool->positions.applied[partition], sequence);
}

uint64_t pool_get_log_id(const struct pool *pool, uint32_t partition) {
    return atomic_load(&pool->header->partitions[partition].log_id);
}

bool pool_set_log_id(struct pool *pool, uint32_t partition, uint64_t log_id) {
    struct layout_partition *noted = &pool->header->partitions[partition];
    atomic_store(&pool->positions.applied[partition], 0);
    atomic_store(&noted->position, 0);
    if (!sync_now(&pool->sync)) { /* before the number: a position is never of another log */
        return false;
    }
    atomic_store(&noted->log_id, log_id);
    return sync_now(&pool->sync);
}

uint64_t pool_get_noted_position(const struct pool *pool, uint32_t partition) {
    return positions_read(pool->header, partition);
}

void pool_withhold_position(struct pool *pool, uint32_t partition, bool withheld) {
    atomic_store(&pool->positions.withheld[partition], withheld);
}

void pool_note_heard(struct pool *pool, uint32_t partition, uint32_t now_s) {
    atomic_store(&pool->positions.heard_s[partition], now_s);
}

uint32_t pool_get_heard_s(const struct pool *pool) {
    return pool->header->partitions_noted_s;
}

const char *replication_stage_name(enum replication_stage stage) {
    static const char *const names[] = {"waiting", "refused", "catching_up", "caught_up"};
    return names[stage];
}

void pool_begin_hearing(struct pool *pool, uint32_t now_s) {
    pool->header->partitions_noted_s = now_s;
}

enum status pool_drop_items(struct pool *pool, struct store_thread *thread) {
    return flush_here(pool, thread, 0);
}
