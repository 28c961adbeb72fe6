#include "store/change.h"

#include "base/hash.h"

#include <sched.h>

/* The state of one attempt; the bucket is locked. */
struct change_attempt {
    struct pool *pool;
    struct store_thread *thread;
    uint64_t hash;
    struct bytes key;
    struct layout_bucket *bucket;
    bool present;               /* `hit` is filled in; the item may be invisible to clients */
    const struct record *old;   /* the item that a client can see, or NULL */
    const struct record *ended; /* the version that must not reappear: the visible one, or one that
                                   only a wrong clock hides; or NULL */
    struct lookup_hit hit;
    struct change change;
    bool missed;    /* the removed version was not visible: the client gets NOT_FOUND */
    bool removes;   /* no item is visible afterwards */
    bool tombstone; /* a tombstone must be written, or an older version would reappear */
    bool in_place;  /* only the expiry changes, and the record stays where it is */
    size_t size;    /* of all that is appended */
    enum segment_purpose purpose;
    uint64_t flushed; /* item_flush_sequence, read before the look-up */
};

static bool change_expires_sooner(uint32_t expiry_s, uint32_t than_s) {
    return expiry_s != 0 && (than_s == 0 || expiry_s < than_s);
}

static struct record change_tombstone(const struct change_attempt *attempt) {
    return (struct record){
        .kind = LAYOUT_TOMBSTONE,
        .paired = !attempt->removes,
        .expiry_s = attempt->ended->expiry_s,
        .key = attempt->key,
    };
}

/* Keeps the time when the item was first stored, so that storing it again does not extend
 * max_lifetime. */
static void change_limit_lifetime(struct change_attempt *attempt) {
    uint32_t max_lifetime_s = attempt->pool->options.max_lifetime_s;
    struct record *record = &attempt->change.record;
    record->created_s = attempt->old != NULL ? attempt->old->created_s : 0;
    if (max_lifetime_s == 0) {
        return;
    }
    if (record->created_s == 0) {
        record->created_s = attempt->thread->now_s;
    }
    uint64_t end_s = (uint64_t)record->created_s + max_lifetime_s;
    if (end_s < LAYOUT_NEVER && (record->expiry_s == 0 || record->expiry_s > end_s)) {
        record->expiry_s = (uint32_t)end_s;
    }
}

/* For a change that writes nothing: its reply depends on what was found. */
static void change_note_rest(const struct change_attempt *attempt) {
    struct sync *sync = &attempt->pool->sync;
    struct sync_thread *thread = pool_sync_thread(attempt->pool, attempt->thread);
    if (attempt->present) {
        sync_note_record(sync, thread, &attempt->hit.record);
    }
    if (attempt->old == NULL) {
        sync_note_missing(sync, thread);
    }
}

/* Whether an item that clients do not see may be visible again when a wrong clock is corrected: it
 * was not flushed, and has not expired by the trusted time. */
static bool change_may_return(const struct pool *pool, const struct record *record) {
    return item_visible(&pool->view, record, expiry_clock_free_s(&pool->expiry_clock));
}

/* Whether the change sets nothing but the expiry and the access time. */
static bool change_is_touch(const struct change_attempt *attempt) {
    const struct record *record = &attempt->change.record;
    const struct record *old = attempt->old;
    return attempt->change.keep_reads && old != NULL && record->value.data == old->value.data &&
           record->value.size == old->value.size && record->value_tail.size == 0 &&
           record->client_flags == old->client_flags && record->cas == old->cas &&
           record->created_s == old->created_s && record->stale == old->stale &&
           record->token_sent == old->token_sent;
}

/* Whether the change may be made in place. In a persistent pool an earlier expiry is never set in
 * place: the file may have older versions of the item that expire later than that. Only a tombstone
 * keeps such versions deleted. Its sequence would have to be above theirs and below the item's, but
 * every new sequence is above the item's. */
static bool change_may_be_in_place(const struct change_attempt *attempt) {
    const struct record *old = attempt->old;
    return !attempt->removes && !attempt->tombstone && change_is_touch(attempt) && old->touchable &&
           !old->touch_damaged && old->touches < LAYOUT_TOUCHES_MAX;
}

/* The bytes that the change appends. A value of a page or more is made touchable. For a smaller
 * value a touch in place saves nothing: it makes one page of the file dirty, and so does a copy of
 * the record, which shares its page with other new records. */
