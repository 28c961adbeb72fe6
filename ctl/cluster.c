/* stayctl cluster: makes and shows the streams of clustered pools. It talks to the engine, through
 * the same module as the daemon. (adopt: adopt.c) */
#include "cluster_status.h"
#include "command.h"

#include "base/log.h"
#include "log_engine.h"
#include "refill.h"

#include <stdio.h>
#include <string.h>

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

static int create_streams(const struct config_pool *pool, const struct engine *engine) {
    char error[ENGINE_ERROR_MAX];
    int result = 0;
    printf("%9s  %-16s %8s %12s %14s %14s\n", "partition", "leader", "current", "records", "bytes",
           "last");
    for (uint32_t i = 0; i < pool->options.partitions; i++) {
        struct engine_log log;
        enum engine_check check = log_engine_settle(engine, true, i, &log, error);
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
    return result;
}

static int run_pool(const struct config_pool *pool, const struct target *target, bool create,
                    bool json) {
    char error[ENGINE_ERROR_MAX];
    struct engine engine;
    if (!log_engine_open(pool, NULL, 0, &engine, error)) {
        fprintf(stderr, "stayctl: pool %s: %s\n", pool->options.name, error);
        return EXIT_FAULT;
    }
    if (!json) {
        printf("pool %s: %u partitions at ", pool->options.name, pool->options.partitions);
        print_addresses(pool->cluster);
    }
    int result =
        create ? create_streams(pool, &engine) : cluster_status_show(pool, target, &engine, json);
    engine.close(engine.self);
    return result;
}

int cluster_run(const struct target_list *list, struct invocation *invocation) {
    const char *what = invocation->argument_count > 0 ? invocation->arguments[0] : "";
    bool create = strcmp(what, "create") == 0;
    bool any = false;
    int result = 0;
    bool adopt = strcmp(what, "adopt") == 0;
    if (!adopt && (invocation->argument_count != 1 || (!create && strcmp(what, "status") != 0))) {
        fputs("stayctl: cluster: say create, status or adopt POOL\n", stderr);
        return EXIT_WRONG;
    }
    if (adopt) {
        invocation->arguments++;
        invocation->argument_count--;
        return adopt_run(list, invocation);
    }
    if (list->config == NULL) {
        fputs("stayctl: cluster: needs the configuration; use -c\n", stderr);
        return EXIT_WRONG;
    }
    log_init(LOG_LEVEL_ERROR);
    for (unsigned i = 0; i < list->config->pool_count; i++) {
        const struct config_pool *pool = &list->config->pools[i];
        if (pool->cluster[0] != '\0') {
            const struct target *target = target_find(list, pool->options.name);
            int each = run_pool(pool, target, create, invocation->json && !create);
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
