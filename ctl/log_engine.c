#include "log_engine.h"

#include "base/clock.h"
#include "base/log.h"
#include "cluster/engine_module.h"

#include <time.h>

enum { LOG_ENGINE_PATIENCE_MS = 20000 };

/* Nothing is written to the log and nothing is followed. */
static void ignore_outcome(void *context, uint64_t token, enum engine_outcome outcome,
                           uint64_t sequence) {
    (void)context;
    (void)token;
    (void)outcome;
    (void)sequence;
}

static void ignore_found(void *context, uint64_t token, const struct engine_found *found) {
    (void)context;
    (void)token;
    (void)found;
}

static const char *optional(const char *setting) {
    return setting[0] != '\0' ? setting : NULL;
}

bool log_engine_open(const struct config_pool *pool, const struct engine_callbacks *callbacks,
                     uint32_t payload_max_bytes, struct engine *engine,
                     char error[ENGINE_ERROR_MAX]) {
    static const struct engine_callbacks ignore = {
        .written = ignore_outcome, .found = ignore_found, .log = log_write};
    const struct engine_options options = {
        .urls = pool->cluster,
        .prefix = pool->cluster_prefix,
        .pool = pool->options.name,
        .partitions = pool->options.partitions,
        .replicas = pool->cluster_replicas,
        .payload_max_bytes = payload_max_bytes,
        .credentials = optional(pool->cluster_credentials),
        .tls_ca = optional(pool->cluster_tls_ca),
        .tls_cert = optional(pool->cluster_tls_cert),
        .tls_key = optional(pool->cluster_tls_key),
    };
    engine_open *open = engine_module_load(error);
    return open != NULL && open(&options, callbacks != NULL ? callbacks : &ignore, engine, error);
}

enum engine_check log_engine_settle(const struct engine *engine, bool create, uint32_t partition,
                                    struct engine_log *log, char error[ENGINE_ERROR_MAX]) {
    uint64_t until_ms = clock_monotonic_ms() + LOG_ENGINE_PATIENCE_MS;
    enum engine_check check;
    do {
        check = create ? engine->create(engine->self, partition, error) : ENGINE_RIGHT;
        if (check == ENGINE_RIGHT) {
            check = engine->check(engine->self, partition, log, error);
        }
        if (check != ENGINE_AWAY) {
            return check;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOG_ENGINE_NAP_MS * 1000000}, NULL);
    } while (clock_monotonic_ms() < until_ms);
    return check;
}
