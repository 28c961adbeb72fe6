#include "store/pool.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/access_reports.h"
#include "store/age_limits.h"
#include "store/data_file.h"
#include "store/flush.h"
#include "store/geometry.h"
#include "store/header_notes.h"
#include "store/index_file.h"
#include "store/memory_limit.h"
#include "store/pool_private.h"
#include "store/recovery.h"
#include "store/resize.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Both mappings of a volatile pool, with room for as many segments as the header says. */
static enum status pool_map_memory(struct pool *pool, struct layout_data_header *planned,
                                   struct layout_index_header *planned_index, char *error) {
    uint64_t bytes = LAYOUT_PAGE + (uint64_t)planned->segment_bytes * planned->segment_count;
    planned->header_crc = geometry_header_crc(planned);
    geometry_plan_index(planned, planned_index);
    planned_index->is_volatile = 1;
    enum status status =
        mapping_create_memory(&pool->data_mapping, pool->options.name, bytes, error);
    if (status != STATUS_OK) {
        return status;
    }
    memcpy(pool->data_mapping.base, planned, sizeof *planned);
    status = mapping_create_memory(&pool->index_mapping, pool->options.name,
                                   index_size(planned_index), error);
    if (status != STATUS_OK) {
        mapping_finish(&pool->data_mapping);
    }
    return status;
}

/* Creates the index in memory without a name, because run_dir has no room for it. */
static enum status pool_map_anonymous_index(struct pool *pool, char *error) {
    struct layout_index_header planned;
    log_warning("pool %s: run_dir (%s) has no room for its index, which is kept in the process's "
                "memory; each start rebuilds it from the data. Make run_dir's file system larger",
                pool->options.name, pool->options.run_dir);
    index_file_remove(&pool->index_mapping, &pool->options);
    geometry_renew_index_id(pool->header);
    geometry_plan_index(pool->header, &planned);
    enum status status = mapping_create_memory(&pool->index_mapping, pool->options.name,
                                               index_size(&planned), error);
    if (status == STATUS_OK) {
        memcpy(pool->index_mapping.base, &planned, sizeof planned);
        pool->index_is_anonymous = true;
    }
    return status;
}

/* Gets both mappings. `*attached`: the last clean stop left the index. */
static enum status pool_map(struct pool *pool, bool *attached, bool *created, char *error) {
    struct layout_data_header planned;
    struct layout_index_header planned_index;
    geometry_plan_header(&pool->options, &planned);
    *attached = false;
    *created = true;
    enum status status;
    if (pool->options.persist) {
        status = data_file_open(&pool->data_mapping, &pool->options, &planned, created, error);
        if (status != STATUS_OK) {
            return status;
        }
        pool->header = (void *)pool->data_mapping.base;
        geometry_plan_index(pool->header, &planned_index);
        *attached =
            index_file_attach(&pool->index_mapping, &pool->options, pool->header, &planned_index);
        if (*attached) {
            return STATUS_OK;
        }
        geometry_renew_index_id(pool->header);
        geometry_plan_index(pool->header, &planned_index);
        status = index_file_create(&pool->index_mapping, &pool->options, index_size(&planned_index),
                                   error);
        if (status == STATUS_NO_MEMORY) {
            return pool_map_anonymous_index(pool, error);
        }
    } else {
        struct layout_data_header raised = planned;
        raised.segment_count = memory_limit_reserve(&pool->options, &planned);
        status = pool_map_memory(pool, &raised, &planned_index, error);
        if (status != STATUS_OK) { /* usually a limit of address space (ulimit -v) */
            status = pool_map_memory(pool, &planned, &planned_index, error);
        }
    }
    if (status == STATUS_OK) {
        memcpy(pool->index_mapping.base, &planned_index, sizeof planned_index);
    }
    return status;
}

static bool pool_fail_begin(const struct pool *pool, char *error) {
    if (pool_is_stopping(pool)) {
        snprintf(error, POOL_ERROR_MAX, "cannot open pool %s: stayd was stopped during the start",
                 pool->options.name);
        return false;
    }
    snprintf(error, POOL_ERROR_MAX, "cannot write %s/%s.pool to the disk", pool->options.data_dir,
             pool->options.name);
    return false;
}

static void pool_report_failed_sync(void *context, int error_number) {
    const struct pool *pool = context;
    log_error("pool %s is read-only from now on: its file could not be written to the disk (%s). "
              "Repair or replace the disk, then restart stayd",
              pool->options.name, strerror(error_number));
}

