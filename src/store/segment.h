/* Segments: which are free, which are open for appending, and how many bytes of each are live.
 *
 *     FREE --segments_reserve opens it--> OPEN --full--> SEALED --segments_retire--> FREE
 *
 * Records that expire at about the same time go into the same segments (TTL classes), so that whole
 * segments fall due together. There are two sets of open segments, one for what clients write and
 * one for what the janitor moves: a record that was moved once is old, and is likely to stay live.
 *
 * Any thread may reserve; only the janitor's thread seals, walks, retires and frees. A walk of
 * a segment begins a grace period after it was sealed: until then, records in it may be half
 * written.
 */
#ifndef STAYD_STORE_SEGMENT_H
#define STAYD_STORE_SEGMENT_H

#include "base/status.h"
#include "store/lookup.h"
#include "store/record.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    SEGMENT_CLASSES =
        8, /* TTL classes: their limits are in segment.c; POOL_TTL_CLASSES in pool.h */
    SEGMENT_NONE = -1
};

/* What room is reserved for. The first ones must leave the most free segments to the others. */
enum segment_purpose {
    SEGMENT_FOR_NEW,     /* an item that was not there */
    SEGMENT_FOR_UPDATE,  /* a new version of an item */
    SEGMENT_FOR_REMOVAL, /* a tombstone or a flush record, which makes other records dead */
    SEGMENT_FOR_JANITOR, /* compaction, which gives back more than it takes */
    SEGMENT_PURPOSES
};

/* Where a record goes: appended, not yet written. */
struct segment_place {
    struct layout_record *at;
    uint64_t location;
    uint32_t crc_seed; /* 0: no CRC */
};

struct segment_head {
    _Alignas(64) pthread_mutex_t lock;
    int64_t segment;   /* being appended to, or SEGMENT_NONE */
    uint32_t crc_seed; /* of that segment */
};

struct segments {
    struct lookup_view *view;
    struct layout_data_header *header; /* NULL in volatile pools: records carry no CRC */

    /* private */
    bool evict;                                 /* of the pool */
    _Atomic uint32_t reserve[SEGMENT_PURPOSES]; /* how many free segments each must leave */
    pthread_mutex_t free_lock;                  /* `free` to `limit`; taken inside a head's lock */
    uint32_t *free;
    uint32_t *spare; /* not handed out, because the memory limit was lowered; memory_limit.h */
    /* Of each segment: the highest sequence when it was sealed, though a few writes that were under
     * way may have a higher one. UINT64_MAX: open. */
    _Atomic uint64_t *sealed_sequence;
    _Atomic uint32_t *opened_s;   /* of each segment, a copy from its header; for statistics */
    uint64_t generation;          /* of the segment opened last */
    uint32_t limit;               /* segments from this one on are not handed out */
    _Atomic uint32_t free_count;  /* written under free_lock */
    _Atomic uint32_t spare_count; /* written under free_lock, by the janitor's thread only */
    uint32_t spare_clear; /* the memory of the first so many is given back; janitor's thread */
    bool spare_next;      /* the next freed segment becomes spare, if too many are in use; janitor's
                             thread */
    _Atomic uint32_t allowed;            /* how many segments the memory limit allows */
    _Atomic uint32_t opened_for_janitor; /* so far */
    struct segment_head heads[2][SEGMENT_CLASSES];
};

/* Takes the states from the segment table. Free segments stay free, one open segment of each class
 * stays open, and further open segments are sealed. False if memory is short. `evict`: of the pool.
 */
bool segments_init(struct segments *segments, struct lookup_view *view,
                   struct layout_data_header *header, bool evict);
void segments_finish(struct segments *segments);

/* The class of an item that lives for this long; UINT32_MAX: for ever. */
unsigned segment_class(uint32_t ttl_s);
uint32_t segment_class_limit_s(unsigned class);

/* Reserves `bytes` (a multiple of LAYOUT_ALIGN) for records that are needed until `expiry_s` (0:
 * for ever). False if a new segment would be needed and the purpose may not take one. */
bool segments_reserve(struct segments *segments, enum segment_purpose purpose, uint32_t now_s,
                      uint32_t expiry_s, size_t bytes, struct segment_place *place);

/* The same in segments that are open already: takes no free segment. */
bool segments_append(struct segments *segments, enum segment_purpose purpose, uint32_t now_s,
                     uint32_t expiry_s, size_t bytes, struct segment_place *place);

/* The expected bytes that a record of this size leaves unused at the end of a segment, among
 * records of all sizes: half a record for each segment, weighted by size, because larger records
 * more often do not fit. */
