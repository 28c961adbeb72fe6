#include "store/compaction.h"

#include "base/clock.h"
#include "base/hash.h"
#include "store/pool_counters.h"

#include <stdlib.h>

/* The sequence at which the oldest segment except this one was opened. A tombstone or a flush
 * record is needed only while its own sequence is higher than the result: a deleted version can lie
 * only in a segment that was opened before the deletion was written. */
static uint64_t compaction_oldest_other(struct pool *pool, uint32_t own_segment) {
    const struct lookup_view *view = &pool->view;
    uint64_t oldest = UINT64_MAX;
    for (uint32_t segment = 0; segment < view->segment_count; segment++) {
        struct layout_segment *info = &view->segments[segment];
        uint64_t opened = atomic_load(&info->opened_sequence);
        if (segment != own_segment && atomic_load(&info->state) != LAYOUT_SEGMENT_FREE &&
            opened < oldest) {
            oldest = opened;
        }
    }
    return oldest;
}

/* Whether a tombstone or a flush record is still needed. No slot points to these records, so the
 * slots cannot tell. */
static bool compaction_tombstone_needed(struct pool *pool, const struct segment_cursor *cursor,
                                        uint64_t oldest_other, uint32_t now_s) {
    const struct layout_index_header *index = pool->view.index;
    const struct record *record = &cursor->record;
    if (record->kind == LAYOUT_FLUSH &&
        record->sequence == atomic_load(&index->flush_due_sequence) &&
        atomic_load(&index->flush_due_s) != 0) {
        return true; /* this flush is still due */
    }
    uint64_t flushed = item_flush_sequence(&pool->view);
    bool in_force = record->kind == LAYOUT_FLUSH
                        ? record->expiry_s == 0 && record->sequence == flushed
                        : record->sequence > flushed && !record_expired(record->expiry_s, now_s);
    /* An invalid tombstone must not be moved: the copy would not be marked as paired, and would be
     * valid. */
    return in_force && oldest_other < record->sequence &&
           (record->kind == LAYOUT_FLUSH || segment_tombstone_counts(cursor));
}

/* Copies a record into one of the janitor's open segments. */
static bool compaction_copy(struct pool *pool, const struct segment_cursor *cursor, uint32_t now_s,
                            struct segment_place *place) {
    if (!segments_reserve(&pool->segments, SEGMENT_FOR_JANITOR, now_s, cursor->record.expiry_s,
                          cursor->size, place)) {
        return false;
    }
    record_move(place->at, cursor->at, place->crc_seed);
    segment_table_note_due(&pool->view, place->location, item_due_s(&pool->view, &cursor->record));
    pool_add(pool, pool_janitor_shard(pool), POOL_BYTES_MOVED, cursor->size);
    pool->janitor.moved_bytes += cursor->size;
    return true;
}

enum compaction_outcome {
    COMPACTION_NOTHING, /* the record is dead, or a sweep leaves it where it is */
    COMPACTION_EXPIRED,
    COMPACTION_EVICTED,
    COMPACTION_EVICTED_LATER, /* by compaction_evict_rest */
    COMPACTION_MOVED,
    COMPACTION_NO_ROOM
};

/* In a persistent pool an evicted item keeps its slot until its segment's header is cleared, so
 * that no crash brings back an item for which a client has got a miss (compaction_evict_rest). If
 * an older version may lie in another segment, a tombstone keeps that version deleted. The
 * tombstone has the item's own sequence, so it is needed exactly as long as there are segments that
 * may have older versions. The tombstone has the latest possible access time, so recovery prefers
 * it to the item. A client may still touch the item, so the tombstone of a touchable item does not
 * expire. */
