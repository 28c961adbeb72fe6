/* What the two halves of inspect.h share. */
#ifndef STAYD_STORE_INSPECT_PRIVATE_H
#define STAYD_STORE_INSPECT_PRIVATE_H

#include "store/inspect.h"
#include "store/pool_private.h"

struct inspect {
    int file;
    struct layout_data_header header; /* as it was when the file was opened, checked */
    struct inspect_about about;

    /* One segment at a time, behind an unused page: walked as the only segment of a pool. */
    char *buffer;
    struct lookup_view buffer_view;
    struct segments buffer_segments;

    /* After inspect_index. */
    struct pool *pool;            /* without threads; its data is a private mapping; else NULL */
    struct segment_cursor cursor; /* of inspect_next, in the segment before `next_segment` */
    uint32_t next_segment;
    uint64_t torn_bytes; /* in the segments before it */
};

/* Accepts one without an index. */
void inspect_items_finish(struct inspect *inspect);

#endif
