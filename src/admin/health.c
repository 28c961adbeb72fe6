#include "admin/page.h"

bool health_write(const struct admin_options *options, FILE *stream) {
    bool well = true;
    for (unsigned i = 0; i < options->pool_count; i++) {
        struct pool_stats stats;
        const char *name = pool_get_options(options->pools[i])->name;
        pool_get_stats(options->pools[i], &stats);
        if (stats.read_only) {
            fprintf(stream, "pool %s is read-only: its file failed; see the log\n", name);
        }
        if (stats.index_full) {
            fprintf(stream,
                    "pool %s refuses new keys: run_dir has no space left for its index; free space "
                    "in run_dir\n",
                    name);
        } else if (stats.full) {
            fprintf(stream, "pool %s is full: it refuses new keys; raise its memory\n", name);
        }
        well = well && !stats.read_only && !stats.full;
    }
    if (well) {
        fputs("ok\n", stream);
    }
    return well;
}