static enum compaction_outcome compaction_leave(struct pool *pool,
                                                const struct segment_cursor *cursor,
                                                uint64_t oldest_other, uint32_t now_s) {
    const struct record tombstone = {
        .kind = LAYOUT_TOMBSTONE,
        .expiry_s = cursor->record.touchable ? 0 : cursor->record.expiry_s,
        .accessed_s = UINT32_MAX,
        .sequence = cursor->record.sequence,
        .key = cursor->record.key,
    };
    struct segment_place place;
    size_t size = record_size(&tombstone);
    if (oldest_other >= tombstone.sequence) {
        return COMPACTION_EVICTED_LATER;
    }
    if (!segments_reserve(&pool->segments, SEGMENT_FOR_JANITOR, now_s, tombstone.expiry_s, size,
                          &place)) {
        return COMPACTION_NO_ROOM;
    }
    record_write(place.at, &tombstone, place.crc_seed);
    segment_table_count_tombstone(&pool->view, place.location, size);
    return COMPACTION_EVICTED_LATER;
}

/* The input of compaction_decide. */
struct compaction_rule {
    bool may_move;
    unsigned keep_score; /* may_move: records with a lower score are evicted */
    uint64_t oldest_other;
    uint32_t now_s;
};

/* Decides about one value, under its bucket's lock. */
static enum compaction_outcome
compaction_decide(struct pool *pool, const struct segment_cursor *cursor,
                  struct layout_bucket *bucket, const struct compaction_rule *rule, bool *fetched) {
    _Atomic uint64_t *slot = index_find_location(&pool->index, bucket, cursor->location);
    if (slot == NULL) {
        return COMPACTION_NOTHING;
    }
    uint64_t value = atomic_load_explicit(slot, memory_order_relaxed); /* the lock orders it */
    unsigned frequency = layout_slot_frequency(value);
    bool visible = item_visible(&pool->view, &cursor->record, rule->now_s);
    bool evicts = rule->may_move && compaction_score(frequency, cursor->size) < rule->keep_score;
    *fetched = frequency > 0;
    if (visible && evicts && pool->header != NULL) {
        return compaction_leave(pool, cursor, rule->oldest_other, rule->now_s);
    }
    if (!visible || evicts) {
        sync_note_removal(&pool->sync, cursor->record.sequence);
        index_remove(&pool->index, bucket, slot);
        segment_table_count_dead(&pool->view, cursor->location, cursor->size,
                                 cursor->record.sequence <= item_flush_sequence(&pool->view));
        return visible ? COMPACTION_EVICTED : COMPACTION_EXPIRED;
    }
    if (!rule->may_move) {
        return COMPACTION_NOTHING; /* a sweep leaves it where it is */
    }
    struct segment_place place;
    if (!compaction_copy(pool, cursor, rule->now_s, &place)) {
        return COMPACTION_NO_ROOM;
    }
    /* Halves the read count at each eviction pass, so that old reads count less than recent ones.
     */
    uint64_t moved = layout_slot_with_frequency(
        (value & ~((UINT64_C(1) << LAYOUT_LOCATION_BITS) - 1)) | place.location,
        rule->keep_score > 0 ? frequency / 2 : frequency);
    segment_table_count_live(&pool->view, place.location, cursor->size);
    atomic_store(slot, moved); /* publishes the copy; seq_cst, see note_access */
    /* A client may have read the item meanwhile. */
    record_note_access(place.at, atomic_load(&cursor->at->accessed_s));
    segment_table_count_dead(&pool->view, cursor->location, cursor->size, false);
    return COMPACTION_MOVED;
}

static struct pool_evictions *compaction_evictions(struct pool *pool,
                                                   const struct segment_cursor *cursor) {
    return &pool->evictions[segment_table_class(&pool->view, cursor->location)];
}

static void compaction_count_reclaimed(struct pool *pool, const struct segment_cursor *cursor,
                                       bool fetched) {
    struct pool_evictions *evictions = compaction_evictions(pool, cursor);
    pool_add(pool, pool_janitor_shard(pool), POOL_EXPIRED_RECLAIMED, 1);
    atomic_fetch_add(&evictions->reclaimed, 1);
    if (!fetched) {
        pool_add(pool, pool_janitor_shard(pool), POOL_EXPIRED_UNFETCHED, 1);
        atomic_fetch_add(&evictions->expired_unfetched, 1);
    }
}

