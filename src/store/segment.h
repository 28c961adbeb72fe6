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
#include "store/segment_table.h"
#include "store/segment_walk.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { SEGMENT_NONE = -1 };

/* What room is reserved for. A purpose must leave free segments to
 * those below it. */
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
    struct segment_data data;

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

/* How many bytes may be needed (segment_table_needed_bytes) in so many segments before new keys are
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
    return segments->data.view->segment_count -
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

#endif
