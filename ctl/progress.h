/* Shows the progress of a long command: one line on the terminal, which each update overwrites.
 * Shows nothing if stderr is not a terminal. */
#ifndef STAYD_CTL_PROGRESS_H
#define STAYD_CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what;
    uint64_t total_bytes;

    /* private */
    bool terminal;
    uint64_t shown_ms; /* monotonic */
};

void progress_begin(struct progress *progress, const char *what, uint64_t total_bytes);
void progress_show(struct progress *progress, uint64_t done_bytes);

/* Clears the line, so that other output can be printed. */
void progress_clear(struct progress *progress);

#endif
