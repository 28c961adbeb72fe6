#include "store/pool.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/number.h"
#include "store/age_limits.h"
#include "store/memory_limit.h"
#include "store/pool_private.h"
#include "store/resize.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    POOL_SEGMENTS_WANTED = 256,
    POOL_SEGMENT_MIN = 64 << 10, /* bytes */
    POOL_SEGMENT_MAX = 4 << 20,  /* unless item_max needs more */
    POOL_ITEM_MAX_MIN = 1 << 10,
    POOL_CLOCK_NOTE_S = 60,     /* in a pool that changes, the clock is noted so often */
    POOL_ITEMS_NOTE_SHARE = 16, /* of the items: a smaller change of their number is not noted */
};

/* Segments are a 256th of the memory, but hold the largest item. */
static bool pool_plan(const struct pool_options *options, struct layout_data_header *header) {
    uint64_t segment = number_round_up_u64(options->item_max_bytes + POOL_RECORD_OVERHEAD +
                                               sizeof(struct layout_segment_header),
                                           LAYOUT_PAGE);
    uint64_t share = options->memory_bytes / POOL_SEGMENTS_WANTED / LAYOUT_PAGE * LAYOUT_PAGE;
    share = share > POOL_SEGMENT_MAX ? POOL_SEGMENT_MAX : share;
    share = share < POOL_SEGMENT_MIN ? POOL_SEGMENT_MIN : share;
    segment = segment < share ? share : segment;
    uint64_t count = options->memory_bytes / segment;

    uint32_t offset_bits = 1;
    while ((UINT64_C(1) << offset_bits) * LAYOUT_ALIGN < segment) {
        offset_bits++;
    }
    if (count < POOL_SEGMENTS_MIN || count > UINT32_MAX ||
        count > UINT64_C(1) << (LAYOUT_LOCATION_BITS - offset_bits)) {
        return false;
    }
    header->segment_bytes = (uint32_t)segment;
    header->segment_count = (uint32_t)count;
    header->offset_bits = offset_bits;
    header->item_max_bytes = options->item_max_bytes;
    return true;
}

bool pool_options_check(const struct pool_options *options, char error[POOL_ERROR_MAX]) {
    struct layout_data_header header;
    if (options->item_max_bytes < POOL_ITEM_MAX_MIN ||
        options->item_max_bytes > POOL_ITEM_MAX_LIMIT) {
        snprintf(error, POOL_ERROR_MAX, "item_max must be from 1K to 128M");
        return false;
    }
    if (options->memory_bytes > POOL_MEMORY_LIMIT) {
        snprintf(error, POOL_ERROR_MAX, "memory must be at most 1024G");
        return false;
    }
    if (!pool_plan(options, &header)) {
        unsigned long long least_kib =
            (options->item_max_bytes + UINT64_C(4096) + POOL_SEGMENT_MIN) * POOL_SEGMENTS_MIN /
            1024;
        snprintf(error, POOL_ERROR_MAX,
                 "memory does not go with item_max: for items of up to %lu bytes it must be at "
                 "least %lluK",
                 (unsigned long)options->item_max_bytes, least_kib);
        return false;
    }
    return true;
}

/* The data header that a new file would get. */
static void pool_plan_header(const struct pool *pool, struct layout_data_header *header) {
    *header = (struct layout_data_header){
        .magic = LAYOUT_DATA_MAGIC,
        .version = LAYOUT_VERSION,
    };
    bool planned = pool_plan(&pool->options, header);
    assert(planned);
    (void)planned;
    memcpy(header->name, pool->options.name, strlen(pool->options.name));
    struct {
        uint64_t hash_seed, pool_id;
        uint32_t crc_seed;
    } random;
    /* Cannot fail or be cut short for so few bytes once the system has started. */
    ssize_t length = getrandom(&random, sizeof random, 0);
    assert(length == (ssize_t)sizeof random);
    (void)length;
    header->hash_seed = random.hash_seed;
    header->pool_id = random.pool_id | 1;
    header->crc_seed = random.crc_seed;
    header->header_crc = mapping_header_crc(header);
}

