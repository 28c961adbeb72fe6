#include "store/segment_walk.h"

#include "base/crc_ranges.h"
#include "base/hash.h"

enum {
    WALK_REJECTED_SHARE = 4, /* of a segment: after this many bytes were verified and were no
                                record, crc_ranges is faster */
    WALK_SMALL =
        256, /* for records up to this size, calculating the CRC is faster than crc_ranges */
};

uint32_t segment_compute_header_crc(const struct layout_segment_header *header) {
    struct layout_segment_header copy = *header;
    copy.header_crc = 0;
    return hash_crc32c(0, &copy, sizeof copy);
}

bool segment_header_valid(const struct layout_segment_header *header) {
    return header->magic == LAYOUT_SEGMENT_MAGIC &&
           header->header_crc == segment_compute_header_crc(header) &&
           header->opened_sequence <= LAYOUT_SEQUENCE_FILE_MAX;
}

uint32_t segment_crc_seed(const struct segment_data *data, uint32_t segment) {
    const struct layout_segment_header *header = (const void *)lookup_segment(data->view, segment);
    return data->header == NULL ? 0 : record_crc_seed(data->header->crc_seed, header);
}

void segment_mark_end(const struct segment_data *data, uint32_t segment) {
    const struct lookup_view *view = data->view;
    uint32_t fill = atomic_load(&view->segments[segment].fill);
    if (data->header != NULL && view->segment_bytes - fill >= sizeof(struct layout_record)) {
        char *at = lookup_segment(view, segment) + fill;
        record_write_end((struct layout_record *)(void *)at, fill, segment_crc_seed(data, segment));
    }
}

bool segment_is_end_at(const struct segment_data *data, uint32_t segment, uint32_t offset) {
    const struct lookup_view *view = data->view;
    const char *at = lookup_segment(view, segment) + offset;
    return data->header != NULL && view->segment_bytes - offset >= sizeof(struct layout_record) &&
           record_is_end((const struct layout_record *)(const void *)at, offset,
                         segment_crc_seed(data, segment));
}

void segment_walk(struct segment_cursor *cursor, const struct segment_data *data, uint32_t segment,
                  uint32_t end) {
    *cursor = (struct segment_cursor){
        .data = data,
        .segment = segment,
        .offset = sizeof(struct layout_segment_header),
        .end = end,
        .crc_seed = segment_crc_seed(data, segment),
    };
}

void segment_walk_end(struct segment_cursor *cursor) {
    crc_ranges_destroy(cursor->ranges);
    cursor->ranges = NULL;
}

/* Counts bytes that were verified and are no record; if they are many, creates crc_ranges for the
 * rest of the walk. If memory is short, tries again after as many more bytes. */
static void segment_note_rejected(struct segment_cursor *cursor) {
    const struct lookup_view *view = cursor->data->view;
    cursor->rejected_bytes += record_stored_size(cursor->at);
    if (cursor->ranges == NULL &&
        cursor->rejected_bytes > view->segment_bytes / WALK_REJECTED_SHARE) {
        cursor->rejected_bytes = 0;
        cursor->ranges =
            crc_ranges_create(lookup_segment(view, cursor->segment), view->segment_bytes);
    }
}

/* Whether the bytes at the cursor are a record. */
static bool segment_verify(struct segment_cursor *cursor) {
    size_t room = cursor->end - cursor->offset;
    if (cursor->ranges != NULL && record_read(cursor->at, room, &cursor->record) &&
        record_stored_size(cursor->at) > WALK_SMALL) {
        return record_verify_range(cursor->at, room, cursor->crc_seed, cursor->ranges,
                                   cursor->offset, &cursor->record);
    }
    if (record_verify(cursor->at, room, cursor->crc_seed, &cursor->record)) {
        return true;
    }
    if (record_read(cursor->at, room, &cursor->record)) {
        segment_note_rejected(cursor);
    }
    return false;
}

bool segment_next(struct segment_cursor *cursor) {
    const struct lookup_view *view = cursor->data->view;
    char *base = lookup_segment(view, cursor->segment);
    bool torn = false;
    while (cursor->offset + sizeof(struct layout_record) <= cursor->end) {
        cursor->at = (struct layout_record *)(void *)(base + cursor->offset);
        if (segment_verify(cursor)) {
            cursor->location = lookup_location(view, cursor->segment, cursor->offset);
            cursor->size = record_stored_size(cursor->at);
            cursor->offset += (uint32_t)cursor->size;
            return true;
        }
        if (cursor->crc_seed != 0 && record_is_end(cursor->at, cursor->offset, cursor->crc_seed)) {
            break;
        }
        /* A torn record, or room that was reserved by a write that did not finish. The CRC finds
         * the next record; no bytes that a client stored can have the right CRC. */
        cursor->offset += LAYOUT_ALIGN;
        cursor->torn_bytes += LAYOUT_ALIGN;
        cursor->torn_records += !torn;
        torn = true;
    }
    segment_walk_end(cursor);
    return false;
}

bool segment_is_torn_at(const struct segment_data *data, uint32_t segment, uint32_t offset) {
    const char *base = lookup_segment(data->view, segment);
    const struct layout_segment_header *header = (const void *)base;
    const struct layout_record *at = (const void *)(base + offset);
    uint64_t opened = header->opened_sequence;
    uint64_t opened_last = atomic_load(&data->header->opened_sequence);
    uint64_t last = (opened > opened_last ? opened : opened_last) + LAYOUT_SEQUENCE_STEP +
                    data->view->segment_bytes;
    return data->view->segment_bytes - offset >= sizeof *at && record_sequence(at) > opened &&
           record_sequence(at) <= last;
}

bool segment_tombstone_counts(const struct segment_cursor *cursor) {
    if (!cursor->record.paired) {
        return true;
    }
    const struct layout_record *at =
        (const void *)((const char *)cursor->at + cursor->size); /* the next record */
    struct record version;
    return record_verify(at, cursor->end - cursor->offset, cursor->crc_seed, &version) &&
           version.sequence == cursor->record.sequence + 1 &&
           bytes_equal(version.key, cursor->record.key);
}
