/* stats items and stats slabs, in the shape that memcached's tools read.
 *
 * memcached stores items of about the same size together, in a slab class. stayd stores items that
 * expire at about the same time together, in a TTL class. So the class here is the TTL class, from
 * 1 to 8; a page is a segment; and a chunk is 8 bytes, the unit of record sizes, because tools
 * calculate bytes as chunks times chunk_size. */
#include "proto/stats_groups.h"

#include <inttypes.h>
#include <stdio.h>

enum { CLASSES_NAME_MAX = 64, CLASSES_CHUNK_BYTES = 8 };

/* memcached's classes begin at 1. */
static void classes_put(struct stats_sink *sink, const char *prefix, unsigned class,
                        const char *name, uint64_t number) {
    char whole[CLASSES_NAME_MAX];
    snprintf(whole, sizeof whole, "%s%u:%s", prefix, class + 1, name);
    stats_put_u64(sink, whole, number);
}

/* Exporters expect every name that memcached has. Figures of a segmented LRU and of a crawler are
 * 0, because stayd has neither. */
static void items_put_class(struct stats_sink *sink, unsigned class,
                            const struct pool_class_stats *stats) {
    const struct {
        const char *name;
        uint64_t number;
    } lines[] = {
        {"number", stats->items},
        {"number_hot", 0},
        {"number_warm", 0},
        {"number_cold", stats->items}, /* as in memcached without its LRU maintainer */
        {"age_hot", 0},
        {"age_warm", 0},
        {"age", stats->age_s},
        {"mem_requested", stats->live_bytes},
        {"evicted", stats->evicted},
        {"evicted_nonzero", stats->evicted_nonzero},
        {"evicted_time", stats->evicted_idle_s},
        {"outofmemory", 0},
        {"tailrepairs", 0},
        {"reclaimed", stats->reclaimed},
        {"expired_unfetched", stats->expired_unfetched},
        {"evicted_unfetched", stats->evicted_unfetched},
        {"evicted_active", 0},
        {"crawler_reclaimed", 0},
        {"crawler_items_checked", 0},
        {"lrutail_reflocked", 0},
        {"moves_to_cold", 0},
        {"moves_to_warm", 0},
        {"moves_within_lru", 0},
        {"direct_reclaims", 0},
        {"hits_to_hot", 0},
        {"hits_to_warm", 0},
        {"hits_to_cold", 0}, /* reads are counted for the pool, not for each class */
        {"hits_to_temp", 0},
        {"ttl_max", stats->ttl_max_s == UINT32_MAX ? 0 : stats->ttl_max_s}, /* ours; 0: none */
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        classes_put(sink, "items:", class, lines[i].name, lines[i].number);
    }
}

/* As in memcached, a class without items is left out. */
void stats_put_items(struct stats_listing *listing) {
    struct pool_class_stats stats[POOL_TTL_CLASSES];
    pool_get_class_stats(listing->connection->pool, stats);
    for (unsigned class = 0; class < POOL_TTL_CLASSES; class ++) {
        if (stats[class].items > 0) {
            items_put_class(listing->sink, class, &stats[class]);
        }
    }
}

/* mem_requested is in `stats items` only, as in memcached: Prometheus' memcached_exporter reads
 * both groups, and fails if it finds the name twice. */
static void slabs_put_class(struct stats_sink *sink, unsigned class, uint64_t segment_bytes,
                            const struct pool_class_stats *stats) {
    uint64_t chunks_per_page = segment_bytes / CLASSES_CHUNK_BYTES;
    uint64_t chunks = chunks_per_page * stats->segments;
    uint64_t used = stats->live_bytes / CLASSES_CHUNK_BYTES;
    const struct {
        const char *name;
        uint64_t number;
    } lines[] = {
        {"chunk_size", CLASSES_CHUNK_BYTES},
        {"chunks_per_page", chunks_per_page},
        {"total_pages", stats->segments},
        {"total_chunks", chunks},
        {"used_chunks", used},
        {"free_chunks", chunks > used ? chunks - used : 0},
        {"free_chunks_end", stats->unused_bytes / CLASSES_CHUNK_BYTES},
        {"cmd_set", stats->counters[POOL_CLASS_CMD_SET]},
        {"delete_hits", stats->counters[POOL_CLASS_DELETE_HITS]},
        {"incr_hits", stats->counters[POOL_CLASS_INCR_HITS]},
        {"decr_hits", stats->counters[POOL_CLASS_DECR_HITS]},
        {"cas_hits", stats->counters[POOL_CLASS_CAS_HITS]},
        {"cas_badval", stats->counters[POOL_CLASS_CAS_BADVAL]},
        {"touch_hits", stats->counters[POOL_CLASS_TOUCH_HITS]},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        classes_put(sink, "", class, lines[i].name, lines[i].number);
    }
}

void stats_put_slabs(struct stats_listing *listing) {
    struct pool_class_stats stats[POOL_TTL_CLASSES];
    struct pool_stats of_pool;
    pool_get_class_stats(listing->connection->pool, stats);
    pool_get_stats(listing->connection->pool, &of_pool);
    uint64_t active = 0;
    uint64_t segments = 0;
    for (unsigned class = 0; class < POOL_TTL_CLASSES; class ++) {
        if (stats[class].segments > 0) {
            slabs_put_class(listing->sink, class, of_pool.segment_bytes, &stats[class]);
            active++;
            segments += stats[class].segments;
        }
    }
    stats_put_u64(listing->sink, "active_slabs", active);
    stats_put_u64(listing->sink, "total_malloced", segments * of_pool.segment_bytes);
}

/* The histogram takes many steps, so only the text protocol has it (dump.h). */
void stats_put_sizes(struct stats_listing *listing) {
    if (!atomic_load(&listing->connection->service->sizes_tracked)) {
        stats_put(listing->sink, "sizes_status", "disabled");
        return;
    }
    stats_put(listing->sink, "sizes_status", "error");
    stats_put(listing->sink, "sizes_error", "ask for it over the text protocol");
}
