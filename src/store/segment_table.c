#include "store/segment_table.h"

void segment_note_due(struct layout_segment *info, uint32_t due_s) {
    uint32_t first = atomic_load_explicit(&info->first_expiry_s, memory_order_relaxed);
    while (due_s < first && !atomic_compare_exchange_weak(&info->first_expiry_s, &first, due_s)) {
    }
}

void segment_table_note_due(struct lookup_view *view, uint64_t location, uint32_t due_s) {
    uint32_t segment = lookup_location_segment(view, location);
    segment_note_due(&view->segments[segment], due_s);
}

void segment_note_expiry(struct layout_segment *info, uint32_t expiry_s) {
    uint32_t expiry = expiry_s == 0 ? LAYOUT_NEVER : expiry_s;
    segment_note_due(info, expiry);
    uint32_t last = atomic_load_explicit(&info->last_expiry_s, memory_order_relaxed);
    while (expiry > last && !atomic_compare_exchange_weak(&info->last_expiry_s, &last, expiry)) {
    }
}

void segment_table_count_live(struct lookup_view *view, uint64_t location, size_t bytes) {
    uint32_t segment = lookup_location_segment(view, location);
    struct layout_segment *info = &view->segments[segment];
    atomic_fetch_add_explicit(&info->live_bytes, (uint32_t)bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&info->items, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&view->index->live_bytes, bytes, memory_order_relaxed);
    uint32_t waste_bytes = segment_waste_bytes(segment_capacity(view), bytes);
    if (waste_bytes > 0) {
        atomic_fetch_add_explicit(&view->index->waste_bytes, waste_bytes, memory_order_relaxed);
    }
}

void segment_table_count_dead(struct lookup_view *view, uint64_t location, size_t bytes,
                              bool flushed) {
    uint32_t segment = lookup_location_segment(view, location);
    struct layout_segment *info = &view->segments[segment];
    atomic_fetch_sub_explicit(&info->live_bytes, (uint32_t)bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&info->items, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&view->index->live_bytes, bytes, memory_order_relaxed);
    uint32_t waste_bytes = segment_waste_bytes(segment_capacity(view), bytes);
    if (waste_bytes > 0) {
        atomic_fetch_sub_explicit(&view->index->waste_bytes, waste_bytes, memory_order_relaxed);
    }
    if (flushed) {
        atomic_fetch_sub_explicit(&view->index->flushed_bytes, bytes + waste_bytes,
                                  memory_order_relaxed);
    }
}

void segment_table_count_tombstone(struct lookup_view *view, uint64_t location, size_t bytes) {
    uint32_t segment = lookup_location_segment(view, location);
    atomic_fetch_add_explicit(&view->segments[segment].tombstone_bytes, (uint32_t)bytes,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&view->index->tombstone_bytes, bytes, memory_order_relaxed);
}

void segment_table_set_tombstones(struct lookup_view *view, uint32_t segment, uint32_t bytes) {
    uint32_t before = atomic_exchange(&view->segments[segment].tombstone_bytes, bytes);
    atomic_fetch_add(&view->index->tombstone_bytes, (uint64_t)bytes - before);
}
