/* The two mappings of a pool, and their sizes and offsets, which are copied once, when they are
 * checked.
 *
 * The daemon fills the view in for its own mappings (geometry.h). Another process opens a view of
 * mappings that it was given: whatever these contain later, no look-up leads outside them.
 */
#ifndef STAYD_STORE_LOOKUP_VIEW_H
#define STAYD_STORE_LOOKUP_VIEW_H

#include "store/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    uint32_t chain_max; /* the most buckets of a chain that are searched: a damaged chain may be a
                           ring */
    uint64_t hash_seed;
};

/* chain_max of the daemon; other processes search fewer (lookup_view.c). */
enum { LOOKUP_CHAIN_MAX = 1 << 16 };

/* Whether locations with `offset_bits` can address this many segments of this size. */
bool lookup_geometry_is_valid(uint32_t segment_bytes, uint32_t segment_count, uint32_t offset_bits);

/* Fills in the view of two mappings of another process's pool. False: the mappings do not belong to
 * one pool of this version, or their headers do not fit their sizes. Writes nothing to them. */
bool lookup_open(struct lookup_view *view, const void *data, uint64_t data_bytes, const void *index,
                 uint64_t index_bytes);

static inline uint64_t lookup_location(const struct lookup_view *view, uint32_t segment,
                                       uint32_t offset) {
    return (uint64_t)segment << view->offset_bits | offset / LAYOUT_ALIGN;
}

static inline uint32_t lookup_location_segment(const struct lookup_view *view, uint64_t location) {
    return (uint32_t)(location >> view->offset_bits);
}

static inline char *lookup_segment(const struct lookup_view *view, uint32_t segment) {
    return view->data + LAYOUT_PAGE + (uint64_t)segment * view->segment_bytes;
}

/* The record at a location, and the bytes up to its segment's end; NULL if the location is outside
 * the mapping. */
static inline struct layout_record *lookup_record(const struct lookup_view *view, uint64_t location,
                                                  size_t *room) {
    uint64_t segment = location >> view->offset_bits;
    uint64_t offset = (location & ((UINT64_C(1) << view->offset_bits) - 1)) * LAYOUT_ALIGN;
    if (segment >= view->segment_count || offset >= view->segment_bytes) {
        return NULL;
    }
    *room = view->segment_bytes - offset;
    return (struct layout_record *)(void *)(lookup_segment(view, (uint32_t)segment) + offset);
}

/* The next bucket of a chain; NULL at its end, and for a link outside the mapping. */
static inline struct layout_bucket *lookup_next_bucket(const struct lookup_view *view,
                                                       uint64_t word) {
    uint32_t link = layout_word_link(word);
    return link == 0 || link > view->overflow_max ? NULL : &view->overflow[link - 1];
}

#endif
