#include "store/flush.h"

#include "store/pool_counters.h"
#include "store/replicate.h"

static struct record flush_record(uint32_t due_s) {
    return (struct record){.kind = LAYOUT_FLUSH, .expiry_s = due_s, .key = bytes_from("", 0)};
}

/* Finds room for the flush's record. */
static bool flush_reserve(struct pool *pool, enum segment_purpose purpose, uint32_t now_s,
                          uint32_t due_s, struct segment_place *place) {
    struct record record = flush_record(due_s);
    return pool->header == NULL ||
           segments_reserve(&pool->segments, purpose, now_s, 0, record_size(&record), place);
}

/* Takes the flush's sequence and, in a persistent pool, writes its record. */
static uint64_t flush_write(struct pool *pool, uint32_t due_s, struct segment_place place) {
    struct record record = flush_record(due_s);
    record.sequence = pool_next_sequence(pool);
    if (pool->header != NULL) {
        record_write(place.at, &record, place.crc_seed);
        segment_table_count_tombstone(&pool->view, place.location, record_size(&record));
    }
    return record.sequence;
}

/* Hides all items that were stored before. Cannot fail from here on: an item that is hidden now
 * must not be visible again. */
static void flush_perform(struct pool *pool, struct segment_place place) {
    struct layout_index_header *index = pool->view.index;
    if (place.at != NULL) {
        memset(place.at, 0, sizeof *place.at); /* takes a page fault before other threads wait */
    }
    atomic_store(&index->flush_sequence, LAYOUT_FLUSHING);
    uint64_t ended = atomic_load(&index->live_bytes) + atomic_load(&index->tombstone_bytes) +
                     atomic_load(&index->waste_bytes);
    /* After this flush, earlier tombstones are not needed. They must stay until the flush's record
     * is written, and they do: no segment is freed before this thread is quiescent. */
    uint64_t sequence = flush_write(pool, 0, place);
    if (pool->options.fsync == POOL_FSYNC_ALWAYS) {
        /* Replies that depend on the flush wait for this new sequence, which is taken after the
         * record was written. They must not wait for the record's own sequence: a sync may count
         * that sequence as done before the record was written. */
        sync_note_removal(&pool->sync, pool_next_sequence(pool));
    }
    atomic_store(&index->flush_due_s, 0);
    /* Inexact, because changes under way are still being counted; the janitor corrects it
     * (janitor_end_flush). */
    atomic_store(&index->flushed_bytes, ended);
    if (pool->header != NULL) {
        /* After the record is written, and before a client can see the effect (invariant 8): until
         * then, readers wait (find_to_tell). */
        sync_note_write(&pool->sync);
    }
    atomic_store(&index->flush_sequence, sequence);
    room_note_dead_record(&pool->room);
}

enum status flush_here(struct pool *pool, struct store_thread *thread, uint32_t due_s) {
    struct segment_place place = {0};
    if (pool_is_read_only(pool)) {
        return STATUS_READ_ONLY;
    }
    pthread_mutex_lock(&pool->flush_lock);
    while (!flush_reserve(pool, SEGMENT_FOR_REMOVAL, thread->now_s, due_s, &place)) {
        pthread_mutex_unlock(&pool->flush_lock);
        enum status status = room_ask(pool, thread, SEGMENT_FOR_REMOVAL);
        if (status != STATUS_OK) {
            if (status != STATUS_NEEDS_ROOM) {
                pool_add(pool, thread->index, POOL_CMD_FLUSH, 1);
            }
            return status;
        }
        pthread_mutex_lock(&pool->flush_lock);
    }
    pool_add(pool, thread->index, POOL_CMD_FLUSH, 1);
    if (due_s == 0) {
        flush_perform(pool, place);
    } else {
        atomic_store(&pool->view.index->flush_due_sequence, flush_write(pool, due_s, place));
        atomic_store(&pool->view.index->flush_due_s, due_s);
    }
    sync_note_client_write(&pool->sync, pool_sync_thread(pool, thread), LAYOUT_ALIGN);
    pthread_mutex_unlock(&pool->flush_lock);
    room_wake(&pool->room);
    return STATUS_OK;
}

enum status pool_flush(struct pool *pool, struct store_thread *thread, uint32_t when_s) {
    uint32_t due_s = when_s > thread->now_s ? when_s : 0;
    return pool_get_replication(pool) != NULL ? replicate_flush(pool, thread, due_s)
                                              : flush_here(pool, thread, due_s);
}

/* A flush cannot be undone. So while the clock is not trusted, a flush falls due by the trusted
 * time. */
static bool flush_is_due(const struct pool *pool, uint32_t due_s, uint32_t now_s) {
    return due_s != 0 && due_s <= now_s &&
           (expiry_clock_is_trusted(&pool->expiry_clock) ||
            due_s <= expiry_clock_free_s(&pool->expiry_clock));
}

bool flush_run_due(struct pool *pool, uint32_t now_s) {
    struct layout_index_header *index = pool->view.index;
    if (!flush_is_due(pool, atomic_load(&index->flush_due_s), now_s) || pool_is_read_only(pool)) {
        return false;
    }
    struct segment_place place = {0};
    bool performed = false;
    pthread_mutex_lock(&pool->flush_lock);
    /* If there is no room, the flush stays due, and the next call tries again. */
    if (flush_is_due(pool, atomic_load(&index->flush_due_s), now_s) &&
        flush_reserve(pool, SEGMENT_FOR_JANITOR, now_s, 0, &place)) {
        flush_perform(pool, place);
        performed = true;
    }
    pthread_mutex_unlock(&pool->flush_lock);
    return performed;
}