void pool_plan_index(const struct layout_data_header *data, struct layout_index_header *header) {
    *header = (struct layout_index_header){
        .magic = LAYOUT_INDEX_MAGIC,
        .version = LAYOUT_VERSION,
        .segment_bytes = data->segment_bytes,
        .segment_count = data->segment_count,
        .offset_bits = data->offset_bits,
        .hash_seed = data->hash_seed,
        .pool_id = data->pool_id,
    };
    index_plan(header, (uint64_t)data->segment_bytes * data->segment_count);
}

void pool_set_view(struct pool *pool) {
    char *index = pool->index_mapping.base;
    struct layout_index_header *header = (void *)index;
    pool->view = (struct lookup_view){
        .data = pool->data_mapping.base,
        .index = header,
        .segments = (void *)(index + header->segments_offset),
        .buckets = (void *)(index + header->buckets_offset),
        .overflow = (void *)(index + header->overflow_offset),
        .segment_bytes = header->segment_bytes,
        .segment_count = header->segment_count,
        .offset_bits = header->offset_bits,
        .bucket_max = header->bucket_max,
        .overflow_max = header->overflow_max,
        .hash_seed = header->hash_seed,
    };
}

/* Both mappings of a volatile pool, with room for as many segments as the header says. */
static enum status pool_map_memory(struct pool *pool, struct layout_data_header *planned,
                                   struct layout_index_header *planned_index, char *error) {
    uint64_t bytes = LAYOUT_PAGE + (uint64_t)planned->segment_bytes * planned->segment_count;
    planned->header_crc = mapping_header_crc(planned);
    pool_plan_index(planned, planned_index);
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

/* For a persistent pool whose index run_dir has no room for. */
static enum status pool_map_nameless_index(struct pool *pool, char *error) {
    struct layout_index_header planned;
    log_warning("pool %s: run_dir (%s) has no room for its index, which is kept in memory without "
                "a name; each start makes it again from the data. Give run_dir's file system more "
                "room",
                pool->options.name, pool->options.run_dir);
    mapping_remove_index(&pool->index_mapping, &pool->options);
    pool_plan_index(pool->header, &planned);
    enum status status = mapping_create_memory(&pool->index_mapping, pool->options.name,
                                               index_size(&planned), error);
    if (status == STATUS_OK) {
        memcpy(pool->index_mapping.base, &planned, sizeof planned);
        pool->index_is_nameless = true;
    }
    return status;
}

/* Gets both mappings. `*attached`: the index is the one that the last clean stop left. */
static enum status pool_map(struct pool *pool, bool *attached, bool *created, char *error) {
    struct layout_data_header planned;
    struct layout_index_header planned_index;
    pool_plan_header(pool, &planned);
    *attached = false;
    *created = true;
    enum status status;
    if (pool->options.persist) {
        status = mapping_open_data(&pool->data_mapping, &pool->options, &planned, created, error);
        if (status != STATUS_OK) {
            return status;
        }
        pool->header = (void *)pool->data_mapping.base;
        pool_plan_index(pool->header, &planned_index);
        *attached = mapping_attach_index(&pool->index_mapping, &pool->options, pool->header,
                                         &planned_index) == STATUS_OK;
        if (*attached) {
            return STATUS_OK;
        }
        status = mapping_create_index(&pool->index_mapping, &pool->options,
                                      index_size(&planned_index), error);
        if (status == STATUS_NO_MEMORY) {
            return pool_map_nameless_index(pool, error);
        }
    } else {
        struct layout_data_header raised = planned;
        raised.segment_count = memory_limit_reserve(&pool->options, &planned);
        status = pool_map_memory(pool, &raised, &planned_index, error);
        if (status != STATUS_OK) { /* a limit of addresses (ulimit -v), as a rule */
            status = pool_map_memory(pool, &planned, &planned_index, error);
        }
    }
    if (status == STATUS_OK) {
        memcpy(pool->index_mapping.base, &planned_index, sizeof planned_index);
    }
    return status;
}

/* Writes into the data's header what must be on the disk before the first request. */
static void pool_begin_header(struct pool *pool, bool attached, bool created) {
    struct layout_data_header *header = pool->header;
    atomic_store(&header->stop_id, 0);
    /* What a power cut has taken does not get its number again: a client may know it as a CAS. So
     * recovery goes on above all that can have been given out, and the disk knows that first. */
    if (attached) {
        atomic_store(&header->opened_sequence, atomic_load(&pool->view.index->sequence));
    } else if (!created) {
        atomic_fetch_add(&header->opened_sequence, LAYOUT_SEQUENCE_GAP);
    }
    expiry_clock_note(&pool->expiry_clock, header, 0);
}

static bool pool_fail_begin(const struct pool *pool, char *error) {
    snprintf(error, POOL_ERROR_MAX, "cannot write %s/%s.pool to the disk", pool->options.data_dir,
             pool->options.name);
    return false;
}

/* Takes the index into use, and fills a new one. False if there is no room for it. */
static bool pool_begin_index(struct pool *pool, bool attached, bool created) {
    uint64_t items = pool->header != NULL && !created ? atomic_load(&pool->header->items) : 0;
    if (!index_init(&pool->index, &pool->view, pool->index_mapping.file, !attached, items)) {
        return false;
    }
    atomic_store(&pool->view.index->stop_id, 0);
    atomic_store(&pool->view.index->state, LAYOUT_INDEX_LIVE);
    return created || attached || recovery_run(pool, expiry_clock_free_s(&pool->expiry_clock));
}

/* Takes both files into use: from here on they are no longer as the last stop left them. */
static bool pool_begin(struct pool *pool, bool attached, bool created, char *error) {
    pool_set_view(pool);
    expiry_clock_init(&pool->expiry_clock, pool->options.name, mapping_boot_id(),
                      created ? NULL : pool->header);
    if (pool->header != NULL) {
        pool_begin_header(pool, attached, created);
        if (!age_limits_take(pool, attached, clock_unix_s())) {
            return pool_fail_begin(pool, error);
        }
    }
    bool indexed = pool_begin_index(pool, attached, created);
    if (!indexed && !pool_is_stopping(pool) && pool->header != NULL && !pool->index_is_nameless) {
        index_finish(&pool->index);
        if (pool_map_nameless_index(pool, error) != STATUS_OK) {
            return false;
        }
        pool_set_view(pool);
        attached = false;
        indexed = pool_begin_index(pool, attached, created);
    }
    if (!indexed && pool_is_stopping(pool)) {
        snprintf(error, POOL_ERROR_MAX, "cannot make the index of pool %s: the start was ended",
                 pool->options.name);
        return false;
    }
    if (!indexed) {
        snprintf(error, POOL_ERROR_MAX,
                 "cannot make the index of pool %s: neither run_dir's file system nor the memory "
                 "has room for it",
                 pool->options.name);
        return false;
    }
    /* That, and what recovery has mended: both before anything is written. */
    if (pool->header != NULL && !(mapping_write_again(&pool->data_mapping) && pool_sync(pool))) {
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
    pool_flush_due(pool, clock_unix_s()); /* it may have fallen due while no daemon ran */
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
    pthread_mutex_destroy(&pool->sync_lock);
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
    pthread_mutex_init(&pool->sync_lock, NULL);
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
        if (!resize_plan(pool->header, options, &count, error)) {
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
    if (!janitor_start(pool) || !sync_start(pool)) {
        snprintf(error, POOL_ERROR_MAX, "cannot start a thread: %s", strerror(errno));
        goto fail;
    }
    return pool;

fail:
    sync_stop(pool);
    janitor_stop(pool);
    pool_release(pool);
    return NULL;
}

void pool_note_header(struct pool *pool) {
    struct layout_data_header *header = pool->header;
    if (header == NULL) {
        return;
    }
    uint64_t items = atomic_load(&pool->view.index->items);
    uint64_t noted = atomic_load(&header->items);
    uint64_t change = items > noted ? items - noted : noted - items;
    if (change > noted / POOL_ITEMS_NOTE_SHARE) {
        atomic_store(&header->items, items);
    }
    uint64_t sequence = atomic_load(&pool->view.index->sequence);
    uint32_t least_age_s = sequence != pool->noted_sequence ? POOL_CLOCK_NOTE_S : UINT32_MAX;
    if (expiry_clock_note(&pool->expiry_clock, header, least_age_s)) {
        pool->noted_sequence = sequence;
    }
}

/* Leaves data and index so that the next start can take both as they are. */
static void pool_mark_stopped(struct pool *pool) {
    uint64_t stop_id = 0;
    expiry_clock_observe(&pool->expiry_clock);
    expiry_clock_note(&pool->expiry_clock, pool->header, 0);
    atomic_store(&pool->header->items, atomic_load(&pool->view.index->items));
    if (!pool_sync(pool) || pool->index_is_nameless ||
        getrandom(&stop_id, sizeof stop_id, 0) != (ssize_t)sizeof stop_id) {
        return; /* the next start rebuilds the index */
    }
    stop_id |= 1;
    pool->view.index->boot_id = mapping_boot_id();
    atomic_store(&pool->view.index->stop_id, stop_id);
    atomic_store(&pool->view.index->state, LAYOUT_INDEX_STOPPED);
    atomic_store(&pool->header->stop_id, stop_id);
    pool_sync(pool);
}

void pool_close(struct pool *pool) {
    if (pool == NULL) {
        return;
    }
    sync_stop(pool);
    janitor_stop(pool);
    if (pool->header != NULL) {
        pool_mark_stopped(pool);
    }
    pool_release(pool);
}

const struct pool_options *pool_get_options(const struct pool *pool) {
    return &pool->options;
}

void pool_tick(struct pool *pool, struct store_thread *thread) {
    /* relaxed: it falls due by the second, not by the nanosecond */
    uint32_t due_s = atomic_load_explicit(&pool->view.index->flush_due_s, memory_order_relaxed);
    if (due_s != 0 && due_s <= thread->now_s) {
        pool_flush_due(pool, thread->now_s);
    }
}

void pool_count(struct pool *pool, struct store_thread *thread, enum pool_counter counter) {
    pool_add(pool, thread->index, counter, 1);
}

static uint64_t pool_sum_counter(const struct pool *pool, enum pool_counter counter) {
    uint64_t sum = 0;
    for (unsigned shard = 0; shard <= pool_janitor_shard(pool); shard++) {
        sum += atomic_load_explicit(&pool->shards[shard].counters[counter], memory_order_relaxed);
    }
    return sum; /* relaxed: a count */
}

static uint64_t pool_sum_class_counter(const struct pool *pool, unsigned class,
                                       enum pool_class_counter counter) {
    uint64_t sum = 0;
    for (unsigned shard = 0; shard < pool_janitor_shard(pool); shard++) {
        sum += atomic_load_explicit(&pool->shards[shard].class_counters[class][counter],
                                    memory_order_relaxed); /* a count */
    }
    return sum;
}

void pool_get_stats(struct pool *pool, struct pool_stats *stats) {
    const struct layout_index_header *index = pool->view.index;
    uint32_t capacity = segment_capacity(&pool->segments);
    uint32_t segments = segments_allowed(&pool->segments);
    uint32_t free_count = atomic_load(&pool->segments.free_count);
    *stats = (struct pool_stats){
        .items = atomic_load(&index->items),
        .live_bytes = atomic_load(&index->live_bytes),
        .marker_bytes = atomic_load(&index->marker_bytes),
        .capacity_bytes = (uint64_t)capacity * segments,
        .index_bytes = index_used_bytes(&pool->index),
        .index_power = (uint32_t)(63 - __builtin_clzll(atomic_load(&index->bucket_count))),
        .segments = segments,
        .segments_free = free_count < segments ? free_count : segments,
        .segment_bytes = pool->view.segment_bytes,
        .syncs = atomic_load(&pool->sync.count),
        .sync_lag_ms = pool->options.persist ? sync_lag_ms(&pool->sync) : 0,
        .full_in_s = pool->options.evict ? UINT64_MAX : atomic_load(&pool->janitor.full_in_s),
        .read_only = atomic_load(&pool->read_only),
        .full = atomic_load(&pool->room.full) || index_is_full(&pool->index),
        .index_full = index_is_full(&pool->index),
    };
    for (int counter = 0; counter < POOL_COUNTERS; counter++) {
        stats->counters[counter] = pool_sum_counter(pool, (enum pool_counter)counter) -
                                   atomic_load(&pool->counters_base[counter]);
    }
    uint64_t used = 0;
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        const struct layout_segment *info = &pool->view.segments[segment];
        uint32_t state = atomic_load(&info->state);
        if (state == LAYOUT_SEGMENT_SEALED) {
            used += capacity;
        } else if (state == LAYOUT_SEGMENT_OPEN) {
            used += atomic_load(&info->fill) - sizeof(struct layout_segment_header);
        }
    }
    uint64_t needed = stats->live_bytes + stats->marker_bytes;
    stats->dead_bytes = used > needed ? used - needed : 0;
    stats->free_bytes = stats->capacity_bytes > used ? stats->capacity_bytes - used : 0;
}

_Static_assert((int)POOL_TTL_CLASSES == (int)SEGMENT_CLASSES, "the same classes");

void pool_get_class_stats(struct pool *pool, struct pool_class_stats stats[POOL_TTL_CLASSES]) {
    const struct lookup_view *view = &pool->view;
    uint32_t now_s = clock_unix_s();
    for (unsigned class = 0; class < SEGMENT_CLASSES; class ++) {
        const struct pool_departures *departures = &pool->departures[class];
        stats[class] = (struct pool_class_stats){
            .ttl_max_s = segment_class_limit_s(class),
            .evicted = atomic_load(&departures->evicted),
            .evicted_mortal = atomic_load(&departures->evicted_mortal),
            .evicted_unfetched = atomic_load(&departures->evicted_unfetched),
            .evicted_idle_s = atomic_load(&departures->evicted_idle_s),
            .reclaimed = atomic_load(&departures->reclaimed),
            .expired_unfetched = atomic_load(&departures->expired_unfetched),
        };
        for (int counter = 0; counter < POOL_CLASS_COUNTERS; counter++) {
            stats[class].counters[counter] =
                pool_sum_class_counter(pool, class, (enum pool_class_counter)counter) -
                atomic_load(&pool->class_counters_base[class][counter]);
        }
    }
    for (uint32_t segment = 0; segment < view->segment_count; segment++) {
        const struct layout_segment *info = &view->segments[segment];
        uint32_t state = atomic_load(&info->state);
        uint32_t class = atomic_load(&info->ttl_class);
        if (state == LAYOUT_SEGMENT_FREE || class >= SEGMENT_CLASSES) {
            continue;
        }
        struct pool_class_stats *of_class = &stats[class];
        of_class->segments++;
        of_class->items += atomic_load(&info->items);
        of_class->live_bytes += atomic_load(&info->live_bytes);
        if (state == LAYOUT_SEGMENT_OPEN) {
            of_class->unused_bytes += view->segment_bytes - atomic_load(&info->fill);
        }
        uint32_t opened_s = atomic_load(&pool->segments.opened_s[segment]);
        uint32_t age_s = now_s > opened_s ? now_s - opened_s : 0;
        of_class->age_s = age_s > of_class->age_s ? age_s : of_class->age_s;
    }
}

void pool_reset_counters(struct pool *pool) {
    for (unsigned class = 0; class < SEGMENT_CLASSES; class ++) {
        struct pool_departures *departures = &pool->departures[class];
        atomic_store(&departures->evicted, 0);
        atomic_store(&departures->evicted_mortal, 0);
        atomic_store(&departures->evicted_unfetched, 0);
        atomic_store(&departures->evicted_idle_s, 0);
        atomic_store(&departures->reclaimed, 0);
        atomic_store(&departures->expired_unfetched, 0);
        for (int counter = 0; counter < POOL_CLASS_COUNTERS; counter++) {
            atomic_store(&pool->class_counters_base[class][counter],
                         pool_sum_class_counter(pool, class, (enum pool_class_counter)counter));
        }
    }
    for (int counter = 0; counter < POOL_COUNTERS; counter++) {
        atomic_store(&pool->counters_base[counter],
                     pool_sum_counter(pool, (enum pool_counter)counter));
    }
}
