#include "store/geometry.h"

#include "base/hash.h"
#include "base/number.h"
#include "store/index.h"
#include "store/segment.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum {
    GEOMETRY_SEGMENTS_WANTED = 256,
    GEOMETRY_SEGMENT_MIN = 64 << 10, /* bytes */
    GEOMETRY_SEGMENT_MAX = 4 << 20,  /* unless item_max needs more */
    GEOMETRY_ITEM_MAX_MIN = 1 << 10,
};

uint32_t geometry_header_crc(const struct layout_data_header *header) {
    return hash_crc32c(0, header, offsetof(struct layout_data_header, header_crc));
}

bool geometry_is_valid(const struct layout_data_header *header) {
    return header->segment_bytes <= 2 * (uint64_t)POOL_ITEM_MAX_LIMIT &&
           lookup_geometry_is_valid(header->segment_bytes, header->segment_count,
                                    header->offset_bits);
}

/* A segment has a 256th of the memory, within limits, but enough room for the largest item. */
static bool geometry_plan(const struct pool_options *options, struct layout_data_header *header) {
    uint64_t segment = number_round_up_u64(options->item_max_bytes + POOL_RECORD_OVERHEAD +
                                               sizeof(struct layout_segment_header),
                                           LAYOUT_PAGE);
    uint64_t share = options->memory_bytes / GEOMETRY_SEGMENTS_WANTED / LAYOUT_PAGE * LAYOUT_PAGE;
    share = share > GEOMETRY_SEGMENT_MAX ? GEOMETRY_SEGMENT_MAX : share;
    share = share < GEOMETRY_SEGMENT_MIN ? GEOMETRY_SEGMENT_MIN : share;
    segment = segment < share ? share : segment;
    uint64_t count = options->memory_bytes / segment;

    uint32_t offset_bits = 1;
    while ((UINT64_C(1) << offset_bits) * LAYOUT_ALIGN < segment) {
        offset_bits++;
    }
    if (count < POOL_SEGMENTS_MIN || count > UINT32_MAX ||
        count > UINT64_C(1) << (LAYOUT_LOCATION_BITS - offset_bits)) {
        return false;
    }
    header->segment_bytes = (uint32_t)segment;
    header->segment_count = (uint32_t)count;
    header->offset_bits = offset_bits;
    header->item_max_bytes = options->item_max_bytes;
    return true;
}

uint64_t pool_least_memory_bytes(uint32_t item_max_bytes) {
    return (item_max_bytes + UINT64_C(4096) + GEOMETRY_SEGMENT_MIN) * POOL_SEGMENTS_MIN;
}

bool pool_options_check(const struct pool_options *options, char error[POOL_ERROR_MAX]) {
    struct layout_data_header header;
    if (options->item_max_bytes < GEOMETRY_ITEM_MAX_MIN ||
        options->item_max_bytes > POOL_ITEM_MAX_LIMIT) {
        snprintf(error, POOL_ERROR_MAX, "item_max must be from 1K to 128M");
        return false;
    }
    if (options->memory_bytes > POOL_MEMORY_LIMIT) {
        snprintf(error, POOL_ERROR_MAX, "memory must be at most 1024G");
        return false;
    }
    if (options->partitions > LAYOUT_PARTITIONS_MAX) {
        snprintf(error, POOL_ERROR_MAX, "partitions must be from 1 to %d", LAYOUT_PARTITIONS_MAX);
        return false;
    }
    if (options->partitions > 0 && (!options->persist || options->evict)) {
        snprintf(error, POOL_ERROR_MAX, "a clustered pool needs persist = yes and evict = no");
        return false;
    }
    if (!geometry_plan(options, &header)) {
        unsigned long long least_kib = pool_least_memory_bytes(options->item_max_bytes) / 1024;
        snprintf(error, POOL_ERROR_MAX,
                 "memory is too small for item_max: for items of up to %lu bytes it must be at "
                 "least %lluK",
                 (unsigned long)options->item_max_bytes, least_kib);
        return false;
    }
    return true;
}

void geometry_plan_header(const struct pool_options *options, struct layout_data_header *header) {
    *header = (struct layout_data_header){
        .magic = LAYOUT_DATA_MAGIC,
        .version = LAYOUT_VERSION,
    };
    bool planned = geometry_plan(options, header);
    assert(planned);
    (void)planned;
    memcpy(header->name, options->name, strlen(options->name));
    struct {
        uint64_t hash_seed, pool_id;
        uint32_t crc_seed;
    } random;
    /* getrandom(2) neither fails nor returns fewer bytes for so small a size once the system has
     * started. */
    ssize_t length = getrandom(&random, sizeof random, 0);
    assert(length == (ssize_t)sizeof random);
    (void)length;
    header->hash_seed = random.hash_seed;
    header->pool_id = random.pool_id | 1;
    header->crc_seed = random.crc_seed;
    geometry_renew_index_id(header);
    header->header_crc = geometry_header_crc(header);
}

void geometry_renew_index_id(struct layout_data_header *header) {
    uint64_t index_id;
    ssize_t length = getrandom(&index_id, sizeof index_id, 0); /* as above */
    assert(length == (ssize_t)sizeof index_id);
    (void)length;
    atomic_store(&header->index_id, index_id | 1);
    atomic_thread_fence(memory_order_seq_cst); /* the caller writes only after this store */
}

void geometry_plan_index(const struct layout_data_header *data,
                         struct layout_index_header *header) {
    *header = (struct layout_index_header){
        .magic = LAYOUT_INDEX_MAGIC,
        .version = LAYOUT_VERSION,
        .segment_bytes = data->segment_bytes,
        .segment_count = data->segment_count,
        .offset_bits = data->offset_bits,
        .hash_seed = data->hash_seed,
        .pool_id = data->pool_id,
        .index_id = atomic_load(&data->index_id),
    };
    index_plan(header, (uint64_t)data->segment_bytes * data->segment_count);
}

void geometry_set_view(struct lookup_view *view, char *data, char *index) {
    struct layout_index_header *header = (void *)index;
    *view = (struct lookup_view){
        .data = data,
        .index = header,
        .segments = (void *)(index + header->segments_offset),
        .buckets = (void *)(index + header->buckets_offset),
        .overflow = (void *)(index + header->overflow_offset),
        .segment_bytes = header->segment_bytes,
        .segment_count = header->segment_count,
        .offset_bits = header->offset_bits,
        .bucket_max = header->bucket_max,
        .overflow_max = header->overflow_max,
        .chain_max = LOOKUP_CHAIN_MAX,
        .hash_seed = header->hash_seed,
    };
}

bool geometry_segment_count(const struct layout_data_header *found,
                            const struct pool_options *options, uint32_t *count,
                            char error[POOL_ERROR_MAX]) {
    uint64_t item_room =
        found->segment_bytes - sizeof(struct layout_segment_header) - POOL_RECORD_OVERHEAD;
    if (options->item_max_bytes > item_room) {
        snprintf(error, POOL_ERROR_MAX,
                 "the file of pool %s can hold items of up to %llu bytes, but item_max is %lu; it "
                 "is left as it is. Lower item_max, or move the file away to begin an empty pool",
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
