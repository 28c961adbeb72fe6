/* stayctl cluster: makes and shows the streams of clustered pools. It talks to the engine, through
 * the same module as the daemon, and not to the daemon. */
#include "command.h"

#include "base/clock.h"
#include "base/log.h"
#include "cluster/engine_module.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    CLUSTER_PATIENCE_MS = 20000, /* an engine that has just started elects leaders first */
    CLUSTER_NAP_MS = 200,
};

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

static bool open_engine(const struct config_pool *pool, struct engine *engine,
                        char error[ENGINE_ERROR_MAX]) {
    static const struct engine_callbacks callbacks = {NULL, ignore_outcome, ignore_found,
                                                      log_write};
    const struct engine_options options = {
        .urls = pool->cluster,
        .prefix = pool->cluster_prefix,
        .pool = pool->options.name,
        .partitions = pool->options.partitions,
        .replicas = pool->cluster_replicas,
        .credentials = optional(pool->cluster_credentials),
        .tls_ca = optional(pool->cluster_tls_ca),
        .tls_cert = optional(pool->cluster_tls_cert),
        .tls_key = optional(pool->cluster_tls_key),
    };
    engine_open *open = engine_module_load(error);
    return open != NULL && open(&options, &callbacks, engine, error);
}

/* Makes the partition's stream, or checks it; waits for an engine that is away. */
static enum engine_check settle(const struct engine *engine, bool create, uint32_t partition,
                                struct engine_log *log, char error[ENGINE_ERROR_MAX]) {
    uint64_t until_ms = clock_monotonic_ms() + CLUSTER_PATIENCE_MS;
    enum engine_check check;
    do {
        check = create ? engine->create(engine->self, partition, error) : ENGINE_RIGHT;
        if (check == ENGINE_RIGHT) {
            check = engine->check(engine->self, partition, log, error);
        }
        if (check != ENGINE_AWAY) {
            return check;
        }
        nanosleep(&(struct timespec){.tv_nsec = CLUSTER_NAP_MS * 1000000}, NULL);
    } while (clock_monotonic_ms() < until_ms);
    return check;
}

/* Without users and passwords. */
static void print_addresses(const char *urls) {
    for (const char *at = urls; *at != '\0';) {
        size_t size = strcspn(at, ",");
        const char *scheme = strstr(at, "://");
        const char *user = memchr(at, '@', size);
        if (scheme != NULL && user != NULL) {
            printf("%.*s%.*s", (int)(scheme + 3 - at), at, (int)(at + size - user - 1), user + 1);
        } else {
            printf("%.*s", (int)size, at);
        }
        at += size;
        if (*at == ',') {
            putchar(*at++);
        }
    }
    putchar('\n');
}

static int run_pool(const struct config_pool *pool, bool create) {
    char error[ENGINE_ERROR_MAX];
    struct engine engine;
    int result = 0;
    if (!open_engine(pool, &engine, error)) {
        fprintf(stderr, "stayctl: pool %s: %s\n", pool->options.name, error);
        return EXIT_FAULT;
    }
    printf("pool %s: %u partitions at ", pool->options.name, pool->options.partitions);
    print_addresses(pool->cluster);
    printf("%9s  %-16s %8s %12s %14s %14s\n", "partition", "leader", "current", "records", "bytes",
           "last");
    for (uint32_t i = 0; i < pool->options.partitions; i++) {
        struct engine_log log;
        enum engine_check check = settle(&engine, create, i, &log, error);
        if (check != ENGINE_RIGHT) {
            printf("%9u  %s\n", i, error);
            result = EXIT_FAULT;
            if (check == ENGINE_AWAY) {
                break; /* the others would wait as long */
            }
            continue;
        }
        printf("%9u  %-16s %4u/%-3u %12llu %14llu %14llu\n", i,
               log.leader[0] != '\0' ? log.leader : "(none)", log.replicas_current, log.replicas,
               (unsigned long long)log.records, (unsigned long long)log.bytes,
               (unsigned long long)log.last);
    }
    engine.close(engine.self);
    return result;
}

int cluster_run(const struct target_list *list, struct invocation *invocation) {
    const char *what = invocation->argument_count == 1 ? invocation->arguments[0] : "";
    bool create = strcmp(what, "create") == 0;
    bool any = false;
    int result = 0;
    if (!create && strcmp(what, "status") != 0) {
        fputs("stayctl: cluster: say create or status\n", stderr);
        return EXIT_WRONG;
    }
    if (list->config == NULL) {
        fputs("stayctl: cluster: needs the configuration; use -c\n", stderr);
        return EXIT_WRONG;
    }
    log_init(LOG_LEVEL_ERROR);
    for (unsigned i = 0; i < list->config->pool_count; i++) {
        const struct config_pool *pool = &list->config->pools[i];
        if (pool->cluster[0] != '\0') {
            int each = run_pool(pool, create);
            result = each != 0 ? each : result;
            any = true;
        }
    }
    if (!any) {
        fputs("stayctl: cluster: no pool has `cluster` in this configuration\n", stderr);
        return EXIT_WRONG;
    }
    return result;
}
