#include "store/header_notes.h"

#include "store/index_file.h"

#include <sys/random.h>

enum {
    NOTES_CLOCK_S = 60,     /* how often a pool that changes notes the clock */
    NOTES_ITEMS_SHARE = 16, /* a change of the number of items by less than 1/16 is not noted */
};

void header_notes_begin(struct pool *pool, bool attached, bool created) {
    struct layout_data_header *header = pool->header;
    atomic_store(&header->stop_id, 0);
    /* The sequence of a record that a power cut has lost must not be given out again: a client may
     * know this number as a CAS. So this start continues above all sequences that may have been
     * given out, and the raised value is on the disk before the first request. */
    if (attached) {
        atomic_store(&header->opened_sequence, atomic_load(&pool->view.index->sequence));
    } else if (!created) {
        atomic_fetch_add(&header->opened_sequence, LAYOUT_SEQUENCE_GAP);
    }
    expiry_clock_note(&pool->expiry_clock, header, 0);
}

void header_notes_update(struct pool *pool) {
    struct layout_data_header *header = pool->header;
    if (header == NULL) {
        return;
    }
    uint64_t items = atomic_load(&pool->view.index->items);
    uint64_t noted = atomic_load(&header->items);
    uint64_t change = items > noted ? items - noted : noted - items;
    if (change > noted / NOTES_ITEMS_SHARE) {
        atomic_store(&header->items, items);
    }
    uint64_t sequence = atomic_load(&pool->view.index->sequence);
    uint32_t least_age_s = sequence != pool->noted_sequence ? NOTES_CLOCK_S : UINT32_MAX;
    if (expiry_clock_note(&pool->expiry_clock, header, least_age_s)) {
        pool->noted_sequence = sequence;
    }
}

void header_notes_stop(struct pool *pool) {
    uint64_t stop_id = 0;
    expiry_clock_observe(&pool->expiry_clock);
    expiry_clock_note(&pool->expiry_clock, pool->header, 0);
    atomic_store(&pool->header->items, atomic_load(&pool->view.index->items));
    positions_take(&pool->positions);
    if (!sync_now(&pool->sync) || pool->index_is_anonymous ||
        getrandom(&stop_id, sizeof stop_id, 0) != (ssize_t)sizeof stop_id) {
        return; /* the next start rebuilds the index */
    }
    positions_write(&pool->positions);
    stop_id |= 1;
    pool->view.index->boot_id = index_file_boot_id();
    atomic_store(&pool->view.index->stop_id, stop_id);
    atomic_store(&pool->view.index->state, LAYOUT_INDEX_STOPPED);
    atomic_store(&pool->header->stop_id, stop_id);
    sync_now(&pool->sync);
}
