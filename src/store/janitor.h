/* The janitor: one thread per pool, which frees segments before they are needed.
 *
 *     all records have expired   -> the segment is freed
 *     many records are dead      -> compaction: the live records move, the segment is freed
 *     all are live (evict = yes) -> eviction: the records with few reads go, the others move
 *
 * reclaim.h says which segment comes next, and when the pool is full; compaction.h and eviction.h
 * say how.
 *
 * Clients take free segments; when none may be taken, they ask for room (room.h).
 */
#ifndef STAYD_STORE_JANITOR_H
#define STAYD_STORE_JANITOR_H

#include "base/status.h"
#include "store/grace.h"
#include "store/reclaim.h"
#include "store/segment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pool;

struct janitor {
    /* private */
    pthread_t thread;
    bool running;
    _Atomic uint64_t full_in_s; /* pool_stats.full_in_s */

    /* only the janitor's thread touches these */
    uint64_t rate_since_ms; /* monotonic: when the measured minute began */
    uint64_t rate_from_bytes;
    double rate;               /* bytes a second by which the pool grew in the last minute */
    uint64_t rate_limit_bytes; /* the live limit for which full_in_s was calculated */
    struct reclaim reclaim;
    uint64_t moved_bytes; /* by compaction and eviction, so far */
    uint64_t flush_begun; /* sequence of the last flush for which segments were marked */
    uint64_t flush_ended; /* sequence of the last flush for which all were swept */
    uint32_t looked;      /* how many segments were checked for live records so far: each in turn */
    uint32_t swept;       /* the segment that was last checked for a sweep */
    uint32_t clean;       /* how many checks in a row found nothing to sweep */
    unsigned usual_threshold; /* of eviction, see eviction.c */
    bool pairs_synced;        /* the records in the segments of this batch are on the disk */
};

/* Starts the thread. False if the system refuses. */
bool janitor_start(struct pool *pool);

/* Ends the thread after its current pass. Accepts a janitor that never started. */
void janitor_stop(struct pool *pool);

#endif
