/* Segments: which are free, which are open for appending, and how many bytes of each are live.
 *
 *     FREE --segments_reserve opens it--> OPEN --full--> SEALED --segments_retire--> FREE
 *
 * Records that expire at about the same time go into the same segments (TTL classes), so that a
 * whole segment can be freed when they have expired. There are two sets of open segments, one for
 * what clients write and one for what the janitor moves: a record that was moved once is old, and
 * is likely to stay live.
 *
 * Any thread may reserve; when a reservation opens a segment, it seals the one that was open
 * before. Only the janitor's thread calls segments_seal, and walks, retires and frees segments. A
 * walk covers only records that were reserved at least a grace period ago; later ones may be half
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

/* What room is reserved for. Each purpose must leave some free segments to the purposes below it.
 */
enum segment_purpose {
    SEGMENT_FOR_NEW,     /* a new item */
    SEGMENT_FOR_UPDATE,  /* a new version of an item */
    SEGMENT_FOR_REMOVAL, /* a tombstone or a flush record, which makes other records dead */
    SEGMENT_FOR_JANITOR, /* compaction, which gives back more than it takes */
    SEGMENT_PURPOSES
};

/* Room that is reserved for a record; the record is not written yet. */
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
    uint32_t *spare; /* beyond the memory limit, not handed out; memory_limit.h */
    /* Of each segment: the last sequence given out when it was sealed; UINT64_MAX: it is open.
     * Writes that were under way then may have higher sequences. */
    _Atomic uint64_t *sealed_sequence;
    _Atomic uint32_t *opened_s;   /* of each segment, a copy from its header; for statistics */
    uint64_t generation;          /* of the segment opened last */
    uint32_t limit;               /* segments from this number on are not handed out */
    _Atomic uint32_t free_count;  /* written under free_lock */
    _Atomic uint32_t spare_count; /* written under free_lock, by the janitor's thread only */
    uint32_t spare_clear; /* how many segments, from spare[0] on, have given their memory back;
                             janitor's thread */
    bool spare_next;      /* the segment that was freed last became spare, so the next one does not;
                             janitor's thread */
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

/* With `count` segments, new keys are refused if more bytes than this would be needed
 * (segment_table_needed_bytes). */
uint64_t segments_needed_limit(const struct segments *segments, uint32_t count);

/* Raises opened_sequence in the data's header to `sequence`, if the pool has such a header. */
void segments_note_sequence(struct segments *segments, uint64_t sequence);

/* Whether a segment can be opened for this purpose. */
bool segments_available(struct segments *segments, enum segment_purpose purpose);

/* Whether at most segments_low_water segments are free, so that the janitor must free some. */
bool segments_are_few(const struct segments *segments);
uint32_t segments_low_water(const struct segments *segments);

/* An upper bound of the bytes in a segment that are still needed: a snapshot. */
uint32_t segments_needed_bytes(const struct segments *segments, uint32_t segment);

/* Stops handing out the segments from number `count` on, because the file is going to shrink. */
void segments_limit(struct segments *segments, uint32_t count);

/* Sets how many segments may be used. segments_adjust_spare and segments_free then make the others
 * spare as they become free. One caller at a time. */
void segments_allow(struct segments *segments, uint32_t count);

static inline uint32_t segments_allowed(const struct segments *segments) {
    return atomic_load_explicit(&segments->allowed, memory_order_relaxed); /* a number */
}

/* How many segments are not spare. More than segments_allowed while the memory limit is exceeded.
 */
static inline uint32_t segments_in_force(const struct segments *segments) {
    return segments->data.view->segment_count -
           atomic_load_explicit(&segments->spare_count, memory_order_relaxed); /* a number */
}

/* Makes free segments spare, or spare segments free, until the allowed number is reached. The last
 * `keep` free segments stay free. */
void segments_adjust_spare(struct segments *segments, uint32_t keep);

/* In a new pool, makes the segments beyond the limit spare. Nothing has been written there, so
 * there is no memory to give back. */
void segments_begin_spare(struct segments *segments);

/* The next spare segment whose memory has not been given back yet; SEGMENT_NONE: there is none.
 * Returns each segment once. */
int64_t segments_next_to_clear(struct segments *segments);

/* Ends appending to a segment. */
void segments_seal(struct segments *segments, uint32_t segment);

/* Clears the header of a segment, so that recovery does not read the segment again. The only slots
 * that still point into it are those of items that are about to be evicted. The segment becomes
 * free in segments_free. */
void segments_retire(struct segments *segments, uint32_t segment);

/* Makes a retired segment free. In a persistent pool the caller must have synced since
 * segments_retire. */
void segments_free(struct segments *segments, uint32_t segment);

#endif
