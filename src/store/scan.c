#include "store/scan.h"

#include "store/operations.h"
#include "store/pool_private.h"

#include <sched.h>
#include <stdlib.h>

enum {
    SCAN_SLOTS = 64 * LAYOUT_SLOTS, /* slots of one chain: longer chains exist only where the index
                                       could not grow */
    SCAN_SPINS = 1000, /* after this many tries, yields: the writer may need this processor */
};

struct scan_slots {
    uint64_t usual[SCAN_SLOTS];
    uint64_t *slots; /* points to `usual`, or to allocated memory */
    size_t capacity;
    size_t count;
};

static bool scan_add_slot(struct scan_slots *found, uint64_t slot) {
    if (found->count == found->capacity) {
        size_t capacity = found->capacity * 2;
        uint64_t *grown = malloc(capacity * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        memcpy(grown, found->slots, found->count * sizeof *grown);
        if (found->slots != found->usual) {
            free(found->slots);
        }
        found->slots = grown;
        found->capacity = capacity;
    }
    found->slots[found->count++] = slot;
    return true;
}

/* One attempt to copy the slots of a chain as they were at one moment. */
static enum lookup_outcome scan_copy_chain(const struct lookup_view *view,
                                           struct layout_bucket *primary, struct scan_slots *found,
                                           bool *memory) {
    /* acquire: pairs with the release in index_unlock; below as in lookup_find */
    uint64_t word = atomic_load_explicit(&primary->word, memory_order_acquire);
    uint32_t version = layout_word_version(word);
    found->count = 0;
    if (version & 1) {
        return LOOKUP_BUSY;
    }
    struct layout_bucket *bucket = primary;
    while (bucket != NULL) {
        for (int i = 0; i < LAYOUT_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_acquire);
            if (slot != 0 && !scan_add_slot(found, slot)) {
                *memory = false;
                return LOOKUP_MISSING;
            }
        }
        /* A chain that changes while it is read may lead in a circle, so the version is checked
         * after each bucket. */
        if (layout_word_version(atomic_load_explicit(&primary->word, memory_order_relaxed)) !=
            version) {
            return LOOKUP_BUSY;
        }
        bucket = lookup_next_bucket(view, word);
        if (bucket != NULL) {
            word = atomic_load_explicit(&bucket->word, memory_order_acquire);
        }
    }
    return LOOKUP_FOUND;
}

static void scan_describe(const struct pool *pool, uint64_t slot, const struct layout_record *at,
                          const struct record *record, struct pool_scanned *scanned) {
    item_describe(record, layout_slot_frequency(slot), &scanned->item);
    scanned->record_bytes = (uint32_t)record_stored_size(at);
    scanned->ttl_class = segment_table_class(&pool->view, layout_slot_location(slot));
}

enum status pool_scan(struct pool *pool, struct store_thread *thread, uint64_t *next_bucket,
                      pool_scan_visitor *visit, void *context) {
    const struct lookup_view *view = &pool->view;
    /* acquire: pairs with the release in index_split: every bucket below the count is filled */
    uint64_t count = atomic_load_explicit(&view->index->bucket_count, memory_order_acquire);
    if (*next_bucket >= count) {
        return STATUS_END;
    }
    struct scan_slots found; /* not initialised: each slot is written before it is read */
    found.capacity = SCAN_SLOTS;
    found.slots = found.usual;
    bool memory = true;
    for (int spins = 0;
         scan_copy_chain(view, &view->buckets[*next_bucket], &found, &memory) == LOOKUP_BUSY;
         spins++) {
        if (spins == SCAN_SPINS) {
            sched_yield();
            spins = 0;
        }
    }
    for (size_t i = 0; i < found.count && memory; i++) {
        size_t room;
        struct record record;
        struct pool_scanned scanned;
        struct layout_record *at = lookup_record(view, layout_slot_location(found.slots[i]), &room);
        if (at != NULL && record_read(at, room, &record) &&
            item_visible(&pool->view, &record, thread->now_s)) {
            sync_note_record(&pool->sync, pool_sync_thread(pool, thread), &record);
            scan_describe(pool, found.slots[i], at, &record, &scanned);
            visit(context, &scanned);
        }
    }
    if (found.slots != found.usual) {
        free(found.slots);
    }
    *next_bucket += memory;
    return memory ? STATUS_OK : STATUS_NO_MEMORY;
}

void pool_set_eviction_notify(struct pool *pool, pool_eviction_notify *notify, void *context) {
    pool->eviction_context = context;
    /* release: pairs with the load in compaction_count_evicted */
    atomic_store_explicit(&pool->eviction_notify, notify, memory_order_release);
}

unsigned pool_get_item_class(const struct pool *pool, const struct item *item) {
    const struct lookup_view *view = &pool->view;
    uintptr_t first = (uintptr_t)view->data + LAYOUT_PAGE;
    uintptr_t at = (uintptr_t)item->key.data;
    uint64_t segment = at >= first ? (at - first) / view->segment_bytes : UINT64_MAX;
    if (segment >= view->segment_count) {
        return POOL_TTL_CLASSES;
    }
    return segment_table_class(&pool->view, lookup_location(view, (uint32_t)segment, 0));
}

enum status pool_peek(struct pool *pool, struct store_thread *thread, struct bytes key,
                      struct pool_scanned *scanned) {
    struct lookup_hit hit;
    if (!operations_find(pool, key, &hit) ||
        !item_visible(&pool->view, &hit.record, thread->now_s)) {
        sync_note_missing(&pool->sync, pool_sync_thread(pool, thread));
        return STATUS_NOT_FOUND;
    }
    sync_note_record(&pool->sync, pool_sync_thread(pool, thread), &hit.record);
    scan_describe(pool, hit.slot_value, hit.at, &hit.record, scanned);
    return STATUS_OK;
}
