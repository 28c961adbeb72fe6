/* The look-up: from a key to its record, on the mappings that layout.h describes. The daemon and
 * every other process that maps a pool use the same function.
 *
 * Buckets are found by linear hashing: with `bucket_count` buckets in use, and 2^L the largest
 * power of two up to it, a key's bucket is its hash modulo 2^(L+1), or, if there is no such bucket
 * yet, modulo 2^L. Growing by one bucket splits one. A reader that finds nothing therefore checks
 * that the bucket is still the key's.
 *
 * A bucket's version is odd while a writer changes it, and different afterwards. A reader that
 * finds nothing while the version stays the same knows that there is no such key. A reader that
 * finds a record knows that the record was current when its slot was read. A thread of the daemon
 * may read the record until its next quiescent point (grace.h); another process must copy it and
 * then call lookup_unchanged.
 */
#ifndef STAYD_STORE_LOOKUP_H
#define STAYD_STORE_LOOKUP_H

#include "base/bytes.h"
#include "store/layout.h"
#include "store/record.h"

#include <stdbool.h>
#include <stdint.h>

/* The two mappings of a pool, and their sizes and offsets, which are copied once, when they are
 * checked. */
struct lookup_view {
    char *data;
    struct layout_index_header *index;
    struct layout_segment *segments;
    struct layout_bucket *buckets;
    struct layout_bucket *overflow;
    uint32_t segment_bytes;
    uint32_t segment_count;
    uint32_t offset_bits;
    uint32_t bucket_max;
    uint32_t overflow_max;
    uint64_t hash_seed;
};

struct lookup_hit {
    struct layout_record *at;
    struct record record; /* key and value point into the data mapping */
    _Atomic uint64_t *slot;
    uint64_t slot_value;
    struct layout_bucket *bucket;
    uint32_t version;
};

enum lookup_outcome {
    LOOKUP_FOUND,
    LOOKUP_MISSING,
    LOOKUP_BUSY, /* a writer changed the bucket: try again */
};

static inline uint64_t lookup_bucket_number(uint64_t hash, uint64_t bucket_count) {
    uint64_t mask = (UINT64_C(1) << (63 - __builtin_clzll(bucket_count))) - 1;
    uint64_t number = hash & (mask << 1 | 1);
    return number < bucket_count ? number : hash & mask;
}

static inline uint64_t lookup_location(const struct lookup_view *view, uint32_t segment,
                                       uint32_t offset) {
    return (uint64_t)segment << view->offset_bits | offset / LAYOUT_ALIGN;
}

static inline uint32_t lookup_location_segment(const struct lookup_view *view, uint64_t location) {
    return (uint32_t)(location >> view->offset_bits);
}

static inline uint32_t lookup_location_offset(const struct lookup_view *view, uint64_t location) {
    return (uint32_t)(location & ((UINT64_C(1) << view->offset_bits) - 1)) * LAYOUT_ALIGN;
}

static inline char *lookup_segment(const struct lookup_view *view, uint32_t segment) {
    return view->data + LAYOUT_PAGE + (uint64_t)segment * view->segment_bytes;
}

/* The record at a location, and the bytes up to its segment's end; NULL if the location is outside
 * the mapping. */
static inline struct layout_record *lookup_record(const struct lookup_view *view, uint64_t location,
                                                  size_t *room) {
    uint32_t segment = lookup_location_segment(view, location);
    uint32_t offset = lookup_location_offset(view, location);
    if (segment >= view->segment_count || offset >= view->segment_bytes) {
        return NULL;
    }
    *room = view->segment_bytes - offset;
    return (struct layout_record *)(void *)(lookup_segment(view, segment) + offset);
}

/* The next bucket of a chain; NULL at its end, and for a link outside the mapping. */
static inline struct layout_bucket *lookup_next_bucket(const struct lookup_view *view,
                                                       uint64_t word) {
    uint32_t link = layout_word_link(word);
    return link == 0 || link > view->overflow_max ? NULL : &view->overflow[link - 1];
}

/* One attempt. `hit` is filled in after LOOKUP_FOUND. The caller checks whether the record has
 * expired or was flushed. */
enum lookup_outcome lookup_find(const struct lookup_view *view, uint64_t hash, struct bytes key,
                                struct lookup_hit *hit);

/* Whether the bucket has not changed since lookup_find, so that what was copied from the record is
 * valid. */
bool lookup_unchanged(const struct lookup_hit *hit);

#endif
