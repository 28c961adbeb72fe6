/* The operations on items that pool.h declares: a planner for each (change.h), and its counters. */
#include "store/operations.h"

#include "base/hash.h"
#include "base/number.h"
#include "store/change.h"
#include "store/pool_counters.h"
#include "store/replicate.h"

#include <sched.h>

enum {
    OPERATION_PREFETCH_BYTES = 320, /* most records are not larger */
    OPERATION_SPINS = 1000,         /* after this many tries, yields to the writer in the bucket */
};

static void count(struct pool *pool, struct store_thread *thread, enum pool_counter counter) {
    pool_add(pool, thread->index, counter, 1);
}

/* As operations_find, inline: in the read path a call would cost measurable time. */
static inline bool find(struct pool *pool, struct bytes key, struct lookup_hit *hit) {
    uint64_t hash = hash_key(pool->view.hash_seed, key);
    for (int spins = 0;; spins++) {
        enum lookup_outcome outcome = lookup_find(&pool->view, hash, key, hit);
        if (outcome != LOOKUP_BUSY) {
            return outcome == LOOKUP_FOUND;
        }
        if (spins == OPERATION_SPINS) {
            sched_yield();
            spins = 0;
        }
    }
}

bool operations_find(struct pool *pool, struct bytes key, struct lookup_hit *hit) {
    return find(pool, key, hit);
}

/* How old the last noted access must be before a read notes a new one; UINT32_MAX: no access is
 * noted. In a persistent pool a note makes a page dirty, so reads are noted only if the pool has an
 * idle timeout, or evicts. If it only evicts, they are noted as often as other processes report
 * reads (access_reports.h). In a replicated pool a note becomes a write to the log. */
static uint32_t note_interval_s(const struct pool *pool) {
    if (!pool->options.persist || pool->options.idle_timeout_s != 0) {
        return pool->options.partitions == 0 ? 1 : replicate_access_interval_s(pool);
    }
    return pool->options.evict
               ? atomic_load_explicit(&pool->view.index->report_after_s, memory_order_relaxed)
               : UINT32_MAX; /* relaxed: a number */
}

/* Notes when an item was read. */
static void note_access(struct pool *pool, struct store_thread *thread, struct lookup_hit *hit) {
    uint32_t interval_s = note_interval_s(pool);
    _Atomic uint32_t *accessed_s = &hit->at->accessed_s;
    /* relaxed: it publishes nothing */
    if (interval_s == UINT32_MAX ||
        (uint64_t)atomic_load_explicit(accessed_s, memory_order_relaxed) + interval_s >
            thread->now_s) {
        return;
    }
    record_note_access(hit->at, thread->now_s);
    if (pool->options.persist) {
        sync_note_write(&pool->sync);
    }
    /* If compaction moved the record before the access was noted, the copy must get the access as
     * well. Compaction publishes the copy, and then reads the access (compaction_decide). All four
     * accesses are seq_cst, so at least one side sees the other. */
    struct lookup_hit moved;
    if (layout_slot_location(atomic_load(hit->slot)) != layout_slot_location(hit->slot_value) &&
        operations_find(pool, hit->record.key, &moved)) {
        record_note_access(moved.at, thread->now_s);
    }
    if (pool->options.partitions != 0) {
        replicate_access(pool, hit->record.key);
    }
}

/* Counts a look-up: a hit, a miss because the item found was expired or flushed, or a plain miss.
 */
static void count_get(struct pool *pool, struct store_thread *thread, bool visible, bool found,
                      const struct record *record) {
    count(pool, thread, POOL_CMD_GET);
    if (visible) {
        count(pool, thread, POOL_GET_HITS);
        return;
    }
    count(pool, thread, POOL_GET_MISSES);
    if (found) {
        bool expired = item_expired(&pool->view, record, thread->now_s);
        count(pool, thread, expired ? POOL_GET_EXPIRED : POOL_GET_FLUSHED);
    }
}

/* Looks up an item for a reply; every read begins here. Returns whether a client may see the item.
 * During a flush, items are hidden although the flush's record may not be written yet. So this
 * waits until the flush has ended, which takes a moment. */
static inline bool find_to_tell(struct pool *pool, struct store_thread *thread, struct bytes key,
                                struct lookup_hit *hit, bool *found) {
    store_thread_charge(thread, STORE_LOOKUP_BYTES);
    *found = find(pool, key, hit);
    bool visible = *found && item_visible(&pool->view, &hit->record, thread->now_s);
    while (*found && !visible && item_flush_sequence(&pool->view) == LAYOUT_FLUSHING) {
        sched_yield();
    }
    if (*found) {
        sync_note_record(&pool->sync, pool_sync_thread(pool, thread), &hit->record);
    }
    if (!visible) {
        sync_note_missing(&pool->sync, pool_sync_thread(pool, thread));
    }
    return visible;
}

