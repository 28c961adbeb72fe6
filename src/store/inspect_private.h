/* Shared by inspect.c (files and segments) and inspect_items.c (items). */
#ifndef STAYD_STORE_INSPECT_PRIVATE_H
#define STAYD_STORE_INSPECT_PRIVATE_H

#include "store/index.h"
#include "store/inspect.h"
#include "store/mapping.h"
#include "store/segment_walk.h"

struct inspect {
    int file;
    struct layout_data_header header; /* a copy from when the file was opened, checked */
    struct inspect_about about;

    /* An unused page and one segment, which is walked as if it were the only one of a pool. */
    char *buffer;
    struct lookup_view buffer_view;
    struct segment_data buffer_data;

    /* After inspect_index: a private mapping of the data, and an index in memory. */
    struct mapping data_mapping;
    struct mapping index_mapping;
    struct lookup_view view; /* of both mappings */
    struct segment_data data;
    struct index index;
    struct segment_cursor cursor; /* of inspect_next, in the segment before `next_segment` */
    uint32_t next_segment;
    uint64_t torn_bytes; /* in the segments before the cursor's */
};

/* Accepts an `inspect` without an index. */
void inspect_items_finish(struct inspect *inspect);

#endif
