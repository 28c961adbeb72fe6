#include "refill.h"

#include "base/clock.h"
#include "base/log.h"
#include "cluster/cluster.h"
#include "cluster/message.h"
#include "log_engine.h"
#include "store/paths.h"

#include <stdio.h>
#include <string.h>

int refill_fail(const struct refill *refill, int status, const char *why) {
    fprintf(stderr, "stayctl: pool %s: %s\n", refill->name, why);
    return status;
}

int refill_open(struct refill *refill, const struct target_list *list,
                const struct invocation *invocation, const char *command) {
    char error[POOL_ERROR_MAX];
    uint64_t expired;
    *refill = (struct refill){0};
    if (list->config == NULL || invocation->argument_count < 1 || invocation->argument_count > 2) {
        fprintf(stderr, "stayctl: %s: %s\n", command,
                list->config == NULL ? "needs the configuration; use -c"
                                     : "takes a pool and, if it is not the pool's own, a file");
        return EXIT_WRONG;
    }
    refill->name = invocation->arguments[0];
    refill->pool = config_find_pool(list->config, refill->name);
    if (refill->pool == NULL) {
        return refill_fail(refill, EXIT_WRONG, "there is no such pool in the configuration");
    }
    if (refill->pool->cluster[0] == '\0') {
        return refill_fail(refill, EXIT_WRONG, "it has no `cluster` in the configuration");
    }
    refill->is_own_file = invocation->argument_count == 1;
    if (refill->is_own_file ? !paths_data(&refill->pool->options, refill->path)
                            : snprintf(refill->path, sizeof refill->path, "%s",
                                       invocation->arguments[1]) >= (int)sizeof refill->path) {
        return refill_fail(refill, EXIT_WRONG, "the path of the file is too long");
    }
    log_init(LOG_LEVEL_WARNING);
    refill->inspect = inspect_open(refill->path, INSPECT_UNUSED, error);
    if (refill->inspect == NULL) {
        return refill_fail(refill, EXIT_WRONG, error);
    }
    if (!inspect_index(refill->inspect, error)) {
        return refill_fail(refill, EXIT_FAULT, error);
    }
    refill->now_s = clock_unix_s();
    inspect_count_items(refill->inspect, refill->now_s, &refill->live, &expired);
    uint32_t due_s = inspect_flush_due_s(refill->inspect);
    if (due_s > refill->now_s) {
        snprintf(error, sizeof error,
                 "a delayed flush_all of this file is due in %u seconds; wait for that, or start "
                 "stayd without `cluster` and take it back",
                 due_s - refill->now_s);
        return refill_fail(refill, EXIT_WRONG, error);
    }
    return 0;
}

static struct replica refill_replica(const struct inspect_item *item) {
    return (struct replica){
        .key = item->key,
        .value = item->value,
        .stale = item->stale,
        .token_sent = item->token_sent,
        .client_flags = item->client_flags,
        .expiry_s = item->expiry_s,
        .created_s = item->created_s,
        .accessed_s = item->accessed_s,
    };
}

static bool refill_find(void *context, struct bytes key, struct replica *replica) {
    struct refill *refill = context;
    struct inspect_item item;
    if (!inspect_find(refill->inspect, key, refill->now_s, &item)) {
        return false;
    }
    *replica = refill_replica(&item);
    return true;
}

static void refill_show(void *context) {
    struct refill *refill = context;
    const struct inspect_about *about = inspect_about(refill->inspect);
    progress_show(&refill->progress,
                  (uint64_t)inspect_position(refill->inspect) * about->segment_bytes);
}

int refill_connect(struct refill *refill, bool keeps_foreign) {
    char error[ENGINE_ERROR_MAX];
    const struct config_pool *pool = refill->pool;
    refill->subjects =
        (struct subjects){pool->cluster_prefix, pool->options.name, pool->options.partitions};
    refill->fill = fill_create(&(struct fill_options){
        .subjects = &refill->subjects,
        .engine = &refill->engine,
        .source = inspect_about(refill->inspect)->pool_id,
        .life = {CLUSTER_KEEP_S, pool->options.idle_timeout_s},
        .keeps_foreign = keeps_foreign,
        .find = refill_find,
        .context = refill,
        .progress = refill_show,
    });
    if (refill->fill == NULL) {
        return refill_fail(refill, EXIT_FAULT, "no memory");
    }
    const struct engine_callbacks callbacks = fill_callbacks(refill->fill);
    if (!log_engine_open(pool, &callbacks, pool->options.item_max_bytes + MESSAGE_HEAD_BYTES,
                         &refill->engine, error)) {
        return refill_fail(refill, EXIT_FAULT, error);
    }
    return 0;
}

static bool refill_put(struct refill *refill, const struct inspect_item *item, char *error) {
    const struct replica replica = refill_replica(item);
    if (item->key.size + item->value.size > refill->pool->options.item_max_bytes) {
        snprintf(error, ENGINE_ERROR_MAX,
                 "an item of %zu bytes is larger than the configuration's item_max",
                 item->key.size + item->value.size);
        return false;
    }
    return fill_put(refill->fill, &replica, error);
}

int refill_run(struct refill *refill) {
    char error[ENGINE_ERROR_MAX];
    struct inspect_item item;
    progress_begin(&refill->progress, refill->name, inspect_about(refill->inspect)->file_bytes);
    bool well = fill_compare(refill->fill, error) && fill_begin(refill->fill, error);
    while (well && inspect_next(refill->inspect, refill->now_s, &item)) {
        well = refill_put(refill, &item, error);
        refill_show(refill);
    }
    well = well && fill_settle(refill->fill, error);
    progress_clear(&refill->progress);
    return well ? 0 : refill_fail(refill, EXIT_FAULT, error);
}

int refill_end(struct refill *refill) {
    char error[ENGINE_ERROR_MAX];
    return fill_end(refill->fill, error) ? 0 : refill_fail(refill, EXIT_FAULT, error);
}

void refill_close(struct refill *refill) {
    if (refill->engine.close != NULL) {
        refill->engine.close(refill->engine.self);
    }
    fill_destroy(refill->fill);
    inspect_close(refill->inspect);
}
