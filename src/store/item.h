/* A record as an item for clients: whether clients can see it, when it expires, how it is
 * described. The rule for what clients can see needs only the look-up's view, so that the daemon
 * and a process that only maps a pool apply the same rule. */
#ifndef STAYD_STORE_ITEM_H
#define STAYD_STORE_ITEM_H

#include "store/lookup_view.h"
#include "store/record.h"

struct item;

/* Fills in the item that clients see from a record. */
void item_describe(const struct record *record, unsigned frequency, struct item *item);

/* The sequence of the last flush. Clients see only records with a higher sequence. */
static inline uint64_t item_flush_sequence(const struct lookup_view *view) {
    /* seq_cst, as the stores in flush.c: see change_take_sequence. */
    return atomic_load(&view->index->flush_sequence);
}

/* The limits on age in force; 0: none. Relaxed: they change only while the pool is opened. */
static inline uint32_t item_idle_timeout_s(const struct lookup_view *view) {
    return atomic_load_explicit(&view->index->idle_timeout_s, memory_order_relaxed);
}

static inline uint32_t item_max_lifetime_s(const struct lookup_view *view) {
    return atomic_load_explicit(&view->index->max_lifetime_s, memory_order_relaxed);
}

/* Whether an item has reached its expiry, or one of the pool's limits, whichever comes first. */
static inline bool item_expired(const struct lookup_view *view, const struct record *record,
                                uint32_t now_s) {
    uint32_t idle_timeout_s = item_idle_timeout_s(view);
    uint32_t max_lifetime_s = item_max_lifetime_s(view);
    return record_expired(record->expiry_s, now_s) ||
           (idle_timeout_s != 0 && (uint64_t)record->accessed_s + idle_timeout_s <= now_s) ||
           (max_lifetime_s != 0 && record->created_s != 0 &&
            (uint64_t)record->created_s + max_lifetime_s <= now_s);
}

/* When the janitor should check whether an item has expired; LAYOUT_NEVER: it need not. */
static inline uint32_t item_due_s(const struct lookup_view *view, const struct record *record) {
    uint32_t due_s = record->expiry_s == 0 ? LAYOUT_NEVER : record->expiry_s;
    uint32_t idle_timeout_s = item_idle_timeout_s(view);
    if (idle_timeout_s != 0) {
        uint64_t idle_s = (uint64_t)record->accessed_s + idle_timeout_s;
        due_s = idle_s < due_s ? (uint32_t)idle_s : due_s;
    }
    return due_s;
}

/* Whether a client may see the record that a slot points to. */
static inline bool item_visible(const struct lookup_view *view, const struct record *record,
                                uint32_t now_s) {
    return record->sequence > item_flush_sequence(view) && !item_expired(view, record, now_s);
}

#endif
