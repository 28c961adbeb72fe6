/* Computes the sizes of a pool: the size and the number of its segments, and the offsets of the
 * parts of its two mappings. Opens no file and maps nothing. */
#ifndef STAYD_STORE_GEOMETRY_H
#define STAYD_STORE_GEOMETRY_H

#include "store/layout.h"
#include "store/lookup.h"
#include "store/pool.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    POOL_SEGMENTS_MIN = 8,
    /* The most bytes that a change writes besides the item's key and value: a record header with
     * all options and padding, and before it a tombstone with the key (change.h). */
    POOL_RECORD_OVERHEAD = 2 * (sizeof(struct layout_record) + LAYOUT_ALIGN) + 16 + POOL_KEY_MAX,
};

/* The data header of a new pool with these options, which pool_options_check has accepted. */
void geometry_plan_header(const struct pool_options *options, struct layout_data_header *header);

/* Gives the data another index_id (layout.h). Called before anything else is written to the data.
 */
void geometry_renew_index_id(struct layout_data_header *header);

/* Plans the header of an index for this data: fills in the geometry and the index_id. */
void geometry_plan_index(const struct layout_data_header *data, struct layout_index_header *header);

/* Fills in the view of two mappings whose headers have been checked. */
void geometry_set_view(struct lookup_view *view, char *data, char *index);

/* The CRC of a data header, up to header_crc. */
uint32_t geometry_header_crc(const struct layout_data_header *header);

/* Whether the sizes in a header are consistent and within the limits, so that no later computation
 * with them overflows or leaves the file. */
bool geometry_is_valid(const struct layout_data_header *header);

/* Sets `*count` to the number of segments that the options need, each of the size in `found`.
 * False, with the reason, if a file with segments of that size cannot serve the options. */
bool geometry_segment_count(const struct layout_data_header *found,
                            const struct pool_options *options, uint32_t *count,
                            char error[POOL_ERROR_MAX]);

#endif
