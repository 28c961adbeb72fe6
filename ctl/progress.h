/* How far something has come that may take long: one line on the terminal, written over and over.
 * Where stderr is no terminal, nothing. */
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

/* Takes the line away, so that something else can be printed. */
void progress_clear(struct progress *progress);

#endif
