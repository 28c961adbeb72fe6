#include "verify.h"

bool verify_segments(struct inspect *inspect, enum verify_extent extent, struct progress *progress,
                     struct inspect_counts *counts, inspect_report *report, void *context) {
    const struct inspect_about *about = inspect_about(inspect);
    bool readable = true;
    progress_begin(progress, "check", about->file_bytes);
    for (uint32_t segment = 0; segment < about->segment_count && (readable || extent == VERIFY_ALL);
         segment++) {
        readable = inspect_verify(inspect, segment, counts, report, context) && readable;
        progress_show(progress, (uint64_t)segment * about->segment_bytes);
    }
    progress_clear(progress);
    return readable;
}