static inline uint64_t segment_waste_among(uint32_t capacity, uint64_t bytes) {
    return bytes < capacity / 64 ? 0 : bytes * bytes / capacity / 2;
}

/* What records of this size leave unused at the end of a segment, as a share of each, at least:
 *
 *     | record | record | record | unused |      among others: half a record for each segment, as
 *                                                the larger ones are in the way more often
 *
 * whichever is more. 0 for small ones, which together waste less than a hundredth. */
static inline uint32_t segment_waste_bytes(uint32_t capacity, size_t bytes) {
    if (bytes < capacity / 64) {
        return 0;
    }
    uint64_t alone = capacity / (capacity / bytes) - bytes;
    uint64_t among = segment_waste_among(capacity, bytes);
    return (uint32_t)(alone > among ? alone : among);
}

/* How many segments are free, and how many of these a purpose must leave: snapshots. */
static inline uint32_t segments_free_count(const struct segments *segments) {
    return atomic_load_explicit(&segments->free_count, memory_order_relaxed); /* a number */
}
static inline uint32_t segments_reserved_from(const struct segments *segments,
                                              enum segment_purpose purpose) {
    return atomic_load_explicit(&segments->reserve[purpose], memory_order_relaxed); /* a number */
}

/* How many segments were opened for SEGMENT_FOR_JANITOR so far. */
static inline uint32_t segments_opened_for_janitor(const struct segments *segments) {
    return atomic_load_explicit(&segments->opened_for_janitor, memory_order_relaxed); /* a number */
}

/* When the segment was opened, in unix seconds; for statistics. */
static inline uint32_t segments_opened_s(const struct segments *segments, uint32_t segment) {
    return atomic_load_explicit(&segments->opened_s[segment], memory_order_relaxed); /* a number */
}

/* The TTL class of the segment at a location. */
static inline uint32_t segments_ttl_class(const struct segments *segments, uint64_t location) {
    uint32_t segment = lookup_location_segment(segments->view, location);
    return atomic_load_explicit(&segments->view->segments[segment].ttl_class,
                                memory_order_relaxed) %
           SEGMENT_CLASSES; /* relaxed: a number */
}

/* The bytes that compaction cannot free: the records that clients may see, tombstones and flush
 * records, and the expected waste at the ends of segments. A flush reduces it at once. Relaxed:
 * counts. */
static inline uint64_t segments_all_needed_bytes(const struct segments *segments) {
    const struct layout_index_header *index = segments->view->index;
    int64_t flushed = (int64_t)atomic_load_explicit(&index->flushed_bytes, memory_order_relaxed);
    uint64_t counted = atomic_load_explicit(&index->live_bytes, memory_order_relaxed) +
                       atomic_load_explicit(&index->tombstone_bytes, memory_order_relaxed) +
                       atomic_load_explicit(&index->waste_bytes, memory_order_relaxed);
    return flushed <= 0 ? counted : counted > (uint64_t)flushed ? counted - (uint64_t)flushed : 0;
}

/* How many bytes may be needed (segments_all_needed_bytes) in so many segments before new keys are
 * refused. */
uint64_t segments_needed_limit(const struct segments *segments, uint32_t count);

/* Raises the number of sequences given out in the data's header, if the pool has one. */
void segments_note_sequence(struct segments *segments, uint64_t sequence);

/* Whether a segment can be opened for this purpose. */
bool segments_available(struct segments *segments, enum segment_purpose purpose);

/* Whether no more than segments_low_water segments are free, so that the janitor must free some. */
bool segments_are_few(const struct segments *segments);
uint32_t segments_low_water(const struct segments *segments);

/* An upper bound of the bytes in a segment that are still needed: a snapshot. */
uint32_t segments_needed_bytes(const struct segments *segments, uint32_t segment);

/* Whether the header is valid, so that recovery may read the records in the segment. */
bool segment_header_valid(const struct layout_segment_header *header);

/* Bytes that records can fill in one segment. */
static inline uint32_t segment_capacity(const struct segments *segments) {
    return segments->view->segment_bytes - (uint32_t)sizeof(struct layout_segment_header);
}

/* Stops handing out the segments from number `count` on (before the file is cut). */
void segments_limit(struct segments *segments, uint32_t count);

/* Sets how many segments may be used. segments_adjust_spare and segments_free then make the others
 * spare as they become free. One caller at a time. */
void segments_allow(struct segments *segments, uint32_t count);

static inline uint32_t segments_allowed(const struct segments *segments) {
    return atomic_load_explicit(&segments->allowed, memory_order_relaxed); /* a number */
}