static size_t change_appended_size(struct change_attempt *attempt) {
    struct record *record = &attempt->change.record;
    size_t size = 0;
    if (attempt->in_place) {
        return 0;
    }
    if (attempt->tombstone) {
        struct record tombstone = change_tombstone(attempt);
        size += record_size(&tombstone);
    }
    if (attempt->removes) {
        return size;
    }
    record->touchable =
        !attempt->change.verbatim && record->value.size + record->value_tail.size >= LAYOUT_PAGE;
    if (size + record_size(record) > segment_capacity(&attempt->pool->view)) {
        record->touchable = false; /* in a file of an earlier version, the largest item may fit only
                                      without a touch */
    }
    return size + record_size(record);
}

/* Whether the change leaves the record as it is, but for the access. */
static bool change_keeps_expiry(const struct change_attempt *attempt) {
    return attempt->in_place && attempt->change.record.expiry_s == attempt->old->expiry_s;
}

/* Charges what the change writes: the records that it appends, or the page with an expiry that it
 * changes in place. */
static void change_charge(const struct change_attempt *attempt) {
    uint64_t touched = attempt->in_place && !change_keeps_expiry(attempt) ? LAYOUT_PAGE : 0;
    store_thread_charge(attempt->thread,
                        (attempt->size + touched) *
                            (attempt->pool->header != NULL ? STORE_FILE_FACTOR : 1));
}

/* Looks the item up, lets the planner decide, and plans the records to write. */
static enum status change_plan(struct change_attempt *attempt, change_planner planner,
                               void *request) {
    struct pool *pool = attempt->pool;
    uint32_t now_s = attempt->thread->now_s;
    attempt->present =
        index_find(&pool->index, attempt->bucket, attempt->hash, attempt->key, &attempt->hit);
    if (attempt->present) {
        attempt->thread->ttl_class =
            segment_table_class(&pool->view, layout_slot_location(attempt->hit.slot_value));
    }
    attempt->old = attempt->present && item_visible(&pool->view, &attempt->hit.record, now_s)
                       ? &attempt->hit.record
                       : NULL;
    attempt->ended = attempt->old;
    if (attempt->present && attempt->old == NULL && change_may_return(pool, &attempt->hit.record)) {
        attempt->ended = &attempt->hit.record;
    }
    attempt->change = (struct change){.action = CHANGE_NOTHING,
                                      .present = attempt->present ? &attempt->hit.record : NULL};
    enum status status = planner(request, attempt->old, now_s, &attempt->change);
    attempt->missed = status == STATUS_NOT_FOUND && attempt->change.action == CHANGE_REMOVE &&
                      attempt->ended != NULL;
    if (attempt->missed) {
        status = STATUS_OK;
    }
    if (status != STATUS_OK || attempt->change.action == CHANGE_NOTHING) {
        change_note_rest(attempt);
        return status;
    }
    struct record *record = &attempt->change.record;
    if (attempt->change.action == CHANGE_WRITE &&
        attempt->key.size + record->value.size + record->value_tail.size >
            pool->options.item_max_bytes) {
        return STATUS_TOO_LARGE;
    }
    record->kind = LAYOUT_VALUE;
    record->key = attempt->key;
    if (!attempt->change.verbatim) {
        record->accessed_s = now_s;
        change_limit_lifetime(attempt);
    }
    attempt->removes =
        attempt->change.action == CHANGE_REMOVE || record_expired(record->expiry_s, now_s);
    /* Without a tombstone, the old version would reappear after the new version is gone (invariant
     * 1). */
    attempt->tombstone =
        pool->header != NULL && attempt->ended != NULL &&
        (attempt->removes || change_expires_sooner(record->expiry_s, attempt->ended->expiry_s));
    attempt->in_place = change_may_be_in_place(attempt);
    attempt->size = change_appended_size(attempt);
    change_charge(attempt);
    bool is_new = attempt->old == NULL && !attempt->change.verbatim;
    attempt->purpose = attempt->removes ? SEGMENT_FOR_REMOVAL
                       : is_new         ? SEGMENT_FOR_NEW
                                        : SEGMENT_FOR_UPDATE;
    return STATUS_OK;
}

static bool change_over_limit(const struct change_attempt *attempt) {
    const struct pool *pool = attempt->pool;
    /* relaxed: concurrent writers may exceed the limit by a few records */
    return !pool->options.evict && attempt->purpose == SEGMENT_FOR_NEW &&
           segment_table_needed_bytes(&pool->view) + attempt->size >
               atomic_load_explicit(&pool->live_limit_bytes, memory_order_relaxed);
}

