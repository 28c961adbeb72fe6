/* The part of inspect.h that finds the current record of each key: runs recovery on a private
 * mapping of the data and an index in memory. */
#include "base/hash.h"
#include "store/inspect_private.h"
#include "store/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Recovery writes to the data's header; the mapping is private, so the file does not change. */
static bool inspect_map(struct inspect *inspect, char *error) {
    struct pool *pool = inspect->pool;
    struct mapping *data = &pool->data_mapping;
    void *base = mmap(NULL, inspect->about.file_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_NORESERVE, inspect->file, 0);
    if (base == MAP_FAILED) {
        snprintf(error, POOL_ERROR_MAX, "cannot map the file: %s", strerror(errno));
        return false;
    }
    data->base = base;
    data->size_bytes = inspect->about.file_bytes;
    pool->header = base;

    struct layout_index_header planned;
    geometry_plan_index(&inspect->header, &planned);
    if (mapping_create_memory(&pool->index_mapping, "the index", index_size(&planned), error) !=
        STATUS_OK) {
        return false;
    }
    memcpy(pool->index_mapping.base, &planned, sizeof planned);
    geometry_set_view(&pool->view, pool->data_mapping.base, pool->index_mapping.base);
    return true;
}

bool inspect_index(struct inspect *inspect, char error[POOL_ERROR_MAX]) {
    struct pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (pool == NULL) {
        snprintf(error, POOL_ERROR_MAX, "out of memory");
        return false;
    }
    memset(pool, 0, sizeof *pool);
    pool->data_mapping = MAPPING_NONE;
    pool->index_mapping = MAPPING_NONE;
    pool->options.persist = true;
    memcpy(pool->options.name, inspect->about.name, sizeof pool->options.name);
    inspect->pool = pool;
    if (!inspect_map(inspect, error)) {
        return false;
    }
    /* At time 0 no item has expired: recovery keeps all items, and inspect_next checks expiry. */
    uint64_t items = atomic_load(&inspect->header.items);
    if (!index_init(&pool->index, &pool->view, pool->index_mapping.file, true, items) ||
        !recovery_run(pool, 0)) {
        snprintf(error, POOL_ERROR_MAX, "out of memory for the index");
        return false;
    }
    pool->options.idle_timeout_s = inspect->header.idle_timeout_s;
    pool->options.max_lifetime_s = inspect->header.max_lifetime_s;
    atomic_store(&pool->view.index->idle_timeout_s, inspect->header.idle_timeout_s);
    atomic_store(&pool->view.index->max_lifetime_s, inspect->header.max_lifetime_s);
    return true;
}

void inspect_items_finish(struct inspect *inspect) {
    struct pool *pool = inspect->pool;
    if (pool != NULL) {
        segment_walk_end(&inspect->cursor);
        index_finish(&pool->index);
        mapping_finish(&pool->index_mapping);
        mapping_finish(&pool->data_mapping);
        free(pool);
    }
}

static bool inspect_is_current(struct pool *pool, const struct segment_cursor *cursor) {
    uint64_t hash = hash_key(pool->view.hash_seed, cursor->record.key);
    struct layout_bucket *bucket = index_lock(&pool->index, hash);
    bool current = index_find_location(&pool->index, bucket, cursor->location) != NULL;
    index_unlock(bucket);
    return current;
}

/* Goes on to the next segment that holds records. */
static bool inspect_next_segment(struct inspect *inspect) {
    struct pool *pool = inspect->pool;
    while (inspect->next_segment < pool->view.segment_count) {
        uint32_t segment = inspect->next_segment++;
        const struct layout_segment *info = &pool->view.segments[segment];
        if (atomic_load(&info->state) != LAYOUT_SEGMENT_FREE) {
            segment_walk(&inspect->cursor, &pool->segments, segment, atomic_load(&info->fill));
            return true;
        }
    }
    return false;
}

/* The next item, expired or not. */
static bool inspect_next_record(struct inspect *inspect, const struct record **record) {
    struct segment_cursor *cursor = &inspect->cursor;
    for (;;) {
        while (cursor->segments != NULL && segment_next(cursor)) {
            if (cursor->record.kind == LAYOUT_VALUE && inspect_is_current(inspect->pool, cursor)) {
                *record = &cursor->record;
                return true;
            }
        }
        inspect->torn_bytes += cursor->torn_bytes;
        if (!inspect_next_segment(inspect)) {
            *cursor = (struct segment_cursor){.segments = NULL};
            return false;
        }
    }
}

static void inspect_rewind(struct inspect *inspect) {
    segment_walk_end(&inspect->cursor);
    inspect->cursor = (struct segment_cursor){.segments = NULL};
    inspect->next_segment = 0;
    inspect->torn_bytes = 0;
}

/* Whether a delayed flush fell due while no daemon ran. The next daemon performs the flush before
 * it serves. */
static bool inspect_is_flushed(const struct inspect *inspect, uint32_t now_s) {
    uint32_t due_s = atomic_load(&inspect->pool->view.index->flush_due_s);
    return due_s != 0 && due_s <= now_s;
}

void inspect_count_items(struct inspect *inspect, uint32_t now_s, uint64_t *live,
                         uint64_t *expired) {
    const struct record *record;
    *live = 0;
    *expired = 0;
    inspect_rewind(inspect);
    while (!inspect_is_flushed(inspect, now_s) && inspect_next_record(inspect, &record)) {
        *(item_expired(&inspect->pool->view, record, now_s) ? expired : live) += 1;
    }
    inspect_rewind(inspect);
}

bool inspect_next(struct inspect *inspect, uint32_t now_s, struct inspect_item *item) {
    const struct record *record;
    do {
        if (inspect_is_flushed(inspect, now_s) || !inspect_next_record(inspect, &record)) {
            return false;
        }
    } while (item_expired(&inspect->pool->view, record, now_s));
    *item = (struct inspect_item){
        .key = record->key,
        .value = record->value,
        .client_flags = record->client_flags,
        .expiry_s = record->expiry_s,
        .accessed_s = record->accessed_s,
        .created_s = record->created_s,
        .cas = record->cas,
    };
    return true;
}

uint64_t inspect_torn_bytes(const struct inspect *inspect) {
    return inspect->torn_bytes;
}

uint32_t inspect_position(const struct inspect *inspect) {
    return inspect->next_segment;
}