/* How many segments are not spare: the allowed ones, and those above the limit that are still in
 * use. */
static inline uint32_t segments_in_force(const struct segments *segments) {
    return segments->view->segment_count -
           atomic_load_explicit(&segments->spare_count, memory_order_relaxed); /* a number */
}

/* Makes free segments spare, or spare segments free, until the allowed number is reached. Leaves
 * `keep` free segments. */
void segments_adjust_spare(struct segments *segments, uint32_t keep);

/* In a new pool, makes the segments beyond the limit spare. Nothing has been written there, so
 * there is no memory to give back. */
void segments_begin_spare(struct segments *segments);

/* The next spare segment whose memory has not been given back yet; SEGMENT_NONE. Returns each one
 * once. */
int64_t segments_next_to_clear(struct segments *segments);

/* Ends appending to a segment. */
void segments_seal(struct segments *segments, uint32_t segment);

/* Clears the header of a segment that no slot points into, except the slots of items that are about
 * to be evicted, so that recovery does not read the segment again. It is not free before
 * segments_free. */
void segments_retire(struct segments *segments, uint32_t segment);

/* Makes a retired segment free. In a persistent pool the caller has synced since segments_retire.
 */
void segments_free(struct segments *segments, uint32_t segment);

/* Counts a record that a slot now points to, or no longer points to. `flushed`: a flush deleted the
 * record before. */
void segments_count_live(struct segments *segments, uint64_t location, size_t bytes);
void segments_count_dead(struct segments *segments, uint64_t location, size_t bytes, bool flushed);

/* Counts a tombstone or a flush record that was written here. */
void segments_count_tombstone(struct segments *segments, uint64_t location, size_t bytes);

/* A walk of a sealed segment has found that so many bytes of tombstones and flush records in it are
 * still needed. */
void segments_set_tombstones(struct segments *segments, uint32_t segment, uint32_t bytes);

/* Notes that a record in the segment may expire at this second, so that the janitor sweeps it then.
 */
void segment_note_due(struct layout_segment *info, uint32_t due_s);
void segments_note_due(struct segments *segments, uint64_t location, uint32_t due_s);

/* Extends the range of expiry times in the segment table by this expiry. */
void segment_note_expiry(struct layout_segment *info, uint32_t expiry_s);

/* What seeds the CRC of records in this use of the segment; 0 in volatile pools. */
uint32_t segment_crc_seed(const struct segments *segments, uint32_t segment);

/* Writes the end mark (layout.h) behind the last record of a segment. Does nothing in a volatile
 * pool, or if there is no room for the mark. */
void segment_mark_end(const struct segments *segments, uint32_t segment);

/* Whether the end mark is at `offset`. */
bool segment_is_end_at(const struct segments *segments, uint32_t segment, uint32_t offset);

struct crc_ranges;

/* Walks the records of a segment in the order in which they were written. In a persistent pool the
 * walk verifies each record, and skips bytes that are no record. The time is bounded by the
 * segment's size for any content: a client may have stored bytes that look like record headers,
 * each with a long value to verify. */
struct segment_cursor {
    const struct segments *segments;
    uint32_t segment;
    uint32_t offset; /* of the next record */
    uint32_t end;
    uint32_t crc_seed;
    uint32_t torn_bytes;       /* bytes skipped so far, */
    uint32_t torn_records;     /* in so many places */
    uint64_t rejected_bytes;   /* bytes that were verified so far and are not a record */
    struct crc_ranges *ranges; /* created when these bytes are many */

    /* after segment_next */
    struct layout_record *at;
    uint64_t location;
    size_t size;
    struct record record;
};

/* `end`: the segment's fill, or its size where that is not known. */
void segment_walk(struct segment_cursor *cursor, const struct segments *segments, uint32_t segment,
                  uint32_t end);
bool segment_next(struct segment_cursor *cursor);

/* Ends a walk before segment_next has returned false. Not needed after that. */
void segment_walk_end(struct segment_cursor *cursor);

/* For an offset behind the last whole record: whether a torn record of the current use of the
 * segment begins there. False: there is nothing, or a record of an earlier use. The sequence tells:
 * records of the current use have higher numbers than were given out when the segment was opened.
 * (A torn copy that compaction made has a lower number, and is not recognised.) */
bool segment_is_torn_at(const struct segments *segments, uint32_t segment, uint32_t offset);

/* Whether the tombstone at the cursor is valid. A tombstone that was written together with a new
 * version is valid only if the new version is whole; otherwise that write never happened. */
bool segment_tombstone_counts(const struct segment_cursor *cursor);

#endif