static void compaction_count_evicted(struct pool *pool, const struct segment_cursor *cursor,
                                     bool fetched, uint32_t now_s) {
    struct pool_evictions *evictions = compaction_evictions(pool, cursor);
    uint32_t accessed_s = cursor->record.accessed_s;
    pool_add(pool, pool_janitor_shard(pool), POOL_EVICTIONS, 1);
    atomic_fetch_add(&evictions->evicted, 1);
    atomic_store(&evictions->evicted_idle_s, now_s > accessed_s ? now_s - accessed_s : 0);
    if (cursor->record.expiry_s != 0) {
        atomic_fetch_add(&evictions->evicted_nonzero, 1);
    }
    /* acquire: pairs with the release in pool_set_eviction_notify */
    pool_eviction_notify *notify =
        atomic_load_explicit(&pool->eviction_notify, memory_order_acquire);
    if (notify != NULL) {
        struct pool_scanned evicted = {.record_bytes = (uint32_t)cursor->size,
                                       .ttl_class =
                                           segment_table_class(&pool->view, cursor->location)};
        item_describe(&cursor->record, fetched, &evicted.item);
        notify(pool->eviction_context, &evicted, now_s);
    }
    if (!fetched) {
        pool_add(pool, pool_janitor_shard(pool), POOL_EVICTED_UNFETCHED, 1);
        atomic_fetch_add(&evictions->evicted_unfetched, 1);
    }
}

static enum compaction_outcome compaction_handle(struct pool *pool, struct segment_cursor *cursor,
                                                 const struct compaction_rule *rule) {
    uint64_t hash = hash_key(pool->view.hash_seed, cursor->record.key);
    struct layout_bucket *bucket = index_lock(&pool->index, hash);
    record_read_again(cursor->at, &cursor->record); /* a client may have touched or read the item */
    bool fetched = false;
    enum compaction_outcome outcome = compaction_decide(pool, cursor, bucket, rule, &fetched);
    index_unlock(bucket);
    if (outcome == COMPACTION_EXPIRED) {
        room_note_dead_record(&pool->room);
        compaction_count_reclaimed(pool, cursor, fetched);
    } else if (outcome == COMPACTION_EVICTED) {
        compaction_count_evicted(pool, cursor, fetched, rule->now_s);
    }
    return outcome;
}

/* Eight steps per factor of two: precise enough to order values, and few enough for a table. */
unsigned compaction_score(unsigned reads, size_t size_bytes) {
    if (reads == 0) {
        return 0;
    }
    uint64_t worth = ((uint64_t)reads << 27) / size_bytes | 8;
    unsigned power = 63 - (unsigned)__builtin_clzll(worth);
    unsigned score = (power - 3) * 8 + (unsigned)((worth >> (power - 3)) & 7) + 1;
    return score > COMPACTION_SCORE_MAX ? COMPACTION_SCORE_MAX : score;
}

/* A paired tombstone was written together with a new version. Its copy is not marked as paired. So
 * the new version must be on the disk before the tombstone is copied: if a power cut kept the copy
 * and lost the new version, the copy would delete the old version too. */
static bool compaction_part_pair(struct pool *pool, const struct record *record) {
    struct janitor *janitor = &pool->janitor;
    if (record->paired && !janitor->pairs_synced) {
        janitor->pairs_synced = sync_now(&pool->sync);
        return janitor->pairs_synced;
    }
    return true;
}

void compaction_begin(struct pool *pool) {
    grace_wait(pool->grace);
    pool->janitor.pairs_synced = false;
}

static void compaction_walk(struct pool *pool, uint32_t segment, struct segment_cursor *cursor) {
    segment_walk(cursor, &pool->segments.data, segment,
                 atomic_load(&pool->view.segments[segment].fill));
}