/* Writes the tombstone, if the change needs one. Returns where the item's own record goes. */
static struct segment_place change_write_tombstone(struct change_attempt *attempt,
                                                   struct segment_place place, uint64_t sequence) {
    struct pool *pool = attempt->pool;
    struct record tombstone = change_tombstone(attempt);
    tombstone.sequence = sequence;
    size_t size = record_size(&tombstone);
    record_write(place.at, &tombstone, place.crc_seed);
    segment_table_count_tombstone(&pool->view, place.location, size);
    segment_table_note_due(&pool->view, place.location,
                           tombstone.expiry_s == 0 ? LAYOUT_NEVER : tombstone.expiry_s);
    place.at = (struct layout_record *)(void *)((char *)place.at + size);
    place.location += size / LAYOUT_ALIGN;
    return place;
}

/* The read count that the new record begins with. */
static unsigned change_reads_before(const struct change_attempt *attempt) {
    return attempt->old != NULL && attempt->change.keep_reads
               ? layout_slot_frequency(attempt->hit.slot_value)
               : 0;
}

/* Fills in the caller's `result` from `record`. */
static void change_report(const struct change_attempt *attempt, const struct record *record,
                          struct item *result) {
    item_describe(record, change_reads_before(attempt), result);
    if (attempt->old != NULL && attempt->change.keep_reads) {
        result->accessed_s = attempt->old->accessed_s;
    }
}

/* Points the key's slot at the new record. */
static void change_publish(struct change_attempt *attempt, uint64_t location, size_t size) {
    struct pool *pool = attempt->pool;
    unsigned frequency = change_reads_before(attempt);
    if (attempt->change.reads) {
        frequency = change_count_read(pool, attempt->thread, frequency, (uint32_t)location);
    }
    uint64_t slot = layout_slot(attempt->hash, frequency, location);
    segment_table_count_live(&pool->view, location, size);
    if (attempt->present) {
        /* release: publishes the record */
        atomic_store_explicit(attempt->hit.slot, slot, memory_order_release);
    } else {
        index_fill_slot(&pool->index, attempt->hit.slot, slot);
    }
}

static void change_count_old_dead(struct change_attempt *attempt) {
    if (attempt->present) {
        struct pool *pool = attempt->pool;
        segment_table_count_dead(&pool->view, layout_slot_location(attempt->hit.slot_value),
                                 record_stored_size(attempt->hit.at),
                                 attempt->hit.record.sequence <= attempt->flushed);
        room_note_dead_record(&pool->room);
    }
}

/* Takes the sequence numbers for the records of this change and returns the last one; 0: a flush
 * began after the item was looked up. If no flush has been announced when the sequences have been
 * taken, a later flush has a higher number and deletes this record too. So no item survives a
 * flush. */
static uint64_t change_take_sequence(struct change_attempt *attempt) {
    struct pool *pool = attempt->pool;
    unsigned count = attempt->tombstone ? 2 : 1;
    uint64_t last = pool_next_sequences(pool, count) + count - 1;
    return item_flush_sequence(&pool->view) == attempt->flushed ? last : 0;
}

/* Fills reserved room that will not be used, so that walks reach the records behind it. The bytes
 * have a wrong CRC, so no walk takes them for a record. In a volatile pool, which has no CRCs,
 * their sequence marks them as flushed. */
static void change_fill_hole(struct change_attempt *attempt, struct segment_place place) {
    uint32_t wrong_seed = place.crc_seed == 0 ? 0 : place.crc_seed ^ UINT32_C(1) << 31;
    wrong_seed = place.crc_seed != 0 && wrong_seed == 0 ? 1 : wrong_seed;
    if (attempt->tombstone) {
        struct record tombstone = change_tombstone(attempt);
        tombstone.sequence = attempt->flushed;
        record_write(place.at, &tombstone, wrong_seed);
        place.at = (struct layout_record *)(void *)((char *)place.at + record_size(&tombstone));
    }
    if (!attempt->removes) {
        attempt->change.record.sequence = attempt->flushed;
        record_write(place.at, &attempt->change.record, wrong_seed);
    }
}

