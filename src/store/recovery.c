#include "store/recovery.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "store/item.h"
#include "store/segment_table.h"

#include <assert.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    RECOVERY_THREADS_MAX = 8,
    RECOVERY_BUCKETS = 4096, /* buckets that a thread takes at a time */
    RECOVERY_BATCH = 32,     /* records whose buckets are fetched together */
    RECOVERY_DROP = 1,       /* the frequency that marks a slot which step 3 removes */
};

struct recovery {
    const struct recovery_target *target;
    struct lookup_view *view; /* of the target */
    struct index *index;
    uint32_t now_s;
    _Atomic uint64_t next; /* the next segment (steps 1 and 2) or bucket (step 3) to process */
    _Atomic bool failed;   /* memory is short, or the daemon is to stop */
    _Atomic bool needs_shortening; /* step 2 is needed */

    /* under lock */
    pthread_mutex_t lock;
    uint64_t sequence_max;
    uint64_t flushed;      /* the latest flush that was immediate */
    uint64_t flush_latest; /* the latest flush, immediate or delayed */
    uint32_t flush_due_s;  /* when the latest flush is due */
    uint64_t torn_records;
    uint64_t torn_bytes;
    uint32_t segments;
};

/* The findings about one segment, collected before the lock is taken. */
struct recovery_segment {
    uint64_t sequence_max;
    uint64_t flushed;
    uint64_t flush_latest;
    uint32_t flush_due_s;
    uint32_t fill;
    uint32_t tombstone_bytes;
    uint32_t torn_records;
    uint32_t torn_bytes; /* torn bytes between records, without those at the segment's end */
};

/* A record that has been read and gets its slot with the rest of its batch. */
struct recovery_entry {
    struct record record;
    uint64_t hash;
    uint64_t location;
    size_t size;
};

/* The buckets of a batch are prefetched together, so that recovery waits for memory once a batch,
 * not once a record. */
struct recovery_batch {
    struct recovery_entry entries[RECOVERY_BATCH];
    unsigned count;
};

/* Whether an old version would reappear after the later record has expired. */
static bool recovery_expires_later(const struct record *old, const struct record *later,
                                   uint32_t now_s) {
    return old->kind == LAYOUT_VALUE && old->sequence < later->sequence && later->expiry_s != 0 &&
           (old->expiry_s == 0 || old->expiry_s > later->expiry_s) &&
           !record_expired(old->expiry_s, now_s);
}

/* Of a record and its copy, the record with more touches counts; after that, the record with the
 * later access, because the idle timeout begins there. A tombstone with the same sequence as an
 * item counts more than the item (compaction_leave). */
static bool recovery_is_later(const struct record *record, const struct record *than) {
    if (record->sequence != than->sequence) {
        return record->sequence > than->sequence;
    }
    if (record->kind == than->kind && record->touches != than->touches) {
        return record->touches > than->touches;
    }
    return record->accessed_s > than->accessed_s;
}

/* The slot for a record. A record that no client may see gets a slot too, so that no older version
 * of its key gets the slot; step 3 removes it. */
static uint64_t recovery_slot(struct recovery *recovery, const struct recovery_entry *entry) {
    bool drop = entry->record.kind != LAYOUT_VALUE ||
                item_expired(recovery->view, &entry->record, recovery->now_s);
    return layout_slot(entry->hash, drop ? RECOVERY_DROP : 0, entry->location);
}

/* Counts a record as live when it gets its slot, or as dead when it loses the slot. Step 3 would
 * have to read all records again for their sizes, which would double the time. */
static void recovery_count(struct recovery *recovery, uint64_t slot, size_t size, bool live) {
    if (layout_slot_frequency(slot) == RECOVERY_DROP) {
        return;
    }
    uint64_t location = layout_slot_location(slot);
    if (live) {
        segment_table_count_live(recovery->view, location, size);
    } else {
        segment_table_count_dead(recovery->view, location, size, false);
    }
}

/* Gives the key's slot to this record, unless a later one has it. */
static bool recovery_index_entry(struct recovery *recovery, const struct recovery_entry *entry) {
    uint64_t slot = recovery_slot(recovery, entry);
    struct layout_bucket *bucket = index_lock(recovery->index, entry->hash);
    struct lookup_hit hit;
    bool placed = true;
    if (!index_find(recovery->index, bucket, entry->hash, entry->record.key, &hit)) {
        placed = index_insert(recovery->index, bucket, slot);
        recovery_count(recovery, slot, entry->size, true);
    } else {
        if (recovery_is_later(&entry->record, &hit.record)) {
            atomic_store_explicit(hit.slot, slot, memory_order_release);
            recovery_count(recovery, hit.slot_value, record_stored_size(hit.at), false);
            recovery_count(recovery, slot, entry->size, true);
        }
        if (recovery_expires_later(&hit.record, &entry->record, recovery->now_s) ||
            recovery_expires_later(&entry->record, &hit.record, recovery->now_s)) {
            atomic_store(&recovery->needs_shortening, true);
        }
    }
    index_unlock(bucket);
    return placed;
}