/* Resets the time at which the next record of a segment expires. The caller then calculates the
 * time again in a walk, which ends at the returned offset. A record that is appended after the
 * reset notes its own time. A record whose time was noted before the reset must be walked: after
 * one grace period its room is reserved, so `fill` covers the record; after the second the record
 * is whole. */
static uint32_t compaction_reset_due(struct pool *pool, uint32_t segment) {
    struct layout_segment *info = &pool->view.segments[segment];
    atomic_store(&info->first_expiry_s, LAYOUT_NEVER);
    grace_wait(pool->grace);
    uint32_t end = atomic_load(&info->fill);
    if (atomic_load(&info->state) == LAYOUT_SEGMENT_OPEN) {
        grace_wait(pool->grace);
    }
    return end;
}

void compaction_sweep(struct pool *pool, uint32_t segment, uint32_t now_s) {
    struct layout_segment *info = &pool->view.segments[segment];
    struct segment_cursor cursor;
    uint32_t next_due_s = LAYOUT_NEVER;
    uint32_t tombstone_bytes = 0;
    const struct compaction_rule rule = {.now_s = now_s};
    uint64_t oldest_other = compaction_oldest_other(pool, segment);
    uint32_t end = compaction_reset_due(pool, segment);
    segment_walk(&cursor, &pool->segments.data, segment, end);
    while (segment_next(&cursor)) {
        const struct record *record = &cursor.record;
        if (record->kind != LAYOUT_VALUE) {
            if (compaction_tombstone_needed(pool, &cursor, oldest_other, now_s)) {
                tombstone_bytes += (uint32_t)cursor.size;
                if (record->expiry_s != 0 && record->expiry_s < next_due_s) {
                    next_due_s = record->expiry_s;
                }
            }
            continue;
        }
        bool visible = item_visible(&pool->view, record, now_s);
        if (!visible) {
            compaction_handle(pool, &cursor, &rule);
            visible = item_visible(&pool->view, record, now_s); /* as it was under the lock */
        }
        if (visible && item_due_s(&pool->view, record) < next_due_s) {
            next_due_s = item_due_s(&pool->view, record);
        }
    }
    segment_note_due(info, next_due_s);
    if (atomic_load(&info->state) == LAYOUT_SEGMENT_SEALED) {
        segment_table_set_tombstones(&pool->view, segment, tombstone_bytes);
    }
}

bool compaction_empty(struct pool *pool, uint32_t segment, unsigned keep_score, uint32_t now_s) {
    struct segment_cursor cursor;
    struct segment_place place;
    uint64_t oldest_other = compaction_oldest_other(pool, segment);
    const struct compaction_rule rule = {
        .may_move = true, .keep_score = keep_score, .oldest_other = oldest_other, .now_s = now_s};
    compaction_walk(pool, segment, &cursor);
    while (segment_next(&cursor)) {
        if (cursor.record.kind != LAYOUT_VALUE) {
            if (compaction_tombstone_needed(pool, &cursor, oldest_other, now_s)) {
                if (!compaction_part_pair(pool, &cursor.record) ||
                    !compaction_copy(pool, &cursor, now_s, &place)) {
                    segment_walk_end(&cursor);
                    return false;
                }
                segment_table_count_tombstone(&pool->view, place.location, cursor.size);
            }
        } else if (compaction_handle(pool, &cursor, &rule) == COMPACTION_NO_ROOM) {
            segment_walk_end(&cursor);
            return false;
        }
    }
    return true;
}