/* Initialises the index; runs recovery if the index is new. False if there is no room for it. */
static bool pool_begin_index(struct pool *pool, bool attached, bool created) {
    uint64_t items = pool->header != NULL && !created ? atomic_load(&pool->header->items) : 0;
    if (!index_init(&pool->index, &pool->view, pool->index_mapping.file, !attached, items)) {
        return false;
    }
    struct layout_index_header *index = pool->view.index;
    atomic_store(&index->stop_id, 0);
    atomic_store(&index->readers,
                 pool->options.partitions == 0 ? LAYOUT_READERS_ALWAYS : LAYOUT_READERS_NONE);
    atomic_store(&index->idle_timeout_s, pool->options.idle_timeout_s);
    atomic_store(&index->max_lifetime_s, pool->options.max_lifetime_s);
    access_reports_init(pool);
    const struct recovery_target target = {
        .name = pool->options.name,
        .data = {&pool->view, pool->header},
        .index = &pool->index,
        .is_stopping = pool->options.is_stopping,
    };
    if (!created && !attached && !recovery_run(&target, expiry_clock_free_s(&pool->expiry_clock))) {
        return false;
    }
    atomic_store(&index->state, LAYOUT_INDEX_LIVE);
    return true;
}

/* The items' CAS are numbers of the log. The pool's own numbers, which become the CAS from now on,
 * begin above them, so that no client sees one twice. An own write may be ahead of the position. */
static void pool_leave_log(struct pool *pool) {
    uint64_t last = 0;
    for (uint32_t i = 0; i < pool->header->partition_count && i < POOL_PARTITIONS_MAX; i++) {
        uint64_t position = positions_read(pool->header, i);
        last = position > last ? position : last;
    }
    last += LAYOUT_SEQUENCE_GAP;
    if (atomic_load(&pool->view.index->sequence) < last) {
        atomic_store(&pool->view.index->sequence, last);
        atomic_store(&pool->header->opened_sequence, last);
    }
}

/* A replicated pool's items have numbers of the log as their CAS; a plain pool's have not. */
static bool pool_begin_positions(struct pool *pool, char *error) {
    const struct pool_options *options = &pool->options;
    uint32_t before = pool->header != NULL ? pool->header->partition_count : 0;
    bool empty = atomic_load(&pool->view.index->items) == 0;
    if (options->partitions != before && options->partitions != 0 && !empty) {
        if (before != 0) {
            snprintf(
                error, POOL_ERROR_MAX,
                "%s/%s.pool is of a cluster with %u partitions, and the configuration says %u: "
                "their number never changes",
                options->data_dir, options->name, before, options->partitions);
        } else {
            snprintf(error, POOL_ERROR_MAX,
                     "%s/%s.pool has items of a pool without a cluster: `stayctl cluster adopt %s` "
                     "puts them into the cluster's log; to begin without them, move the file away",
                     options->data_dir, options->name, options->name);
        }
        return false;
    }
    if (options->partitions == 0 && before != 0) {
        log_warning("pool %s: its file was a cluster's, and the configuration names none: from now "
                    "on it is a plain pool, and hears nothing of the cluster. It cannot join again "
                    "as it is: move the file away, or fill new streams from it (stayctl reseed)",
                    options->name);
        pool_leave_log(pool);
    }
    positions_init(&pool->positions, pool->header, options->partitions);
    return true;
}

/* Initialises data and index. From here on both files differ from what the last stop left. */
static bool pool_begin(struct pool *pool, bool attached, bool created, char *error) {
    geometry_set_view(&pool->view, pool->data_mapping.base, pool->index_mapping.base);
    sync_init(&pool->sync, &(struct sync_pool){
                               .file = pool->header != NULL ? pool->data_mapping.file : -1,
                               .fsync = pool->options.fsync,
                               .grace = pool->grace,
                               .view = &pool->view,
                               .positions = &pool->positions,
                               .on_failure = pool_report_failed_sync,
                               .context = pool,
                           });
    expiry_clock_init(&pool->expiry_clock, pool->options.name, index_file_boot_id(),
                      created ? NULL : pool->header);
    if (pool->header != NULL) {
        header_notes_begin(pool, attached, created);
        if (!age_limits_take(pool, attached, clock_unix_s())) {
            return pool_fail_begin(pool, error);
        }
    }
    bool indexed = pool_begin_index(pool, attached, created);
    if (!indexed && !pool_is_stopping(pool) && pool->header != NULL && !pool->index_is_anonymous) {
        index_finish(&pool->index);
        if (pool_map_anonymous_index(pool, error) != STATUS_OK) {
            return false;
        }
        geometry_set_view(&pool->view, pool->data_mapping.base, pool->index_mapping.base);
        attached = false;
        indexed = pool_begin_index(pool, attached, created);
    }
    if (!indexed && pool_is_stopping(pool)) {
        return pool_fail_begin(pool, error);
    }
    if (!indexed) {
        snprintf(error, POOL_ERROR_MAX,
                 "cannot create the index of pool %s: neither run_dir's file system nor the memory "
                 "has room for it",
                 pool->options.name);
        return false;
    }
    if (!pool_begin_positions(pool, error)) {
        return false;
    }
    /* Syncs the header and recovery's repairs before anything is written. */
    if (pool->header != NULL &&
        !(data_file_write_again(&pool->data_mapping) && sync_now(&pool->sync))) {
        return pool_fail_begin(pool, error);
    }
    if (attached) {
        log_info("pool %s: %llu items, as the last stop left them", pool->options.name,
                 (unsigned long long)atomic_load(&pool->view.index->items));
    }
    if (!segments_init(&pool->segments, &pool->view, pool->header, pool->options.evict)) {
        snprintf(error, POOL_ERROR_MAX, "out of memory");
        return false;
    }
    memory_limit_init(pool);
    /* A flush may have fallen due while no daemon ran. It is performed before sync_start, which
     * counts everything written before it as durable. */
    if (flush_run_due(pool, clock_unix_s()) && pool->header != NULL && !sync_now(&pool->sync)) {
        return pool_fail_begin(pool, error);
    }
    return true;
}

