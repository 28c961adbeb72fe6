#include "store/lookup_view.h"

#include <string.h>

enum { LOOKUP_FOREIGN_CHAIN_MAX = 64 }; /* a chain has one or two buckets as a rule */

bool lookup_geometry_is_valid(uint32_t segment_bytes, uint32_t segment_count,
                              uint32_t offset_bits) {
    return segment_bytes >= LAYOUT_PAGE && segment_bytes % LAYOUT_PAGE == 0 && segment_count > 0 &&
           offset_bits < LAYOUT_LOCATION_BITS &&
           (UINT64_C(1) << offset_bits) * LAYOUT_ALIGN >= segment_bytes &&
           segment_count <= UINT64_C(1) << (LAYOUT_LOCATION_BITS - offset_bits);
}

static bool lookup_data_is_valid(const struct layout_data_header *data, uint64_t data_bytes) {
    return data->magic == LAYOUT_DATA_MAGIC && data->version == LAYOUT_VERSION &&
           lookup_geometry_is_valid(data->segment_bytes, data->segment_count, data->offset_bits) &&
           (uint64_t)data->segment_bytes * data->segment_count <= data_bytes - LAYOUT_PAGE;
}

/* Whether `count` parts of this size lie at `offset`, before `end`, and are aligned as they must
 * be. */
static bool lookup_part_is_valid(uint64_t offset, uint64_t count, size_t size, uint64_t end) {
    return offset >= LAYOUT_PAGE && offset % sizeof(struct layout_bucket) == 0 && offset <= end &&
           count <= (end - offset) / size;
}

static bool lookup_index_is_valid(const struct layout_index_header *index, uint64_t index_bytes) {
    return index->magic == LAYOUT_INDEX_MAGIC && index->version == LAYOUT_VERSION &&
           index->bucket_max > 0 &&
           lookup_part_is_valid(index->overflow_offset, index->overflow_max,
                                sizeof(struct layout_bucket), index_bytes) &&
           lookup_part_is_valid(index->buckets_offset, index->bucket_max,
                                sizeof(struct layout_bucket), index->overflow_offset) &&
           lookup_part_is_valid(index->segments_offset, index->segment_count,
                                sizeof(struct layout_segment), index->buckets_offset);
}

static bool lookup_belongs(const struct layout_index_header *index,
                           const struct layout_data_header *data) {
    return index->pool_id == data->pool_id && index->hash_seed == data->hash_seed &&
           index->segment_bytes == data->segment_bytes &&
           index->segment_count == data->segment_count && index->offset_bits == data->offset_bits;
}

bool lookup_open(struct lookup_view *view, const void *data, uint64_t data_bytes, const void *index,
                 uint64_t index_bytes) {
    struct layout_data_header found_data;
    struct layout_index_header found;
    if (data_bytes < LAYOUT_PAGE || index_bytes < LAYOUT_PAGE) {
        return false;
    }
    memcpy(&found_data, data, sizeof found_data);
    memcpy(&found, index, sizeof found);
    if (!lookup_data_is_valid(&found_data, data_bytes) ||
        !lookup_index_is_valid(&found, index_bytes) || !lookup_belongs(&found, &found_data)) {
        return false;
    }
    char *base = (char *)(uintptr_t)index;
    *view = (struct lookup_view){
        .data = (char *)(uintptr_t)data,
        .index = (void *)base,
        .segments = (void *)(base + found.segments_offset),
        .buckets = (void *)(base + found.buckets_offset),
        .overflow = (void *)(base + found.overflow_offset),
        .segment_bytes = found.segment_bytes,
        .segment_count = found.segment_count,
        .offset_bits = found.offset_bits,
        .bucket_max = found.bucket_max,
        .overflow_max = found.overflow_max,
        .chain_max = LOOKUP_FOREIGN_CHAIN_MAX,
        .hash_seed = found.hash_seed,
    };
    return true;
}