/* Removes the slots that compaction_leave left in a segment whose header has been cleared. */
static void compaction_evict_rest(struct pool *pool, struct segment_cursor *cursor) {
    /* With fsync = always, the reply to a miss waits until the cleared header is on the disk. */
    sync_note_write(&pool->sync);
    uint64_t sequence = pool_next_sequence(pool);
    uint32_t now_s = clock_unix_s();
    while (segment_next(cursor)) {
        if (cursor->record.kind != LAYOUT_VALUE) {
            continue;
        }
        uint64_t hash = hash_key(pool->view.hash_seed, cursor->record.key);
        struct layout_bucket *bucket = index_lock(&pool->index, hash);
        _Atomic uint64_t *slot = index_find_location(&pool->index, bucket, cursor->location);
        bool fetched = slot != NULL && layout_slot_frequency(atomic_load(slot)) > 0;
        if (slot != NULL) {
            sync_note_removal(&pool->sync, sequence);
            index_remove(&pool->index, bucket, slot);
            segment_table_count_dead(&pool->view, cursor->location, cursor->size,
                                     cursor->record.sequence <= item_flush_sequence(&pool->view));
        }
        index_unlock(bucket);
        if (slot != NULL) {
            compaction_count_evicted(pool, cursor, fetched, now_s);
        }
    }
}

/* Clears a segment's header, and evicts the items that are still in the segment. */
static void compaction_retire(struct pool *pool, uint32_t segment) {
    struct segment_cursor cursor;
    bool leaves = pool->header != NULL && pool->options.evict &&
                  atomic_load(&pool->view.segments[segment].items) > 0;
    /* The walk begins before the header is cleared, because the seed of the CRCs is in it. */
    compaction_walk(pool, segment, &cursor);
    segments_retire(&pool->segments, segment);
    if (leaves) {
        compaction_evict_rest(pool, &cursor);
    }
}

bool compaction_free(struct pool *pool, const uint32_t *segments, unsigned count) {
    if (count == 0) {
        return true;
    }
    grace_wait(pool->grace);
    if (pool->header != NULL && !sync_now(&pool->sync)) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        compaction_retire(pool, segments[i]);
    }
    if (pool->options.evict) {
        grace_wait(pool->grace); /* for threads that had just found one of these items */
    }
    if (pool->header != NULL && !sync_now(&pool->sync)) {
        return false; /* the segments stay in use: no deleted item may reappear */
    }
    for (unsigned i = 0; i < count; i++) {
        segments_free(&pool->segments, segments[i]);
        pool_add(pool, pool_janitor_shard(pool), POOL_SEGMENTS_COMPACTED, 1);
    }
    room_wake_parked(&pool->room);
    return true;
}

/* The bytes that emptying a segment frees. */
static uint32_t compaction_gain(struct pool *pool, uint32_t segment) {
    const struct layout_segment *info = &pool->view.segments[segment];
    uint32_t state = atomic_load(&info->state);
    uint32_t fill = atomic_load(&info->fill);
    uint32_t header_bytes = (uint32_t)sizeof(struct layout_segment_header);
    if (state == LAYOUT_SEGMENT_FREE || fill < header_bytes) {
        return 0;
    }
    uint32_t capacity = segment_capacity(&pool->view);
    uint32_t has = state == LAYOUT_SEGMENT_SEALED ? capacity : fill - header_bytes;
    uint64_t needed = segments_needed_bytes(&pool->segments, segment);
    uint32_t items = atomic_load_explicit(&info->items, memory_order_relaxed); /* a number */
    if (needed > 0 && items > 0) {
        uint32_t live = atomic_load_explicit(&info->live_bytes, memory_order_relaxed); /* too */
        needed += segment_waste_among(capacity, live / items) * items;
    }
    return has > needed ? has - (uint32_t)needed : 0;
}

/* The segments with the greatest gains, greatest first. */
struct compaction_choice {
    unsigned count;
    uint32_t segments[COMPACTION_BATCH];
    uint32_t gains[COMPACTION_BATCH];
    uint64_t gain_bytes; /* of all segments */
};

static void compaction_insert(struct compaction_choice *choice, uint32_t segment, uint32_t gain) {
    unsigned at = choice->count < COMPACTION_BATCH ? choice->count++ : COMPACTION_BATCH - 1;
    for (; at > 0 && choice->gains[at - 1] < gain; at--) {
        choice->segments[at] = choice->segments[at - 1];
        choice->gains[at] = choice->gains[at - 1];
    }
    choice->segments[at] = segment;
    choice->gains[at] = gain;
}