enum status pool_get(struct pool *pool, struct store_thread *thread, struct bytes key,
                     struct item *item) {
    struct lookup_hit hit;
    bool found;
    bool visible = find_to_tell(pool, thread, key, &hit, &found);
    count_get(pool, thread, visible, found, &hit.record);
    if (!visible) {
        return STATUS_NOT_FOUND;
    }
    item_describe(&hit.record, layout_slot_frequency(hit.slot_value), item);
    note_access(pool, thread, &hit);
    change_note_read(pool, thread, &hit);
    return STATUS_OK;
}

/* Prefetches the cache lines of one record. */
static void prefetch_record(const struct lookup_view *view, uint64_t location) {
    size_t room;
    const char *at = (const char *)lookup_record(view, location, &room);
    if (at == NULL) {
        return;
    }
    for (size_t line = 0; line < OPERATION_PREFETCH_BYTES && line < room; line += 64) {
        __builtin_prefetch(at + line);
    }
}

void pool_prefetch(struct pool *pool, const struct bytes *keys, unsigned count) {
    const struct lookup_view *view = &pool->view;
    /* acquire, as in lookup_find; all that is read here is a hint */
    uint64_t buckets = atomic_load_explicit(&view->index->bucket_count, memory_order_acquire);
    const struct layout_bucket *bucket[POOL_PREFETCH_MAX];
    uint64_t tags[POOL_PREFETCH_MAX];
    for (unsigned i = 0; i < count; i++) {
        uint64_t hash = hash_key(view->hash_seed, keys[i]);
        bucket[i] = &view->buckets[lookup_bucket_number(hash, buckets)];
        tags[i] = hash >> 48;
        __builtin_prefetch(bucket[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        for (int j = 0; j < LAYOUT_SLOTS; j++) {
            uint64_t slot = atomic_load_explicit(&bucket[i]->slots[j], memory_order_relaxed);
            if (slot != 0 && slot >> 48 == tags[i]) {
                prefetch_record(view, layout_slot_location(slot));
                break;
            }
        }
    }
}

/* Begins a change that writes the item as it is; the planner then changes parts of it. */
static void keep_item(struct change *change, const struct record *old) {
    change->action = CHANGE_WRITE;
    change->keep_reads = true;
    change->record = *old;
}

struct fetch_plan {
    const struct pool_fetch *request;
    struct pool_fetched *result;
    bool hit;
    bool found; /* an item, before the change */
    struct lookup_hit before;
};

/* Whether the caller must refresh this item (meta: W). */
static bool fetch_wins(const struct pool_fetch *request, bool stale, bool token_sent,
                       uint32_t expiry_s, uint32_t now_s) {
    bool expires_soon =
        request->recache && expiry_s != 0 && expiry_s < (uint64_t)now_s + request->recache_s;
    return !token_sent && ((request->win_stale && stale) || expires_soon);
}

static enum status plan_fetch(void *plan, const struct record *old, uint32_t now_s,
                              struct change *change) {
    struct fetch_plan *fetch = plan;
    const struct pool_fetch *request = fetch->request;
    struct pool_fetched *result = fetch->result;
    *result = (struct pool_fetched){0};
    fetch->hit = old != NULL;
    if (old == NULL) {
        if (!request->create) {
            return STATUS_NOT_FOUND;
        }
        change->action = CHANGE_WRITE;
        change->record.value = bytes_from_string(""); /* never NULL, because callers copy it */
        change->record.expiry_s = request->create_expiry_s;
        change->record.cas = request->set_cas ? request->new_cas : 0;
        change->record.token_sent = true; /* this caller has won the item */
        change->reads = !request->unnoticed;
        result->created = true;
        result->won = true;
        return STATUS_OK;
    }
    result->token_sent = old->token_sent;
    result->expiry_before_s = old->expiry_s;
    uint32_t expiry_s = request->touch ? request->touch_expiry_s : old->expiry_s;
    result->won = fetch_wins(request, old->stale, old->token_sent,
                             request->recache_first ? old->expiry_s : expiry_s, now_s);
    if (request->touch || result->won) {
        keep_item(change, old);
        change->reads = !request->unnoticed;
        change->record.expiry_s = expiry_s;
        change->record.token_sent = old->token_sent || result->won;
    }
    return STATUS_OK;
}

/* Whether the request can be answered without a change, which is the usual case and needs no lock.
 */
static bool fetch_changes_nothing(const struct pool_fetch *request, const struct lookup_hit *hit,
                                  bool visible, uint32_t now_s) {
    return visible ? !fetch_wins(request, hit->record.stale, hit->record.token_sent,
                                 hit->record.expiry_s, now_s)
                   : !request->create;
}

/* Looks the item up and answers the request if no change is needed. If a change is needed, leaves
 * the counters and the item alone, because the change may be put off and run again. */
static bool fetch_unchanged(struct pool *pool, struct store_thread *thread, struct bytes key,
                            struct fetch_plan *fetch, enum status *status) {
    const struct pool_fetch *request = fetch->request;
    struct lookup_hit *hit = &fetch->before;
    bool visible = find_to_tell(pool, thread, key, hit, &fetch->found);
    if (!fetch_changes_nothing(request, hit, visible, thread->now_s)) {
        return false;
    }
    count_get(pool, thread, visible, fetch->found, &hit->record);
    *status = visible ? STATUS_OK : STATUS_NOT_FOUND;
    if (visible) {
        struct pool_fetched *result = fetch->result;
        item_describe(&hit->record, layout_slot_frequency(hit->slot_value), &result->item);
        result->token_sent = hit->record.token_sent;
        result->expiry_before_s = hit->record.expiry_s;
        if (!request->unnoticed) {
            note_access(pool, thread, hit);
            change_note_read(pool, thread, hit);
        }
    }
    return true;
}

enum status pool_fetch(struct pool *pool, struct store_thread *thread, struct bytes key,
                       const struct pool_fetch *request, struct pool_fetched *result) {
    *result = (struct pool_fetched){0};
    struct fetch_plan fetch;
    fetch.request = request;
    fetch.result = result;
    fetch.hit = false;
    fetch.found = false;
    enum status status = request->fresh ? replicate_refresh(pool, thread, key) : STATUS_OK;
    if (status != STATUS_OK) {
        return status;
    }
    if (!request->touch && !replicate_is_acknowledged(pool, thread) &&
        fetch_unchanged(pool, thread, key, &fetch, &status)) {
        return status;
    }
    struct item item = {0};
    status = replicate_change(pool, thread, key, plan_fetch, &fetch, &item);
    result->item = item;
    if (status == STATUS_NEEDS_ROOM || status == STATUS_READ_ONLY) {
        return status; /* not counted: NEEDS_ROOM is run again, READ_ONLY has not looked the item up
                        */
    }
    if (!request->touch) {
        count_get(pool, thread, fetch.hit, fetch.found, &fetch.before.record);
        return status;
    }
    count(pool, thread, POOL_CMD_TOUCH);
    count(pool, thread, fetch.hit ? POOL_TOUCH_HITS : POOL_TOUCH_MISSES);
    if (fetch.hit) {
        pool_count_class(pool, thread, POOL_CLASS_TOUCH_HITS);
    }
    return status;
}

/* Compares the CAS of a store with that of the item. `*stale`: the store is an invalidation with a
 * lower CAS, and stores a stale item. */
static enum status compare_cas(const struct pool_store *request, const struct record *old,
                               bool *stale) {
    *stale = false;
    if (!request->compare_cas || request->cas == old->cas) {
        return STATUS_OK;
    }
    bool joins = request->mode == POOL_APPEND || request->mode == POOL_PREPEND;
    if (!joins && request->invalidate && request->cas != 0 && request->cas < old->cas) {
        *stale = true;
        return STATUS_OK;
    }
    return STATUS_EXISTS;
}

static enum status plan_store_missing(const struct pool_store *request, struct change *change) {
    struct record *record = &change->record;
    record->expiry_s = request->expiry_s;
    switch (request->mode) {
    case POOL_SET:
    case POOL_REPLACE:
        if (request->compare_cas) {
            return STATUS_NOT_FOUND;
        }
        if (request->mode == POOL_REPLACE) {
            return STATUS_NOT_STORED;
        }
        break;
    case POOL_ADD:
        break;
    case POOL_APPEND:
    case POOL_PREPEND:
        if (!request->create) {
            return STATUS_NOT_STORED;
        }
        record->expiry_s = request->create_expiry_s;
        break;
    }
    change->action = CHANGE_WRITE;
    return STATUS_OK;
}

static enum status plan_store(void *plan, const struct record *old, uint32_t now_s,
                              struct change *change) {
    (void)now_s;
    const struct pool_store *request = plan;
    struct record *record = &change->record;
    record->value = request->value;
    record->client_flags = request->client_flags;
    record->cas = request->set_cas ? request->new_cas : 0;
    change->independent = request->mode == POOL_SET && !request->compare_cas;
    if (old == NULL) {
        return plan_store_missing(request, change);
    }
    if (request->mode == POOL_ADD) {
        return STATUS_NOT_STORED;
    }
    bool stale;
    enum status status = compare_cas(request, old, &stale);
    if (status != STATUS_OK) {
        return status;
    }
    change->action = CHANGE_WRITE;
    record->expiry_s = stale ? old->expiry_s : request->expiry_s;
    record->stale = stale;
    record->token_sent = stale && old->token_sent;
    if (request->mode == POOL_APPEND || request->mode == POOL_PREPEND) {
        bool append = request->mode == POOL_APPEND;
        record->value = append ? old->value : request->value;
        record->value_tail = append ? request->value : old->value;
        record->client_flags = old->client_flags;
        record->expiry_s = old->expiry_s;
    }
    return STATUS_OK;
}

static void count_store(struct pool *pool, struct store_thread *thread, enum status status,
                        bool with_cas) {
    count(pool, thread, POOL_CMD_SET);
    switch (status) {
    case STATUS_OK:
        count(pool, thread, POOL_TOTAL_ITEMS);
        pool_count_class(pool, thread, POOL_CLASS_CMD_SET);
        if (with_cas) {
            count(pool, thread, POOL_CAS_HITS);
            pool_count_class(pool, thread, POOL_CLASS_CAS_HITS);
        }
        break;
    case STATUS_EXISTS:
        count(pool, thread, POOL_CAS_BADVAL);
        pool_count_class(pool, thread, POOL_CLASS_CAS_BADVAL);
        break;
    case STATUS_NOT_FOUND:
        count(pool, thread, POOL_CAS_MISSES);
        break;
    case STATUS_TOO_LARGE:
        count(pool, thread, POOL_STORE_TOO_LARGE);
        break;
    case STATUS_NO_MEMORY:
    case STATUS_INDEX_FULL:
        count(pool, thread, POOL_STORE_NO_MEMORY);
        break;
    default:
        break;
    }
}

enum status pool_store(struct pool *pool, struct store_thread *thread, struct bytes key,
                       const struct pool_store *request, struct item *result) {
    enum status status =
        replicate_change(pool, thread, key, plan_store, (void *)(uintptr_t)request, result);
    if (status != STATUS_NEEDS_ROOM) { /* counted when the change is done */
        count_store(pool, thread, status, request->compare_cas);
    }
    return status;
}

struct arithmetic_plan {
    struct store_thread *thread;
    const struct pool_arithmetic *request;
    bool hit;
    uint32_t expiry_before_s;
    uint64_t number;
    char text[NUMBER_DIGITS_MAX];
};

/* Parses the number at the start of a value as memcached does, with strtoull(3) and a check of the
 * next byte. White space and a sign may precede the number. White space or a zero byte ends it;
 * what follows is ignored. With a minus, the number must be 0. */
static bool parse_value(struct bytes value, uint64_t *number) {
    static const char ends[] = " \t\n\v\f\r"; /* including the terminating zero */
    while (value.size > 0 && value.data[0] != 0 && memchr(ends, value.data[0], sizeof ends)) {
        value.data++;
        value.size--;
    }
    bool negative = value.size > 0 && value.data[0] == '-';
    if (negative || (value.size > 0 && value.data[0] == '+')) {
        value.data++;
        value.size--;
    }
    while (value.size > 1 && value.data[0] == '0' && value.data[1] >= '0' && value.data[1] <= '9') {
        value.data++; /* leading zeros do not count as digits */
        value.size--;
    }
    size_t digits = 0;
    while (digits < value.size && value.data[digits] >= '0' && value.data[digits] <= '9') {
        digits++;
    }
    if (digits < value.size && memchr(ends, value.data[digits], sizeof ends) == NULL) {
        return false;
    }
    return number_parse_u64(bytes_from(value.data, digits), number) && (!negative || *number == 0);
}

/* Makes the new number the value; a number shorter than the old value is padded with spaces. */
static void plan_number(struct arithmetic_plan *plan, size_t old_size, struct record *record) {
    size_t digits = number_format_u64(plan->number, plan->text);
    record->value = bytes_from(plan->text, digits);
    record->value_tail = bytes_from(NULL, old_size > digits ? old_size - digits : 0);
}

static enum status plan_arithmetic(void *plan, const struct record *old, uint32_t now_s,
                                   struct change *change) {
    (void)now_s;
    struct arithmetic_plan *arithmetic = plan;
    const struct pool_arithmetic *request = arithmetic->request;
    struct record *record = &change->record;
    arithmetic->hit = old != NULL;
    if (old == NULL) {
        if (!request->create) {
            return STATUS_NOT_FOUND;
        }
        change->action = CHANGE_WRITE;
        arithmetic->number = request->initial;
        plan_number(arithmetic, 0, record);
        record->expiry_s = request->create_expiry_s;
        record->cas = request->set_cas ? request->new_cas : 0;
        return STATUS_OK;
    }
    arithmetic->expiry_before_s = old->expiry_s;
    if (old->value.size == 0) {
        return STATUS_NON_NUMERIC;
    }
    if (request->compare_cas && request->cas != old->cas) {
        return STATUS_EXISTS;
    }
    uint64_t number;
    store_thread_charge(arithmetic->thread, old->value.size); /* parse_value may read all of it */
    if (!parse_value(old->value, &number)) {
        return STATUS_NON_NUMERIC;
    }
    if (request->decrement) {
        number = number > request->delta ? number - request->delta : 0;
    } else {
        number += request->delta;
    }
    keep_item(change, old);
    arithmetic->number = number;
    plan_number(arithmetic, old->value.size, record);
    record->expiry_s = request->touch ? request->touch_expiry_s : old->expiry_s;
    record->cas = request->set_cas ? request->new_cas : 0;
    return STATUS_OK;
}

enum status pool_arithmetic(struct pool *pool, struct store_thread *thread, struct bytes key,
                            const struct pool_arithmetic *request, uint64_t *number,
                            struct pool_fetched *result) {
    struct arithmetic_plan plan = {.thread = thread, .request = request};
    struct item item = {0};
    enum status status = replicate_change(pool, thread, key, plan_arithmetic, &plan, &item);
    if (status == STATUS_NEEDS_ROOM) {
        return status;
    }
    if (status == STATUS_OK && item.value.data == plan.text) {
        item.value.size = 0; /* the item has expired at once, so there is no value to point to */
    }
    if (result != NULL) {
        *result = (struct pool_fetched){
            .item = item, .expiry_before_s = plan.expiry_before_s, .created = !plan.hit};
    }
    *number = plan.number;
    enum pool_counter hits = request->decrement ? POOL_DECR_HITS : POOL_INCR_HITS;
    enum pool_counter misses = request->decrement ? POOL_DECR_MISSES : POOL_INCR_MISSES;
    count(pool, thread, plan.hit ? hits : misses);
    if (plan.hit) {
        pool_count_class(pool, thread,
                         request->decrement ? POOL_CLASS_DECR_HITS : POOL_CLASS_INCR_HITS);
    }
    return status;
}

static enum status plan_delete(void *plan, const struct record *old, uint32_t now_s,
                               struct change *change) {
    (void)now_s;
    const struct pool_delete *request = plan;
    if (old == NULL) {
        bool is_plain = !request->compare_cas && !request->invalidate && !request->drop_value;
        change->action = is_plain ? CHANGE_REMOVE : CHANGE_NOTHING;
        return STATUS_NOT_FOUND;
    }
    if (request->compare_cas && request->cas != old->cas) {
        return STATUS_EXISTS;
    }
    if (!request->invalidate && !request->drop_value) {
        change->action = CHANGE_REMOVE;
        return STATUS_OK;
    }
    keep_item(change, old);
    struct record *record = &change->record;
    if (request->touch || request->drop_value) {
        record->expiry_s = request->touch_expiry_s;
    }
    if (request->drop_value) {
        record->value = bytes_from(NULL, 0);
        record->value_tail = bytes_from(NULL, 0);
        record->client_flags = request->client_flags;
    }
    record->stale = request->invalidate;
    record->token_sent = false;
    record->cas = request->invalidate ? 0 : old->cas;
    if (request->set_cas) {
        record->cas = request->new_cas;
    }
    return STATUS_OK;
}

enum status pool_delete(struct pool *pool, struct store_thread *thread, struct bytes key,
                        const struct pool_delete *request) {
    static const struct pool_delete plain;
    const struct pool_delete *asked = request != NULL ? request : &plain;
    enum status status =
        replicate_change(pool, thread, key, plan_delete, (void *)(uintptr_t)asked, NULL);
    if (asked->uncounted) {
        return status;
    }
    if (status == STATUS_OK && !asked->invalidate) {
        count(pool, thread, POOL_DELETE_HITS);
        pool_count_class(pool, thread, POOL_CLASS_DELETE_HITS);
    } else if (status == STATUS_NOT_FOUND) {
        count(pool, thread, POOL_DELETE_MISSES);
    }
    return status;
}
