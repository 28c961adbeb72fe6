#include "store/reader.h"

#include "base/hash.h"
#include "store/heartbeat.h"
#include "store/item.h"
#include "store/lookup.h"

#include <string.h>
#include <time.h>

enum { READER_TRIES = 100 }; /* a writer keeps a bucket locked for some hundred nanoseconds */

bool reader_is_current(const struct lookup_view *view) {
    const struct layout_data_header *data = (const void *)view->data;
    const struct layout_index_header *index = view->index;
    uint32_t state = atomic_load(&index->state);
    uint64_t index_id = atomic_load(&index->index_id);
    bool is_current = index_id != 0 && index_id == atomic_load(&data->index_id);
    uint32_t readers = atomic_load(&index->readers);
    if (readers == LAYOUT_READERS_NONE) {
        return false;
    }
    if (index->is_volatile != 0 || readers != LAYOUT_READERS_ALWAYS) {
        return is_current && state == LAYOUT_INDEX_LIVE && heartbeat_is_alive(index);
    }
    return is_current && (state == LAYOUT_INDEX_LIVE || state == LAYOUT_INDEX_STOPPED);
}

bool reader_is_kept(const struct lookup_view *view) {
    return heartbeat_is_alive(view->index);
}

/* Uses the exact clock. The coarse clock is late, and would show an item after it has expired. */
static uint32_t reader_now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint32_t)now.tv_sec;
}

/* Whether the caller must read the item over the socket, so that the daemon notes the access. */
static bool reader_should_report(const struct layout_index_header *index,
                                 const struct record *record, uint32_t now_s) {
    uint32_t after_s = atomic_load(&index->report_after_s);
    return after_s != 0 && (uint64_t)record->accessed_s + after_s <= now_s;
}

/* The outcome for the current record of the key. */
static enum reader_outcome reader_judge(const struct lookup_view *view,
                                        const struct record *record) {
    const struct layout_index_header *index = view->index;
    /* In this order: a flush that has fallen due sets flush_sequence before it clears flush_due_s.
     */
    uint32_t flush_due_s = atomic_load(&index->flush_due_s);
    uint64_t flush_sequence = item_flush_sequence(view);
    uint32_t now_s = reader_now_s();
    if (flush_sequence == LAYOUT_FLUSHING || (flush_due_s != 0 && flush_due_s <= now_s)) {
        return READER_ASK;
    }
    if (record->kind != LAYOUT_VALUE || !item_visible(view, record, now_s)) {
        return READER_MISS;
    }
    if (record->sequence > atomic_load(&index->durable_sequence) ||
        layout_touch_is_new(index, record->touch_sequence)) {
        return READER_ASK; /* fsync = always: the daemon replies when it is on the disk */
    }
    if (record->stale || reader_should_report(index, record, now_s)) {
        return READER_ASK;
    }
    return READER_HIT;
}

/* One attempt; `*again`: a writer has changed the bucket meanwhile. */
static enum reader_outcome reader_try(const struct lookup_view *view, uint64_t hash,
                                      struct bytes key, char *buffer, size_t buffer_size,
                                      struct reader_item *item, bool *again) {
    struct lookup_hit hit;
    *again = false;
    if (!reader_is_current(view)) {
        return READER_GONE; /* a superseded index has given its memory back: do not touch it */
    }
    switch (lookup_find(view, hash, key, &hit)) {
    case LOOKUP_FOUND:
        break;
    case LOOKUP_MISSING:
        return reader_is_current(view) ? READER_MISS : READER_GONE;
    case LOOKUP_BUSY:
        *again = true;
        return READER_ASK;
    }
    const struct record *record = &hit.record;
    *item = (struct reader_item){
        .value_size = record->value.size,
        .client_flags = record->client_flags,
        .expiry_s = record->expiry_s,
        .accessed_s = record->accessed_s,
        .cas = record->cas,
    };
    bool fits = item->value_size <= buffer_size;
    if (fits && item->value_size > 0) {
        memcpy(buffer, record->value.data, item->value_size);
    }
    if (!lookup_unchanged(&hit)) {
        *again = true;
        return READER_ASK;
    }
    if (!reader_is_current(view)) {
        return READER_GONE;
    }
    enum reader_outcome outcome = reader_judge(view, record);
    return outcome == READER_HIT && !fits ? READER_SMALL : outcome;
}

enum reader_outcome reader_get(const struct lookup_view *view, struct bytes key, char *buffer,
                               size_t buffer_size, struct reader_item *item) {
    uint64_t hash = hash_key(view->hash_seed, key);
    bool again = true;
    enum reader_outcome outcome = READER_ASK;
    for (int tries = 0; again && tries < READER_TRIES; tries++) {
        outcome = reader_try(view, hash, key, buffer, buffer_size, item, &again);
    }
    return outcome;
}