/* Gives the records of a batch their slots. False if memory is short. */
static bool recovery_index_batch(struct recovery *recovery, struct recovery_batch *batch) {
    bool placed = true;
    for (unsigned i = 0; i < batch->count; i++) {
        placed = recovery_index_entry(recovery, &batch->entries[i]) && placed;
    }
    batch->count = 0;
    index_grow(recovery->index);
    return placed;
}

static bool recovery_add(struct recovery *recovery, struct recovery_batch *batch,
                         const struct segment_cursor *cursor) {
    uint64_t hash = hash_key(recovery->view->hash_seed, cursor->record.key);
    index_prefetch(recovery->index, hash);
    batch->entries[batch->count++] = (struct recovery_entry){
        .record = cursor->record,
        .hash = hash,
        .location = cursor->location,
        .size = cursor->size,
    };
    return batch->count < RECOVERY_BATCH || recovery_index_batch(recovery, batch);
}

static bool recovery_take(struct recovery *recovery, const struct segment_cursor *cursor,
                          struct recovery_segment *found, struct recovery_batch *batch) {
    const struct record *record = &cursor->record;
    if (record->sequence > found->sequence_max) {
        found->sequence_max = record->sequence;
    }
    found->fill = cursor->offset;
    found->torn_records = cursor->torn_records;
    found->torn_bytes = cursor->torn_bytes;
    if (record->kind == LAYOUT_FLUSH) {
        found->tombstone_bytes += (uint32_t)cursor->size;
        if (record->expiry_s == 0 && record->sequence > found->flushed) {
            found->flushed = record->sequence;
        }
        if (record->sequence > found->flush_latest) {
            found->flush_latest = record->sequence;
            found->flush_due_s = record->expiry_s;
        }
        return true;
    }
    if (record->kind == LAYOUT_TOMBSTONE) {
        if (!segment_tombstone_counts(cursor)) {
            return true;
        }
        found->tombstone_bytes += (uint32_t)cursor->size;
    }
    segment_note_expiry(&recovery->view->segments[cursor->segment], record->expiry_s);
    segment_table_note_due(recovery->view, cursor->location, item_due_s(recovery->view, record));
    return recovery_add(recovery, batch, cursor);
}

static void recovery_merge(struct recovery *recovery, const struct recovery_segment *found) {
    pthread_mutex_lock(&recovery->lock);
    if (found->sequence_max > recovery->sequence_max) {
        recovery->sequence_max = found->sequence_max;
    }
    if (found->flushed > recovery->flushed) {
        recovery->flushed = found->flushed;
    }
    if (found->flush_latest > recovery->flush_latest) {
        recovery->flush_latest = found->flush_latest;
        recovery->flush_due_s = found->flush_due_s;
    }
    recovery->torn_records += found->torn_records;
    recovery->torn_bytes += found->torn_bytes;
    recovery->segments++;
    pthread_mutex_unlock(&recovery->lock);
}

/* Clears the torn records behind the last whole record, before new records are written there. A
 * torn record has lost its end in a power cut. In a second power cut, new bytes could complete the
 * torn record, and a deleted version would reappear. So the beginnings of torn records are cleared
 * first; pool_begin syncs that. A torn copy that compaction made may stay, because its original is
 * whole. The end mark is cleared as well, because more records will follow. */
static void recovery_clear_torn(const struct segment_data *data, uint32_t segment,
                                uint32_t offset) {
    char *base = lookup_segment(data->view, segment);
    if (segment_is_end_at(data, segment, offset)) {
        memset(base + offset, 0, sizeof(struct layout_record));
    }
    for (; offset < data->view->segment_bytes; offset += LAYOUT_ALIGN) {
        if (segment_is_torn_at(data, segment, offset)) {
            memset(base + offset, 0, sizeof(struct layout_record));
        }
    }
}

static bool recovery_gives_up(struct recovery *recovery) {
    if (recovery->target->is_stopping != NULL && recovery->target->is_stopping()) {
        atomic_store(&recovery->failed, true);
    }
    return atomic_load(&recovery->failed);
}

