/* Shared by inspect.c (files and segments) and inspect_items.c (items). */
#ifndef STAYD_STORE_INSPECT_PRIVATE_H
#define STAYD_STORE_INSPECT_PRIVATE_H

#include "store/inspect.h"
#include "store/pool_private.h"

struct inspect {
    int file;
    struct layout_data_header header; /* a copy from when the file was opened, checked */
    struct inspect_about about;

    /* An unused page and one segment, so that the segment can be walked as the only one of a
     * pool. */
    char *buffer;
    struct lookup_view buffer_view;
    struct segments buffer_segments;

    /* After inspect_index. */
    struct pool *pool;            /* has no threads; its data is a private mapping. Else NULL */
    struct segment_cursor cursor; /* of inspect_next, in the segment before `next_segment` */
    uint32_t next_segment;
    uint64_t torn_bytes; /* in the segments before the cursor's */
};

/* Accepts an `inspect` without an index. */
void inspect_items_finish(struct inspect *inspect);

#endif
