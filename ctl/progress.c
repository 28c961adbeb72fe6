#include "progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

enum { PROGRESS_INTERVAL_MS = 100 };

void progress_begin(struct progress *progress, const char *what, uint64_t total_bytes) {
    *progress = (struct progress){
        .what = what,
        .total_bytes = total_bytes,
        .terminal = isatty(STDERR_FILENO) == 1,
        .shown_ms = clock_monotonic_ms(), /* so that a short command shows nothing */
    };
}

void progress_show(struct progress *progress, uint64_t done_bytes) {
    uint64_t now_ms = clock_monotonic_ms();
    if (progress->terminal && now_ms - progress->shown_ms >= PROGRESS_INTERVAL_MS) {
        progress->shown_ms = now_ms;
        fprintf(stderr, "\r%s: %llu of %llu MiB\033[K", progress->what,
                (unsigned long long)(done_bytes >> 20),
                (unsigned long long)(progress->total_bytes >> 20));
    }
}

void progress_clear(struct progress *progress) {
    if (progress->terminal) {
        fputs("\r\033[K", stderr);
    }
}
