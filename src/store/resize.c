#include "store/resize.h"

#include "base/log.h"
#include "store/compaction.h"
#include "store/io.h"

#include <stdio.h>
#include <string.h>

enum {
    RESIZE_FILL_PERCENT = 95, /* of the smaller pool that what lives may take */
    RESIZE_GAIN = 1,          /* percent of a segment that makes it worth emptying */
};

bool resize_plan(const struct layout_data_header *found, const struct pool_options *options,
                 uint32_t *count, char error[POOL_ERROR_MAX]) {
    uint64_t item_room =
        found->segment_bytes - sizeof(struct layout_segment_header) - POOL_RECORD_OVERHEAD;
    if (options->item_max_bytes > item_room) {
        snprintf(error, POOL_ERROR_MAX,
                 "the file of pool %s can hold items of up to %llu bytes, item_max is %lu; it is "
                 "left as it is. Lower item_max, or move the file away to begin an empty pool",
                 options->name, (unsigned long long)item_room,
                 (unsigned long)options->item_max_bytes);
        return false;
    }
    uint64_t wanted = options->memory_bytes / found->segment_bytes;
    if (wanted < POOL_SEGMENTS_MIN || wanted > UINT64_C(1)
                                                   << (LAYOUT_LOCATION_BITS - found->offset_bits)) {
        snprintf(error, POOL_ERROR_MAX,
                 "the file of pool %s has segments of %u bytes: its memory must be at least %llu "
                 "bytes; it is left as it is",
                 options->name, found->segment_bytes,
                 (unsigned long long)found->segment_bytes * POOL_SEGMENTS_MIN);
        return false;
    }
    *count = (uint32_t)wanted;
    return true;
}

static uint64_t resize_file_bytes(const struct layout_data_header *header, uint32_t count) {
    return LAYOUT_PAGE + (uint64_t)header->segment_bytes * count;
}

/* Writes the header with another count, in one piece: between two stores into the mapping the
 * kernel might bring it to the disk with a checksum that is not its own. */
static bool resize_write_header(int file, struct layout_data_header *header, uint32_t count) {
    struct layout_data_header resized = *header;
    resized.segment_count = count;
    resized.header_crc = mapping_header_crc(&resized);
    return store_io_write_all(file, &resized, offsetof(struct layout_data_header, stop_id), 0) == 0;
}

bool resize_grow(int file, struct layout_data_header *header, uint32_t count,
                 char error[POOL_ERROR_MAX]) {
    uint64_t before = resize_file_bytes(header, header->segment_count);
    uint64_t after = resize_file_bytes(header, count);
    int failed = store_io_allocate(file, (off_t)before, (off_t)(after - before));
    if (failed != 0) {
        int ignored = store_io->truncate(file, (off_t)before); /* a longer file is sound as well */
        (void)ignored;
        snprintf(error, POOL_ERROR_MAX,
                 "cannot let pool %s grow from %llu to %llu bytes: %s. Free space on that file "
                 "system, or set its memory to what it was",
                 header->name, (unsigned long long)before, (unsigned long long)after,
                 strerror(failed));
        return false;
    }
    /* The new room must be there before the header counts it. */
    if (store_io_sync(file) != 0 || !resize_write_header(file, header, count) ||
        store_io_sync(file) != 0) {
        snprintf(error, POOL_ERROR_MAX, "cannot write the header of pool %s: %m", header->name);
        mapping_note_failed_sync(file);
        return false;
    }
    header->segment_count = count;
    log_info("pool %s: grown to %u segments of %u bytes", header->name, count,
             header->segment_bytes);
    return true;
}

static bool resize_refuse(const struct pool *pool, char *error) {
    const struct layout_index_header *index = pool->view.index;
    uint64_t needed = (atomic_load(&index->live_bytes) + atomic_load(&index->marker_bytes)) * 100 /
                      RESIZE_FILL_PERCENT;
    uint64_t mebibytes = (needed + 2 * (uint64_t)pool->view.segment_bytes) / (1U << 20) + 1;
    snprintf(error, POOL_ERROR_MAX,
             "pool %s holds more than its memory is to be: it needs at least %lluM; nothing was "
             "dropped. Raise its memory to that",
             pool->options.name, (unsigned long long)mebibytes);
    return false;
}

/* Makes sure that a segment can be emptied: one must be free for what moves. */
static bool resize_make_room(struct pool *pool, uint32_t now_s) {
    while (atomic_load(&pool->segments.free_count) < 2) {
        uint64_t moved_before = pool->janitor.moved_bytes;
        uint64_t capacity = (uint64_t)segment_capacity(&pool->segments) * pool->view.segment_count;
        if (compaction_run(pool, RESIZE_GAIN, now_s) == 0 || moved_before > 2 * capacity) {
            return false;
        }
    }
    return true;
}

static bool resize_empty_tail(struct pool *pool, uint32_t count, uint32_t now_s) {
    segments_limit(&pool->segments, count);
    for (uint32_t segment = count; segment < pool->view.segment_count; segment++) {
        if (atomic_load(&pool->view.segments[segment].state) == LAYOUT_SEGMENT_FREE) {
            continue;
        }
        if (!resize_make_room(pool, now_s)) {
            return false;
        }
        compaction_begin(pool);
        /* Making room may have freed this very segment. */
        if (atomic_load(&pool->view.segments[segment].state) != LAYOUT_SEGMENT_FREE &&
            (!compaction_empty(pool, segment, 0, now_s) || !compaction_free(pool, &segment, 1))) {
            return false;
        }
    }
    return true;
}

bool resize_shrink(struct pool *pool, uint32_t count, char error[POOL_ERROR_MAX]) {
    uint32_t now_s = expiry_clock_free_s(&pool->expiry_clock);
    const struct layout_index_header *index = pool->view.index;
    uint64_t limit =
        (uint64_t)segment_capacity(&pool->segments) * count / 100 * RESIZE_FILL_PERCENT;
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        segments_seal(&pool->segments, segment);
    }
    if (atomic_load(&index->live_bytes) + atomic_load(&index->marker_bytes) > limit ||
        !resize_empty_tail(pool, count, now_s)) {
        return resize_refuse(pool, error);
    }
    struct layout_data_header *header = pool->header;
    uint32_t before = header->segment_count;
    /* Only once the header says so durably may the rest of the file go. */
    if (!resize_write_header(pool->data_mapping.file, header, count) || !pool_sync(pool) ||
        store_io->truncate(pool->data_mapping.file, (off_t)resize_file_bytes(header, count)) != 0) {
        snprintf(error, POOL_ERROR_MAX, "cannot shrink the file of pool %s: %m",
                 pool->options.name);
        return false;
    }
    log_info("pool %s: shrunk from %u to %u segments of %u bytes", pool->options.name, before,
             count, header->segment_bytes);
    return true;
}
