/* Verifies the segments of a pool file, for check and restore, and shows the progress. */
#ifndef STAYD_CTL_VERIFY_H
#define STAYD_CTL_VERIFY_H

#include "progress.h"
#include "store/inspect.h"

enum verify_extent {
    VERIFY_ALL, /* continues after a segment that cannot be read */
    VERIFY_UNTIL_UNREADABLE
};

/* Adds the results to `counts`, and calls `report` for each fault. False if a part of the file
 * could not be read. */
bool verify_segments(struct inspect *inspect, enum verify_extent extent, struct progress *progress,
                     struct inspect_counts *counts, inspect_report *report, void *context);

#endif