/* Writes and publishes the planned change. */
static void change_commit(struct change_attempt *attempt, struct segment_place place,
                          uint64_t sequence, struct item *result) {
    struct pool *pool = attempt->pool;
    struct record *record = &attempt->change.record;
    record->sequence = sequence;
    if (attempt->tombstone) {
        /* Consecutive numbers tell recovery that the two are a pair (segment_tombstone_counts). */
        place = change_write_tombstone(attempt, place, sequence - 1);
    }
    if (!attempt->removes) {
        record_write(place.at, record, place.crc_seed);
    }
    /* Called after the records are written, so that the next sync covers them, and before the slot
     * changes, so that a reader who sees the change also sees this note (pool_take_ticket). */
    sync_note_client_write(&pool->sync, pool_sync_thread(pool, attempt->thread), attempt->size);
    if (attempt->removes) {
        if (result != NULL) {
            change_report(attempt, record, result);
        }
        sync_note_removal(&pool->sync, record->sequence);
        if (attempt->present) {
            index_remove(&pool->index, attempt->bucket, attempt->hit.slot);
        }
        change_count_old_dead(attempt);
        return;
    }
    attempt->thread->ttl_class = segment_table_class(&pool->view, place.location);
    size_t size = record_stored_size(place.at);
    segment_table_note_due(&pool->view, place.location, item_due_s(&pool->view, record));
    change_publish(attempt, place.location, size);
    change_count_old_dead(attempt);
    if (result != NULL) {
        struct record written;
        record_read(place.at, record_size(record), &written);
        change_report(attempt, &written, result);
    }
}

/* Changes the expiry in the record itself. */
static void change_touch(struct change_attempt *attempt, uint64_t sequence) {
    struct pool *pool = attempt->pool;
    const struct record *record = &attempt->change.record;
    uint64_t location = layout_slot_location(attempt->hit.slot_value);
    /* The segment table is changed before the record, so that the janitor never regards the segment
     * as expired. */
    struct layout_segment *info =
        &pool->view.segments[lookup_location_segment(&pool->view, location)];
    segment_note_expiry(info, record->expiry_s);
    segment_note_due(info, item_due_s(&pool->view, record));
    record_touch(attempt->hit.at, record->expiry_s, sequence);
}

/* Notes the access and, unless `sequence` is 0, changes the expiry, in the record itself. Fills in
 * `result`. */
static void change_in_place(struct change_attempt *attempt, uint64_t sequence,
                            struct item *result) {
    struct pool *pool = attempt->pool;
    struct store_thread *thread = attempt->thread;
    struct layout_record *at = attempt->hit.at;
    if (sequence != 0) {
        change_touch(attempt, sequence);
    }
    record_note_access(at, thread->now_s);
    /* Called after the record has changed, so that the next sync covers that. A reader may have
     * seen the change before this note (sync_note_record). */
    if (sequence != 0) {
        sync_note_client_write(&pool->sync, pool_sync_thread(pool, thread), LAYOUT_PAGE);
    } else {
        if (pool->header != NULL && thread->now_s > attempt->old->accessed_s) {
            sync_note_write(&pool->sync); /* as note_access in operations.c */
        }
        change_note_rest(attempt);
    }
    if (attempt->change.reads) {
        change_note_read(pool, thread, &attempt->hit);
    }
    if (result != NULL) {
        struct record changed;
        record_read(at, record_stored_size(at), &changed);
        change_report(attempt, &changed, result);
    }
}

enum change_outcome { CHANGE_DONE, CHANGE_BESIDE_FLUSH, CHANGE_WITHOUT_ROOM };

/* One attempt under the lock. `*outcome`: done, with the returned status; or why nothing was done.
 */
static enum status change_attempt(struct change_attempt *attempt, change_planner planner,
                                  void *request, struct item *result,
                                  enum change_outcome *outcome) {
    struct pool *pool = attempt->pool;
    struct segment_place place = {0};
    *outcome = CHANGE_DONE;
    attempt->flushed = item_flush_sequence(&pool->view);
    if (attempt->flushed == LAYOUT_FLUSHING) {
        *outcome = CHANGE_BESIDE_FLUSH;
        return STATUS_OK;
    }
    enum status status = change_plan(attempt, planner, request);
    if (status != STATUS_OK) {
        return status;
    }
    if (attempt->change.action == CHANGE_NOTHING) {
        if (result != NULL && attempt->old != NULL) {
            item_describe(attempt->old, layout_slot_frequency(attempt->hit.slot_value), result);
        }
        return STATUS_OK;
    }
    if (!attempt->present && !attempt->removes) {
        /* Done before the record is written, or recovery would find an item that was refused. */
        attempt->hit.slot = index_free_slot(&pool->index, attempt->bucket);
        if (attempt->hit.slot == NULL) {
            return STATUS_INDEX_FULL;
        }
    }
    if (attempt->size > 0) {
        if (change_over_limit(attempt)) {
            room_note_full(pool);
            return STATUS_NO_MEMORY;
        }
        uint32_t useful_until_s = attempt->removes ? 0 : attempt->change.record.expiry_s;
        if (attempt->tombstone) {
            useful_until_s = attempt->ended->expiry_s; /* the later of the two */
        }
        bool may_open = !room_is_claimed(&pool->room, attempt->thread);
        if (!(may_open ? segments_reserve : segments_append)(&pool->segments, attempt->purpose,
                                                             attempt->thread->now_s, useful_until_s,
                                                             attempt->size, &place)) {
            *outcome = CHANGE_WITHOUT_ROOM;
            return STATUS_NO_MEMORY;
        }
    }
    bool keeps_expiry = change_keeps_expiry(attempt);
    uint64_t sequence = keeps_expiry ? 0 : change_take_sequence(attempt);
    if (sequence == 0 && !keeps_expiry) {
        if (attempt->size > 0) {
            change_fill_hole(attempt, place);
        }
        *outcome = CHANGE_BESIDE_FLUSH;
        return STATUS_OK;
    }
    if (attempt->in_place) {
        change_in_place(attempt, sequence, result);
    } else {
        change_commit(attempt, place, sequence, result);
    }
    room_end_claim(&pool->room, attempt->thread);
    return attempt->missed ? STATUS_NOT_FOUND : STATUS_OK;
}