static void compaction_choose(struct pool *pool, bool open_too, struct compaction_choice *choice) {
    *choice = (struct compaction_choice){0};
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        bool open = atomic_load(&pool->view.segments[segment].state) == LAYOUT_SEGMENT_OPEN;
        uint32_t gain = open && !open_too ? 0 : compaction_gain(pool, segment);
        choice->gain_bytes += gain;
        if (gain > 0 &&
            (choice->count < COMPACTION_BATCH || gain > choice->gains[COMPACTION_BATCH - 1])) {
            compaction_insert(choice, segment, gain);
        }
    }
}

uint64_t compaction_gain_bytes(struct pool *pool) {
    struct compaction_choice choice;
    compaction_choose(pool, true, &choice);
    return choice.gain_bytes;
}

/* The segment that was opened before all others. */
static int64_t compaction_oldest(struct pool *pool) {
    int64_t oldest = SEGMENT_NONE;
    uint64_t oldest_sequence = UINT64_MAX;
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        uint64_t opened = atomic_load(&pool->view.segments[segment].opened_sequence);
        if (atomic_load(&pool->view.segments[segment].state) != LAYOUT_SEGMENT_FREE &&
            opened < oldest_sequence) {
            oldest = segment;
            oldest_sequence = opened;
        }
    }
    return oldest;
}

unsigned compaction_run_oldest(struct pool *pool, uint32_t now_s) {
    int64_t oldest = compaction_oldest(pool);
    if (oldest == SEGMENT_NONE) {
        return 0;
    }
    uint32_t chosen = (uint32_t)oldest;
    segments_seal(&pool->segments, chosen); /* a segment that never fills would stay the oldest */
    compaction_begin(pool);
    if (!compaction_empty(pool, chosen, 0, now_s) || !compaction_free(pool, &chosen, 1)) {
        return 0;
    }
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        struct layout_segment *info = &pool->view.segments[segment];
        if (atomic_load(&info->tombstone_bytes) > 0) {
            atomic_store(&info->first_expiry_s, 0); /* sweep: fewer tombstones may be needed */
        }
    }
    return 1;
}

/* Seals the segment if it is open and has the greatest gain. Returns whether the segment is sealed.
 * An open segment with a smaller gain stays open, because its free room is worth more than the
 * gain. */
static bool compaction_seal_best(struct pool *pool, uint32_t segment, bool best) {
    if (best) {
        segments_seal(&pool->segments, segment);
    }
    return atomic_load(&pool->view.segments[segment].state) == LAYOUT_SEGMENT_SEALED;
}

unsigned compaction_run(struct pool *pool, uint32_t least_gain, bool seals, uint32_t now_s) {
    /* Only the reserve counts: clients may take the other free segments during the compaction. */
    uint64_t room = (uint64_t)segment_capacity(&pool->view) *
                    segments_reserved_from(&pool->segments, SEGMENT_FOR_REMOVAL);
    struct compaction_choice choice;
    uint32_t chosen[COMPACTION_BATCH];
    unsigned count = 0;
    compaction_choose(pool, seals, &choice);
    for (unsigned i = 0; i < choice.count && choice.gains[i] >= least_gain; i++) {
        uint32_t live = segments_needed_bytes(&pool->segments, choice.segments[i]);
        if (live > room) {
            break;
        }
        if (compaction_seal_best(pool, choice.segments[i], i == 0)) {
            room -= live;
            chosen[count++] = choice.segments[i];
        }
    }
    if (count == 0) {
        return 0;
    }
    compaction_begin(pool);
    unsigned emptied = 0;
    while (emptied < count && compaction_empty(pool, chosen[emptied], 0, now_s)) {
        emptied++;
    }
    return compaction_free(pool, chosen, emptied) ? emptied : 0;
}
