/* Writing a copy of a pool file: under a temporary name, PATH.new-XXXXXX, readable by its owner
 * alone, and renamed when it is whole and on the disk. */
#ifndef STAYD_CTL_COPY_H
#define STAYD_CTL_COPY_H

#include "progress.h"
#include "store/inspect.h"

#include <limits.h>
#include <stdbool.h>

struct copy {
    int file;   /* -1: none */
    bool first; /* to be set by the caller: there is no file of that name that it may replace */
    const char *path;
    char passing[PATH_MAX];
};

#define COPY_NONE ((struct copy){.file = -1})

/* Makes the temporary file, empty, for as many bytes as the source has; the disk space is reserved.
 * `path` lives as long as the copy. False with the reason. May be called again, to begin anew. */
bool copy_begin(struct copy *copy, const char *path, const struct inspect *source,
                char error[POOL_ERROR_MAX]);

enum copy_end { COPY_DONE, COPY_STOPPED, COPY_FAILED };

/* Writes the records of the source that are numbered up to `sequence`. `go_on` (may be NULL) is
 * called after each segment; when it says no, that is COPY_STOPPED. FAILED with the reason. */
enum copy_end copy_write(struct copy *copy, struct inspect *source, uint64_t sequence,
                         const char *what, bool (*go_on)(void *context), void *context,
                         char error[POOL_ERROR_MAX]);

/* Brings it to the disk and gives it its name, whatever has that, unless it is to be the first.
 * False with the reason. */
bool copy_finish(struct copy *copy, char error[POOL_ERROR_MAX]);

/* Removes what has not been finished. Accepts COPY_NONE. */
void copy_abandon(struct copy *copy);

#endif
