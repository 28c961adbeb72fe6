/* Writes a copy of a pool file: under a temporary name, PATH.new-XXXXXX, readable by its owner
 * only. The copy is renamed when it is complete and synced. */
#ifndef STAYD_CTL_COPY_H
#define STAYD_CTL_COPY_H

#include "progress.h"
#include "store/inspect.h"

#include <limits.h>
#include <stdbool.h>

struct copy {
    int file;   /* -1: none */
    bool first; /* set by the caller: do not replace an existing file */
    const char *path;
    char temporary[PATH_MAX]; /* the path until it is renamed */
};

#define COPY_NONE ((struct copy){.file = -1})

/* Creates the temporary file, empty, and reserves disk space for the size of the source. `path`
 * lives as long as the copy. False with the reason. May be called again, to start over. */
bool copy_begin(struct copy *copy, const char *path, const struct inspect *source,
                char error[POOL_ERROR_MAX]);

enum copy_end { COPY_DONE, COPY_STOPPED, COPY_FAILED };

/* Writes the source's records up to the number `sequence`. `go_on` (may be NULL) is called after
 * each segment; if it returns false, the result is COPY_STOPPED. COPY_FAILED with the reason. */
enum copy_end copy_write(struct copy *copy, struct inspect *source, uint64_t sequence,
                         const char *what, bool (*go_on)(void *context), void *context,
                         char error[POOL_ERROR_MAX]);

/* Syncs the copy and renames it to its path. Replaces a file of that name, unless `first` is set.
 * False with the reason. */
bool copy_finish(struct copy *copy, char error[POOL_ERROR_MAX]);

/* Removes an unfinished copy. Accepts COPY_NONE. */
void copy_abandon(struct copy *copy);

#endif