static void pool_release(struct pool *pool) {
    segments_finish(&pool->segments);
    index_finish(&pool->index);
    mapping_finish(&pool->index_mapping);
    mapping_finish(&pool->data_mapping);
    free((char *)(uintptr_t)pool->options.data_dir);
    free((char *)(uintptr_t)pool->options.run_dir);
    free(pool->shards);
    room_finish(&pool->room);
    pthread_mutex_destroy(&pool->flush_lock);
    sync_finish(&pool->sync);
    free(pool);
}

static char *pool_copy_string(const char *string) {
    return string == NULL ? NULL : strdup(string);
}

struct pool *pool_open(const struct pool_options *options, struct grace *grace,
                       char error[POOL_ERROR_MAX]) {
    if (!pool_options_check(options, error)) {
        return NULL;
    }
    struct pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (pool == NULL) {
        snprintf(error, POOL_ERROR_MAX, "out of memory");
        return NULL;
    }
    memset(pool, 0, sizeof *pool);
    room_init(&pool->room);
    pthread_mutex_init(&pool->flush_lock, NULL);
    pool->options = *options;
    pool->options.data_dir = pool_copy_string(options->data_dir);
    pool->options.run_dir = pool_copy_string(options->run_dir);
    pool->grace = grace;
    pool->data_mapping = MAPPING_NONE;
    pool->index_mapping = MAPPING_NONE;
    size_t shard_bytes = (grace_threads(grace) + 1) * sizeof *pool->shards;
    pool->shards = aligned_alloc(64, shard_bytes);
    bool attached;
    bool created;
    if (pool->shards == NULL) {
        snprintf(error, POOL_ERROR_MAX, "out of memory");
        goto fail;
    }
    memset(pool->shards, 0, shard_bytes);
    if (pool_map(pool, &attached, &created, error) != STATUS_OK ||
        !pool_begin(pool, attached, created, error)) {
        goto fail;
    }
    if (pool->header != NULL) {
        uint32_t count;
        if (!geometry_segment_count(pool->header, options, &count, error)) {
            goto fail;
        }
        if (count < pool->view.segment_count) {
            if (!resize_shrink(pool, count, error)) {
                goto fail;
            }
            pool_release(pool);
            return pool_open(options, grace, error); /* the index is made for the new size */
        }
    }
    if (!janitor_start(pool) || !sync_start(&pool->sync)) {
        snprintf(error, POOL_ERROR_MAX, "cannot start a thread: %s", strerror(errno));
        goto fail;
    }
    return pool;

fail:
    sync_stop(&pool->sync);
    janitor_stop(pool);
    pool_release(pool);
    return NULL;
}

void pool_close(struct pool *pool) {
    if (pool == NULL) {
        return;
    }
    sync_stop(&pool->sync);
    janitor_stop(pool);
    if (pool->header != NULL) {
        header_notes_stop(pool);
    } else {
        atomic_store(&pool->view.index->state, LAYOUT_INDEX_SUPERSEDED);
    }
    pool_release(pool);
}

enum status pool_open_mappings(struct pool *pool, int files[POOL_MAPPINGS]) {
    files[0] = mapping_open_read_only(&pool->data_mapping);
    files[1] = mapping_open_read_only(&pool->index_mapping);
    if (files[0] >= 0 && files[1] >= 0) {
        return STATUS_OK;
    }
    for (int i = 0; i < POOL_MAPPINGS; i++) {
        if (files[i] >= 0) {
            close(files[i]);
        }
    }
    return STATUS_IO;
}

uint64_t pool_get_index_id(const struct pool *pool) {
    return atomic_load(&pool->view.index->index_id);
}

const struct pool_options *pool_get_options(const struct pool *pool) {
    return &pool->options;
}

uint64_t pool_take_ticket(struct pool *pool, struct store_thread *thread) {
    return sync_take_ticket(&pool->sync, pool_sync_thread(pool, thread));
}

enum status pool_check_ticket(struct pool *pool, uint64_t ticket) {
    return sync_check_ticket(&pool->sync, ticket);
}

void pool_set_sync_notify(struct pool *pool, void (*notify)(void *context), void *context) {
    sync_set_notify(&pool->sync, notify, context);
}

void pool_tick(struct pool *pool, struct store_thread *thread) {
    /* relaxed: this thread may see the value a moment late; flushes fall due by the second */
    uint32_t due_s = atomic_load_explicit(&pool->view.index->flush_due_s, memory_order_relaxed);
    if (due_s != 0 && due_s <= thread->now_s) {
        flush_run_due(pool, thread->now_s);
    }
}