/* Walks one segment into the index. False if memory is short. */
static bool recovery_read_segment(struct recovery *recovery, uint32_t segment) {
    const struct layout_segment_header *header =
        (const void *)lookup_segment(recovery->view, segment);
    struct layout_segment *info = &recovery->view->segments[segment];
    if (!segment_header_valid(header)) {
        return true; /* the segment is free, and the new segment table says so already */
    }
    /* The whole segment is going to be read. (Free segments are not read.) */
    madvise((void *)(uintptr_t)header, recovery->view->segment_bytes, MADV_WILLNEED);
    atomic_store(&info->ttl_class, header->ttl_class);
    atomic_store(&info->generation, header->generation);
    atomic_store(&info->opened_sequence, header->opened_sequence);
    atomic_store(&info->first_expiry_s, LAYOUT_NEVER);

    struct recovery_segment found = {.fill = sizeof *header};
    found.sequence_max = header->opened_sequence;
    struct segment_cursor cursor;
    struct recovery_batch batch;
    batch.count = 0;
    segment_walk(&cursor, &recovery->target->data, segment, recovery->view->segment_bytes);
    while (segment_next(&cursor)) {
        if (!recovery_take(recovery, &cursor, &found, &batch)) {
            segment_walk_end(&cursor);
            return false;
        }
    }
    if (!recovery_index_batch(recovery, &batch)) {
        return false;
    }
    found.torn_records += segment_is_torn_at(&recovery->target->data, segment, found.fill);
    if (found.flush_latest != 0) {
        segment_note_expiry(info, 0); /* needed as long as there are older segments */
    }
    atomic_store(&info->fill, found.fill);
    segment_table_set_tombstones(recovery->view, segment, found.tombstone_bytes);
    bool room = recovery->view->segment_bytes - found.fill > recovery->view->segment_bytes / 8;
    atomic_store(&info->state, room ? LAYOUT_SEGMENT_OPEN : LAYOUT_SEGMENT_SEALED);
    if (room) {
        recovery_clear_torn(&recovery->target->data, segment, found.fill);
    }
    recovery_merge(recovery, &found);
    return true;
}

static void *recovery_read_segments(void *argument) {
    struct recovery *recovery = argument;
    uint32_t count = recovery->view->segment_count;
    uint64_t segment;
    while ((segment = atomic_fetch_add(&recovery->next, 1)) < count) {
        if (recovery_gives_up(recovery)) {
            break;
        }
        if (!recovery_read_segment(recovery, (uint32_t)segment)) {
            atomic_store(&recovery->failed, true);
        }
    }
    return NULL;
}

/* Gives an old version the expiry of the record that has the key's slot. No other thread reads the
 * old version, because no slot points to it. */
static void recovery_shorten(struct recovery *recovery, const struct segment_cursor *cursor) {
    uint64_t hash = hash_key(recovery->view->hash_seed, cursor->record.key);
    struct layout_bucket *bucket = index_lock(recovery->index, hash);
    struct lookup_hit hit;
    if (index_find(recovery->index, bucket, hash, cursor->record.key, &hit) &&
        recovery_expires_later(&cursor->record, &hit.record, recovery->now_s)) {
        record_shorten(cursor->at, hit.record.expiry_s, cursor->crc_seed);
    }
    index_unlock(bucket);
}

static void *recovery_shorten_segments(void *argument) {
    struct recovery *recovery = argument;
    uint64_t segment;
    while ((segment = atomic_fetch_add(&recovery->next, 1)) < recovery->view->segment_count) {
        if (recovery_gives_up(recovery)) {
            break; /* the expiries changed so far are right; the next start continues */
        }
        const struct layout_segment *info = &recovery->view->segments[segment];
        if (atomic_load(&info->state) == LAYOUT_SEGMENT_FREE) {
            continue;
        }
        struct segment_cursor cursor;
        segment_walk(&cursor, &recovery->target->data, (uint32_t)segment, atomic_load(&info->fill));
        while (segment_next(&cursor)) {
            if (cursor.record.kind == LAYOUT_VALUE) {
                recovery_shorten(recovery, &cursor);
            }
        }
    }
    return NULL;
}

/* Whether a flush deleted the item that a slot points to; known only after all segments have been
 * walked. */
static bool recovery_flushed(const struct recovery *recovery, uint64_t slot, size_t *size) {
    size_t room;
    struct record record;
    struct layout_record *at = lookup_record(recovery->view, layout_slot_location(slot), &room);
    bool readable = at != NULL && record_read(at, room, &record);
    assert(readable);
    (void)readable;
    *size = record_stored_size(at);
    return record.sequence <= recovery->flushed;
}

