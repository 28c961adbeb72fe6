#include "store/lookup.h"

/* Compares one slot's record with the key. */
static bool lookup_match(const struct lookup_view *view, uint64_t slot, struct bytes key,
                         struct lookup_hit *hit) {
    size_t room;
    hit->at = lookup_record(view, layout_slot_location(slot), &room);
    return hit->at != NULL && room >= sizeof *hit->at && hit->at->key_size == key.size &&
           record_read(hit->at, room, &hit->record) && bytes_equal(hit->record.key, key);
}

enum lookup_outcome lookup_find(const struct lookup_view *view, uint64_t hash, struct bytes key,
                                struct lookup_hit *hit) {
    /* acquire: pairs with the release in index_split: every bucket below the count is filled */
    uint64_t count = atomic_load_explicit(&view->index->bucket_count, memory_order_acquire);
    if (count == 0 || count > view->bucket_max) {
        return LOOKUP_BUSY;
    }
    uint64_t number = lookup_bucket_number(hash, count);
    struct layout_bucket *primary = &view->buckets[number];
    /* acquire: pairs with the release in index_unlock */
    uint64_t word = atomic_load_explicit(&primary->word, memory_order_acquire);
    uint32_t version = layout_word_version(word);
    if (version & 1) {
        return LOOKUP_BUSY;
    }
    uint64_t tag = hash >> 48;
    struct layout_bucket *bucket = primary;
    for (uint32_t hops = 0; bucket != NULL; hops++) {
        if (hops == view->chain_max) {
            return LOOKUP_BUSY; /* the key may be in the rest of the chain */
        }
        for (int i = 0; i < LAYOUT_SLOTS; i++) {
            /* acquire: pairs with the release that published the record */
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_acquire);
            if (slot >> 48 == tag && slot != 0 && lookup_match(view, slot, key, hit)) {
                hit->slot = &bucket->slots[i];
                hit->slot_value = slot;
                hit->bucket = primary;
                hit->version = version;
                return LOOKUP_FOUND;
            }
        }
        bucket = lookup_next_bucket(view, word);
        if (bucket != NULL) {
            word =
                atomic_load_explicit(&bucket->word, memory_order_acquire); /* acquire, as above */
        }
    }
    /* Nothing was found. There is no such key if no writer changed the bucket meanwhile, and the
     * bucket is still the key's. Relaxed is enough: the acquires above keep these loads behind
     * them. */
    bool same =
        layout_word_version(atomic_load_explicit(&primary->word, memory_order_relaxed)) == version;
    count = atomic_load_explicit(&view->index->bucket_count, memory_order_relaxed);
    return same && count != 0 && lookup_bucket_number(hash, count) == number ? LOOKUP_MISSING
                                                                             : LOOKUP_BUSY;
}

bool lookup_unchanged(const struct lookup_hit *hit) {
    atomic_thread_fence(memory_order_acquire); /* keeps the copy before the load */
    uint64_t word = atomic_load_explicit(&hit->bucket->word, memory_order_relaxed);
    return layout_word_version(word) == hit->version;
}
