/* The contents of segments: their headers, and the walk through their records. Needs only the
 * mapped bytes, so that recovery and stayctl, which have no open pool, walk in the same way. */
#ifndef STAYD_STORE_SEGMENT_WALK_H
#define STAYD_STORE_SEGMENT_WALK_H

#include "store/lookup_view.h"
#include "store/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes that are walked. */
struct segment_data {
    struct lookup_view *view;
    struct layout_data_header *header; /* NULL in volatile pools: records carry no CRC */
};

/* The checksum that a segment's header should have. */
uint32_t segment_compute_header_crc(const struct layout_segment_header *header);

/* Whether the header is valid, so that recovery may read the records in the segment. */
bool segment_header_valid(const struct layout_segment_header *header);

/* The CRC seed of the records in this use of the segment; 0 in volatile pools. */
uint32_t segment_crc_seed(const struct segment_data *data, uint32_t segment);

/* Writes the end mark (layout.h) behind the last record of a segment. Does nothing in a volatile
 * pool, or if there is no room for the mark. */
void segment_mark_end(const struct segment_data *data, uint32_t segment);

/* Whether the end mark is at `offset`. */
bool segment_is_end_at(const struct segment_data *data, uint32_t segment, uint32_t offset);

/* Walks the records of a segment in the order in which they were written. In a persistent pool the
 * walk verifies each record, and skips bytes that are no record. The time is bounded by the
 * segment's size for any content: a client may have stored bytes that look like record headers,
 * each with a long value to verify. */
struct segment_cursor {
    const struct segment_data *data;
    uint32_t segment;
    uint32_t offset; /* of the next record */
    uint32_t end;
    uint32_t crc_seed;
    uint32_t torn_bytes;       /* bytes skipped so far */
    uint32_t torn_records;     /* places where bytes were skipped */
    uint64_t rejected_bytes;   /* bytes that were verified so far and are not a record */
    struct crc_ranges *ranges; /* created when these bytes are many */

    /* after segment_next */
    struct layout_record *at;
    uint64_t location;
    size_t size;
    struct record record;
};

/* `end`: the segment's fill, or its size where that is not known. */
void segment_walk(struct segment_cursor *cursor, const struct segment_data *data, uint32_t segment,
                  uint32_t end);
bool segment_next(struct segment_cursor *cursor);

/* Ends a walk before segment_next has returned false. Not needed after that. */
void segment_walk_end(struct segment_cursor *cursor);

/* For an offset behind the last whole record: whether a torn record of the current use of the
 * segment begins there. False: there is nothing, or a record of an earlier use. The two differ in
 * their sequences: a record of the current use has a higher sequence than the last one given out
 * when the segment was opened. (A torn copy that compaction made has a lower number, and is not
 * recognised.) */
bool segment_is_torn_at(const struct segment_data *data, uint32_t segment, uint32_t offset);

/* Whether the tombstone at the cursor is valid. A tombstone that was written together with a new
 * version is valid only if the new version is whole; otherwise the write was cut off, and does not
 * count. */
bool segment_tombstone_counts(const struct segment_cursor *cursor);

#endif
