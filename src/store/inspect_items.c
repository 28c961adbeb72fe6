/* The part of inspect.h that finds the current record of each key: runs recovery on a private
 * mapping of the data and an index in memory. */
#include "base/hash.h"
#include "store/geometry.h"
#include "store/inspect_private.h"
#include "store/item.h"
#include "store/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Recovery writes to the data's header; the mapping is private, so the file does not change. */
static bool inspect_map(struct inspect *inspect, char *error) {
    struct mapping *data = &inspect->data_mapping;
    void *base = mmap(NULL, inspect->about.file_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_NORESERVE, inspect->file, 0);
    if (base == MAP_FAILED) {
        snprintf(error, POOL_ERROR_MAX, "cannot map the file: %s", strerror(errno));
        return false;
    }
    data->base = base;
    data->size_bytes = inspect->about.file_bytes;

    struct layout_index_header planned;
    geometry_plan_index(&inspect->header, &planned);
    if (mapping_create_memory(&inspect->index_mapping, "the index", index_size(&planned), error) !=
        STATUS_OK) {
        return false;
    }
    memcpy(inspect->index_mapping.base, &planned, sizeof planned);
    geometry_set_view(&inspect->view, data->base, inspect->index_mapping.base);
    inspect->data = (struct segment_data){&inspect->view, base};
    return true;
}

bool inspect_index(struct inspect *inspect, char error[POOL_ERROR_MAX]) {
    if (!inspect_map(inspect, error)) {
        return false;
    }
    const struct recovery_target target = {
        .name = inspect->about.name,
        .data = inspect->data,
        .index = &inspect->index,
    };
    /* At time 0 no item has expired: recovery keeps all items, and inspect_next checks expiry. */
    uint64_t items = atomic_load(&inspect->header.items);
    if (!index_init(&inspect->index, &inspect->view, inspect->index_mapping.file, true, items) ||
        !recovery_run(&target, 0)) {
        snprintf(error, POOL_ERROR_MAX, "out of memory for the index");
        return false;
    }
    atomic_store(&inspect->view.index->idle_timeout_s, inspect->header.idle_timeout_s);
    atomic_store(&inspect->view.index->max_lifetime_s, inspect->header.max_lifetime_s);
    return true;
}

void inspect_items_finish(struct inspect *inspect) {
    segment_walk_end(&inspect->cursor);
    index_finish(&inspect->index);
    mapping_finish(&inspect->index_mapping);
    mapping_finish(&inspect->data_mapping);
}

static bool inspect_is_current(struct inspect *inspect, const struct segment_cursor *cursor) {
    uint64_t hash = hash_key(inspect->view.hash_seed, cursor->record.key);
    struct layout_bucket *bucket = index_lock(&inspect->index, hash);
    bool current = index_find_location(&inspect->index, bucket, cursor->location) != NULL;
    index_unlock(bucket);
    return current;
}

/* Goes on to the next segment that holds records. */
static bool inspect_next_segment(struct inspect *inspect) {
    while (inspect->next_segment < inspect->view.segment_count) {
        uint32_t segment = inspect->next_segment++;
        const struct layout_segment *info = &inspect->view.segments[segment];
        if (atomic_load(&info->state) != LAYOUT_SEGMENT_FREE) {
            segment_walk(&inspect->cursor, &inspect->data, segment, atomic_load(&info->fill));
            return true;
        }
    }
    return false;
}

/* The next item, expired or not. */
static bool inspect_next_record(struct inspect *inspect, const struct record **record) {
    struct segment_cursor *cursor = &inspect->cursor;
    for (;;) {
        while (cursor->data != NULL && segment_next(cursor)) {
            if (cursor->record.kind == LAYOUT_VALUE && inspect_is_current(inspect, cursor)) {
                *record = &cursor->record;
                return true;
            }
        }
        inspect->torn_bytes += cursor->torn_bytes;
        if (!inspect_next_segment(inspect)) {
            *cursor = (struct segment_cursor){.data = NULL};
            return false;
        }
    }
}

static void inspect_rewind(struct inspect *inspect) {
    segment_walk_end(&inspect->cursor);
    inspect->cursor = (struct segment_cursor){.data = NULL};
    inspect->next_segment = 0;
    inspect->torn_bytes = 0;
}

/* Whether a delayed flush fell due while no daemon ran. The next daemon performs the flush before
 * it serves. */
static bool inspect_is_flushed(const struct inspect *inspect, uint32_t now_s) {
    uint32_t due_s = atomic_load(&inspect->view.index->flush_due_s);
    return due_s != 0 && due_s <= now_s;
}

void inspect_count_items(struct inspect *inspect, uint32_t now_s, uint64_t *live,
                         uint64_t *expired) {
    const struct record *record;
    *live = 0;
    *expired = 0;
    inspect_rewind(inspect);
    while (!inspect_is_flushed(inspect, now_s) && inspect_next_record(inspect, &record)) {
        *(item_expired(&inspect->view, record, now_s) ? expired : live) += 1;
    }
    inspect_rewind(inspect);
}

static void inspect_describe_item(const struct record *record, struct inspect_item *item) {
    *item = (struct inspect_item){
        .key = record->key,
        .value = record->value,
        .client_flags = record->client_flags,
        .expiry_s = record->expiry_s,
        .accessed_s = record->accessed_s,
        .created_s = record->created_s,
        .cas = record->cas,
        .stale = record->stale,
        .token_sent = record->token_sent,
    };
}

bool inspect_next(struct inspect *inspect, uint32_t now_s, struct inspect_item *item) {
    const struct record *record;
    do {
        if (inspect_is_flushed(inspect, now_s) || !inspect_next_record(inspect, &record)) {
            return false;
        }
    } while (item_expired(&inspect->view, record, now_s));
    inspect_describe_item(record, item);
    return true;
}

bool inspect_find(struct inspect *inspect, struct bytes key, uint32_t now_s,
                  struct inspect_item *item) {
    struct lookup_hit hit;
    uint64_t hash = hash_key(inspect->view.hash_seed, key);
    struct layout_bucket *bucket = index_lock(&inspect->index, hash);
    bool found = index_find(&inspect->index, bucket, hash, key, &hit);
    index_unlock(bucket);
    if (!found || inspect_is_flushed(inspect, now_s) ||
        item_expired(&inspect->view, &hit.record, now_s)) {
        return false;
    }
    inspect_describe_item(&hit.record, item);
    return true;
}

uint32_t inspect_flush_due_s(const struct inspect *inspect) {
    return atomic_load(&inspect->view.index->flush_due_s);
}

uint64_t inspect_torn_bytes(const struct inspect *inspect) {
    return inspect->torn_bytes;
}

uint32_t inspect_position(const struct inspect *inspect) {
    return inspect->next_segment;
}
