#include "admin/page.h"

#include "base/clock.h"

enum { HEALTH_REJECTED_MS = 60000 /* that a client who was turned away is told of */ };

static bool health_turns_away(const struct proto_service *service) {
    uint64_t rejected_ms = atomic_load(&service->rejected_ms);
    return rejected_ms != 0 && clock_monotonic_ms() - rejected_ms < HEALTH_REJECTED_MS;
}

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
        bool turns_away = health_turns_away(&options->services[i]);
        if (turns_away) {
            fprintf(stream,
                    "pool %s turned clients away in the last minute: too many connections are "
                    "open; raise max_connections\n",
                    name);
        }
        well = well && !stats.read_only && !stats.full && !turns_away;
    }
    if (well) {
        fputs("ok\n", stream);
    }
    return well;
}