enum status change_run(struct pool *pool, struct store_thread *thread, struct bytes key,
                       change_planner planner, void *request, struct item *result) {
    struct change_attempt attempt = {.pool = pool, .thread = thread, .key = key};
    attempt.hash = hash_key(pool->view.hash_seed, key);
    store_thread_charge(thread, STORE_LOOKUP_BYTES);
    for (;;) {
        if (pool_is_read_only(pool)) {
            return STATUS_READ_ONLY;
        }
        enum change_outcome outcome;
        attempt.bucket = index_lock(&pool->index, attempt.hash);
        enum status status = change_attempt(&attempt, planner, request, result, &outcome);
        index_unlock(attempt.bucket);
        if (outcome == CHANGE_DONE) {
            if (status == STATUS_INDEX_FULL) {
                index_note_refused(&pool->index, &pool->options);
            }
            index_grow(&pool->index);
            if (segments_are_few(&pool->segments)) {
                room_wake(&pool->room);
            }
            return status;
        }
        if (outcome == CHANGE_BESIDE_FLUSH) {
            sched_yield(); /* the flush takes its number very soon */
            continue;
        }
        status = room_ask(pool, thread, attempt.purpose);
        if (status != STATUS_OK) {
            if (attempt.purpose == SEGMENT_FOR_NEW && status == STATUS_NO_MEMORY) {
                room_note_full(pool);
            }
            return status;
        }
    }
}

/* One evaluation under the lock. */
static enum status change_evaluate_locked(struct change_attempt *attempt, change_planner planner,
                                          void *request, change_taker *take, void *context,
                                          struct item *result) {
    attempt->flushed = item_flush_sequence(&attempt->pool->view);
    enum status status = change_plan(attempt, planner, request);
    bool removes = attempt->change.action == CHANGE_REMOVE;
    if (status != STATUS_OK && !(status == STATUS_NOT_FOUND && removes)) {
        return status;
    }
    if (attempt->change.action == CHANGE_NOTHING) {
        if (result != NULL && attempt->old != NULL) {
            item_describe(attempt->old, layout_slot_frequency(attempt->hit.slot_value), result);
        }
        return status;
    }
    if (!removes && change_over_limit(attempt)) {
        room_note_full(attempt->pool);
        return STATUS_NO_MEMORY;
    }
    const struct change_evaluation evaluation = {
        .old = attempt->old,
        .present = attempt->present ? &attempt->hit.record : NULL,
        .record = removes ? NULL : &attempt->change.record,
        .frequency = attempt->present ? layout_slot_frequency(attempt->hit.slot_value) : 0,
        .keep_reads = attempt->change.keep_reads,
        .independent = attempt->change.independent,
    };
    if (!take(context, &evaluation)) {
        return STATUS_NO_MEMORY;
    }
    return removes && attempt->old == NULL ? STATUS_NOT_FOUND : STATUS_OK;
}

enum status change_evaluate(struct pool *pool, struct store_thread *thread, struct bytes key,
                            change_planner planner, void *request, change_taker *take,
                            void *context, struct item *result) {
    struct change_attempt attempt = {.pool = pool, .thread = thread, .key = key};
    attempt.hash = hash_key(pool->view.hash_seed, key);
    store_thread_charge(thread, STORE_LOOKUP_BYTES);
    if (pool_is_read_only(pool)) {
        return STATUS_READ_ONLY;
    }
    attempt.bucket = index_lock(&pool->index, attempt.hash);
    enum status status = change_evaluate_locked(&attempt, planner, request, take, context, result);
    index_unlock(attempt.bucket);
    return status;
}