/* Removes from a chain the slots whose records no client may see. */
static void recovery_prune_bucket(struct recovery *recovery, struct layout_bucket *primary) {
    for (struct layout_bucket *bucket = primary; bucket != NULL;
         bucket = lookup_next_bucket(recovery->view, atomic_load(&bucket->word))) {
        for (int i = 0; i < LAYOUT_SLOTS; i++) {
            uint64_t slot = atomic_load(&bucket->slots[i]);
            if (slot == 0) {
                continue;
            }
            size_t size = 0;
            bool drop = layout_slot_frequency(slot) == RECOVERY_DROP;
            if (!drop && recovery->flushed > 0 && recovery_flushed(recovery, slot, &size)) {
                recovery_count(recovery, slot, size, false);
                drop = true;
            }
            if (drop) {
                atomic_store(&bucket->slots[i], 0);
                atomic_fetch_sub(&recovery->view->index->items, 1);
            }
        }
    }
}

static void *recovery_prune_buckets(void *argument) {
    struct recovery *recovery = argument;
    struct lookup_view *view = recovery->view;
    uint64_t count = atomic_load(&view->index->bucket_count);
    uint64_t first;
    while ((first = atomic_fetch_add(&recovery->next, RECOVERY_BUCKETS)) < count) {
        if (recovery_gives_up(recovery)) {
            break;
        }
        for (uint64_t i = first; i < first + RECOVERY_BUCKETS && i < count; i++) {
            recovery_prune_bucket(recovery, &view->buckets[i]);
        }
    }
    return NULL;
}

/* Runs one step on this thread and on further threads. */
static void recovery_run_step(struct recovery *recovery, void *(*step)(void *)) {
    pthread_t threads[RECOVERY_THREADS_MAX];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int more = processors > RECOVERY_THREADS_MAX ? RECOVERY_THREADS_MAX : (int)processors;
    int started = 0;
    atomic_store(&recovery->next, 0);
    while (started < more - 1 && pthread_create(&threads[started], NULL, step, recovery) == 0) {
        started++;
    }
    step(recovery);
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void recovery_restore_numbers(struct recovery *recovery) {
    struct layout_index_header *index = recovery->view->index;
    /* Higher than any sequence that was given out, even if its record is lost
     * (header_notes_begin). */
    uint64_t given_out = atomic_load(&recovery->target->data.header->opened_sequence);
    if (given_out > LAYOUT_SEQUENCE_FILE_MAX) { /* no checksum covers this field */
        log_warning(
            "pool %s: the counter of writes in its file's header is damaged; recovery continues "
            "from the highest number in the records",
            recovery->target->name);
        given_out = recovery->sequence_max + LAYOUT_SEQUENCE_GAP;
        atomic_store(&recovery->target->data.header->opened_sequence, given_out);
    }
    atomic_store(&index->sequence,
                 given_out > recovery->sequence_max ? given_out : recovery->sequence_max);
    atomic_store(&index->flush_sequence, recovery->flushed);
    if (recovery->flush_due_s != 0) {
        atomic_store(&index->flush_due_sequence, recovery->flush_latest);
        atomic_store(&index->flush_due_s, recovery->flush_due_s);
    }
}

bool recovery_run(const struct recovery_target *target, uint32_t now_s) {
    uint64_t began_ns = clock_monotonic_ns();
    struct recovery recovery = {
        .target = target,
        .view = target->data.view,
        .index = target->index,
        .now_s = now_s,
    };
    pthread_mutex_init(&recovery.lock, NULL);
    recovery_run_step(&recovery, recovery_read_segments);
    if (!atomic_load(&recovery.failed)) {
        recovery_restore_numbers(&recovery);
        if (atomic_load(&recovery.needs_shortening)) {
            recovery_run_step(&recovery, recovery_shorten_segments);
        }
        recovery_run_step(&recovery, recovery_prune_buckets);
    }
    bool failed = atomic_load(&recovery.failed);
    if (!failed) {
        log_info(
            "pool %s: recovered %llu items (%llu bytes) from %u segments in %llu ms; dropped %llu "
            "torn records (%llu bytes between whole records)",
            target->name, (unsigned long long)atomic_load(&recovery.view->index->items),
            (unsigned long long)atomic_load(&recovery.view->index->live_bytes), recovery.segments,
            (unsigned long long)((clock_monotonic_ns() - began_ns) / 1000000),
            (unsigned long long)recovery.torn_records, (unsigned long long)recovery.torn_bytes);
    }
    pthread_mutex_destroy(&recovery.lock);
    return !failed;
}
