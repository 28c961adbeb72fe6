/* A pool: a store of items with a memory limit and a policy for when it is full.
 *
 * This is the whole interface that the protocols use. Every function that takes a store_thread may
 * be called by any number of threads at once, each with its own. Keys are 1 to POOL_KEY_MAX bytes,
 * any bytes: the protocols refuse the keys that they forbid.
 *
 * Times are unix seconds; expiry 0 means never, and an item exists until its expiry second begins.
 * If an operation sets an expiry in the past, clients cannot see the item that it stores; all other
 * effects are the usual ones.
 *
 * An `item` points into the pool: it is valid until the thread's next store_thread_refresh or
 * store_thread_leave, and until the thread's next call that writes to any pool.
 */
#ifndef STAYD_STORE_POOL_H
#define STAYD_STORE_POOL_H

#include "base/bytes.h"
#include "base/status.h"
#include "store/grace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POOL_KEY_MAX = 250,
    POOL_PARTITIONS_MAX = 128, /* of a replicated pool's log */
    POOL_NAME_MAX = 32,        /* letters, digits, '-' and '_' */
    POOL_ERROR_MAX = 512       /* bytes of a message in an out parameter, with its zero */
};

#define POOL_ITEM_MAX_LIMIT (UINT32_C(128) << 20) /* the largest item_max, as memcached's */
#define POOL_MEMORY_LIMIT (UINT64_C(1024) << 30)  /* the largest memory */

enum pool_fsync { POOL_FSYNC_NO, POOL_FSYNC_EVERYSEC, POOL_FSYNC_ALWAYS };

struct pool_options {
    char name[POOL_NAME_MAX + 1];
    uint64_t memory_bytes;   /* of segments; the index comes on top (some 15 bytes an item) */
    uint32_t item_max_bytes; /* key + value */
    bool memory_fixed; /* the limit will not be raised: no address space is reserved for that */
    bool evict;        /* full: evict the items that are read least (else: refuse new keys) */
    bool persist;      /* in data_dir/NAME.pool (else: in memory alone) */
    enum pool_fsync fsync;
    uint32_t idle_timeout_s; /* an item expires this long after its last read or write; 0: never */
    uint32_t max_lifetime_s; /* an item expires this long after it was first stored; 0: never */
    uint32_t partitions; /* of the log that the pool is replicated through (replication.h); 0: it is
                          * not replicated */
    const char *data_dir; /* persistent pools: exists, writable */
    const char *run_dir;
    /* Called often while a pool is opened, by the store's own threads. If it returns true,
     * pool_open fails, and may be called again later. May be NULL. */
    bool (*is_stopping)(void);
};

struct pool;

/* The least memory of a pool with items of up to `item_max_bytes`. */
uint64_t pool_least_memory_bytes(uint32_t item_max_bytes);

/* Checks whether these options can work together. False with the reason, a sentence, in `error`.
 * Opens nothing. */
bool pool_options_check(const struct pool_options *options, char error[POOL_ERROR_MAX]);

/* Opens or creates the pool and starts its janitor thread. If the file of a persistent pool exists,
 * the pool has every item that was acknowledged before the last daemon ended, and after a power cut
 * every item that was synced. NULL with the reason in `error`; the file then still has all its
 * items. Not thread-safe. */
struct pool *pool_open(const struct pool_options *options, struct grace *grace,
                       char error[POOL_ERROR_MAX]);

/* Clean stop. No thread is in any other pool function. Accepts NULL. */
void pool_close(struct pool *pool);

enum { POOL_MAPPINGS = 2 };

/* Opens read-only descriptors of both mappings, first the data's and then the index's, for another
 * process (reader.h). The caller closes them. IO: the system refuses. Any thread. */
enum status pool_open_mappings(struct pool *pool, int files[POOL_MAPPINGS]);

/* The index_id of both mappings (layout.h), by which a client recognises them as this pool's. */
uint64_t pool_get_index_id(const struct pool *pool);

/* Changes how much memory a volatile pool may use: to at most four times the initial amount. If the
 * limit is lowered, the janitor evicts the items beyond it and gives their memory back to the
 * system soon after this call. OK; INVALID: not an amount that this pool can have; NO_MEMORY: the
 * pool does not evict, and its items do not fit. Any thread may call, also during a batch. */
enum status pool_set_memory_limit(struct pool *pool, uint64_t bytes);

/* The limit in bytes: what the pool was opened with, or what it was set to since. */
uint64_t pool_get_memory_limit(const struct pool *pool);

const struct pool_options *pool_get_options(const struct pool *pool);

struct item {
    struct bytes key;
    struct bytes value;
    uint32_t client_flags;
    uint32_t expiry_s;
    uint32_t accessed_s; /* the last read that was noted (note_interval_s in operations.c), or the
                            store */
    uint64_t cas;        /* never 0 */
    bool fetched;        /* read since it was stored */
    bool stale;          /* invalidated, kept for clients that ask for stale items (meta: X) */
    bool token_sent;     /* a client was told to refresh it (meta: W, later Z) */
};

/* OK, or NOT_FOUND. Takes no lock. */
enum status pool_get(struct pool *pool, struct store_thread *thread, struct bytes key,
                     struct item *item);

enum { POOL_PREFETCH_MAX = 32 };

/* Prefetches the memory that look-ups of these keys will touch; at most POOL_PREFETCH_MAX keys.
 * Changes nothing, and counts nothing. */
void pool_prefetch(struct pool *pool, const struct bytes *keys, unsigned count);

/* Looks an item up and makes the changes that a meta get may ask for, in one step. With all fields
 * of the request zero, the same as pool_get. */
struct pool_fetch {
    bool touch; /* set the expiry; CAS stays */
    uint32_t touch_expiry_s;
    bool create; /* on a miss: an empty item with this expiry (meta: N) */
    uint32_t create_expiry_s;
    bool recache; /* win if the item expires within this many seconds (meta: R) */
    uint32_t recache_s;
    bool recache_first; /* with recache and touch: compares the expiry before the touch, not the new
                         * one (meta: R before T) */
    bool set_cas;       /* an item that is created gets this CAS */
    uint64_t new_cas;
    bool win_stale; /* win if the item is stale and no client has won it yet (meta get, always) */
    bool unnoticed; /* the read leaves no trace in the item (meta: u) */
    bool fresh;     /* in a replicated pool: sees all that was acknowledged anywhere (meta: n) */
};

struct pool_fetched {
    struct item item;         /* as it is after the change */
    uint32_t expiry_before_s; /* the expiry before the change, unless created */
    bool created;
    bool won;        /* this caller is to refresh the item (meta: W) */
    bool token_sent; /* another caller has won the item before (meta: Z) */
};

/* OK, NOT_FOUND, NO_MEMORY, INDEX_FULL, READ_ONLY, NEEDS_ROOM. gat and touch set .touch. */
enum status pool_fetch(struct pool *pool, struct store_thread *thread, struct bytes key,
                       const struct pool_fetch *request, struct pool_fetched *result);

enum pool_store_mode { POOL_SET, POOL_ADD, POOL_REPLACE, POOL_APPEND, POOL_PREPEND };

struct pool_store {
    enum pool_store_mode mode;
    struct bytes value;
    uint32_t client_flags; /* append and prepend keep the item's own flags and expiry */
    uint32_t expiry_s;
    bool compare_cas; /* EXISTS unless the item has this CAS; set, replace: NOT_FOUND if there is no
                         item */
    uint64_t cas;
    bool invalidate; /* with compare_cas: an item with a higher CAS is replaced, keeps its expiry,
                      * and is marked stale (meta ms: I) */
    bool create;     /* append and prepend on a miss: store as set (meta: N) */
    uint32_t create_expiry_s;
    bool set_cas; /* store with this CAS instead of a new one (meta: E) */
    uint64_t new_cas;
};

/* OK, NOT_STORED, EXISTS, NOT_FOUND, TOO_LARGE, NO_MEMORY, INDEX_FULL, READ_ONLY, NEEDS_ROOM. After
 * OK, `result` is the stored item; `result` may be NULL. After TOO_LARGE and NO_MEMORY the old item
 * is unchanged. memcached serves no old item after a failed set, so the protocols delete it. */
enum status pool_store(struct pool *pool, struct store_thread *thread, struct bytes key,
                       const struct pool_store *request, struct item *result);

struct pool_arithmetic {
    bool decrement; /* stops at 0; an increment wraps at 2^64 */
    uint64_t delta;
    bool create; /* on a miss: store `initial` with this expiry (meta: N, J) */
    uint64_t initial;
    uint32_t create_expiry_s;
    bool touch;
    uint32_t touch_expiry_s;
    bool compare_cas;
    uint64_t cas;
    bool set_cas;
    uint64_t new_cas;
};

/* OK, NOT_FOUND, NON_NUMERIC, EXISTS, NO_MEMORY, INDEX_FULL, READ_ONLY, NEEDS_ROOM. If the new
 * number is shorter than the old value, spaces behind it fill the old length, as in memcached
 * (protocol.txt). `result` may be NULL; `won` is never set. */
enum status pool_arithmetic(struct pool *pool, struct store_thread *thread, struct bytes key,
                            const struct pool_arithmetic *request, uint64_t *number,
                            struct pool_fetched *result);

struct pool_delete {
    bool compare_cas; /* EXISTS unless the item has this CAS */
    uint64_t cas;
    bool invalidate; /* keep the item, mark it stale, give it a new CAS, and let a client win it
                        again (meta md: I) */
    bool touch;      /* with invalidate: also set this expiry (meta md: I T) */
    uint32_t touch_expiry_s;
    bool set_cas; /* with invalidate or drop_value: the new CAS (meta: E) */
    uint64_t new_cas;
    bool drop_value; /* keep the item, with an empty value and these client flags; its expiry
                      * becomes touch_expiry_s, even without `touch`; its CAS stays, unless
                      * `invalidate` (meta md: x) */
    uint32_t client_flags;
    bool uncounted; /* not a client's request: do not count it */
};

/* OK, NOT_FOUND, EXISTS, NO_MEMORY, READ_ONLY, NEEDS_ROOM. `request` may be NULL. */
enum status pool_delete(struct pool *pool, struct store_thread *thread, struct bytes key,
                        const struct pool_delete *request);

/* At `when_s`, or at once if that is not in the future, deletes every item that was stored before.
 * A later call replaces a delayed flush that has not been performed. OK, NO_MEMORY, READ_ONLY,
 * NEEDS_ROOM. */
enum status pool_flush(struct pool *pool, struct store_thread *thread, uint32_t when_s);

/* With `fsync = always` no reply may be sent before the records that it depends on are on the disk,
 * whether this client or another wrote them (invariant 8). With `everysec` the replies to writes
 * wait only while the disk is too slow, or after the thread has written much (sync.h). Called after
 * a batch of requests. Returns the ticket that the thread's replies must wait for; 0: they may be
 * sent at once. */
uint64_t pool_take_ticket(struct pool *pool, struct store_thread *thread);

/* OK: all writes under this ticket are on the disk. PENDING: not yet. IO: they may never be, the
 * pool is read-only; the writes must not be acknowledged. */
enum status pool_check_ticket(struct pool *pool, uint64_t ticket);

/* A thread of the pool calls `notify` after each sync: tickets may be done. `notify` must not block
 * or call the pool. NULL: no more calls, and none is running when this returns. */
void pool_set_sync_notify(struct pool *pool, void (*notify)(void *context), void *context);

/* A thread that serves clients must not wait for room (store_thread.room_policy). A change that
 * finds no room returns NEEDS_ROOM and does nothing. Run the request again when pool_should_retry
 * is true for the thread's room_turn. */
bool pool_should_retry(const struct pool *pool, uint64_t room_turn);

/* A thread of the pool calls `notify` when pool_should_retry may have become true. `notify` must
 * not block or call the pool. NULL: no more calls, and none is running when this returns. */
void pool_set_room_notify(struct pool *pool, void (*notify)(void *context), void *context);

/* Holds a persistent pool, so that its file can be copied while it is in use (hold.h). After OK,
 * until the hold ends, no segment is freed and no record is moved; every write that was
 * acknowledged before the first call is whole in the file, with a sequence below `*sequence`. The
 * hold ends after `lease_ms` at the latest. Never waits. BUSY: the janitor is working, or another
 * client has a hold; call again. INVALID: the pool has no file. `asker`: a number that identifies
 * the caller, not 0. */
enum status pool_hold(struct pool *pool, uint64_t asker, uint32_t lease_ms, uint64_t *sequence);

/* The client with this number has disconnected; another client may get the same number. */
void pool_end_hold_asker(struct pool *pool, uint64_t asker);

/* Extends the hold with this sequence to `lease_ms` from now; 0: ends it. END: the hold ended
 * before this call, and the copy that was made during it is not consistent. */
enum status pool_extend_hold(struct pool *pool, uint64_t sequence, uint32_t lease_ms);

/* Performs a delayed flush that has fallen due. Called once before each batch of requests. */
void pool_tick(struct pool *pool, struct store_thread *thread);

/* The store's counters, with memcached's names where memcached has the counter. */
enum pool_counter {
    POOL_CMD_GET, /* keys looked up, not commands */
    POOL_GET_HITS,
    POOL_GET_MISSES,
    POOL_GET_EXPIRED, /* of the misses: the item was found, but had expired */
    POOL_GET_FLUSHED, /* of the misses: the item was found, but had been flushed */
    POOL_CMD_SET,
    POOL_CMD_FLUSH,
    POOL_CMD_TOUCH,
    POOL_CMD_META,
    POOL_AUTH_CMDS,   /* logins, successful or not */
    POOL_AUTH_ERRORS, /* of the logins: refused */
    POOL_TOUCH_HITS,
    POOL_TOUCH_MISSES,
    POOL_DELETE_HITS,
    POOL_DELETE_MISSES,
    POOL_INCR_HITS,
    POOL_INCR_MISSES,
    POOL_DECR_HITS,
    POOL_DECR_MISSES,
    POOL_CAS_HITS,
    POOL_CAS_MISSES,
    POOL_CAS_BADVAL,
    POOL_STORE_TOO_LARGE,
    POOL_STORE_NO_MEMORY,
    POOL_TOTAL_ITEMS, /* items stored since start */
    POOL_EVICTIONS,
    POOL_EVICTED_UNFETCHED, /* of those: never read since they were stored */
    POOL_EXPIRED_RECLAIMED, /* items whose memory was freed because they expired */
    POOL_EXPIRED_UNFETCHED, /* of those: never read since they were stored */
    POOL_SEGMENTS_COMPACTED,
    POOL_BYTES_MOVED, /* by compaction and eviction */
    POOL_COUNTERS
};

/* Adds 1 to a counter of events that only the protocols see (POOL_CMD_META, ...). */
void pool_count(struct pool *pool, struct store_thread *thread, enum pool_counter counter);

struct pool_stats {
    uint64_t counters[POOL_COUNTERS];
    uint64_t items;           /* in the index: some may have expired and not been reclaimed */
    uint64_t live_bytes;      /* records of those items, headers included */
    uint64_t tombstone_bytes; /* tombstones and flush records that may still be needed */
    uint64_t dead_bytes;      /* records that no slot points to, not yet reclaimed */
    uint64_t free_bytes;      /* segments never used or reclaimed, and open segments' rest */
    uint64_t capacity_bytes;  /* all segments that the limit allows */
    uint64_t needed_bytes;    /* of all that must stay: live, tombstones, waste at segments' ends */
    uint64_t needed_limit_bytes; /* evict = no: new keys are refused beyond this */
    uint64_t index_bytes;        /* of the index that are in use */
    uint32_t index_power; /* the index has at least 2^this buckets, and less than twice as many */
    uint32_t segments;
    uint32_t segments_free;
    uint32_t segment_bytes;
    uint64_t syncs;       /* persistent pools: since start */
    uint64_t sync_lag_ms; /* age of the oldest write that is not on the disk; 0: all are */
    uint64_t full_in_s;   /* evict = no: seconds until the pool is full at the rate of the last
                             minute; UINT64_MAX: not foreseeable */
    uint32_t backup_s;    /* unix seconds: when a client last ended a hold (a backup); 0: never */
    bool read_only;
    bool full; /* new keys are being refused: the pool is full (evict = no), or its index is */
    bool index_full; /* new keys are being refused because run_dir has no room for the index */
};

/* A snapshot. Each number is right, but they are not all of the same moment. */
void pool_get_stats(struct pool *pool, struct pool_stats *stats);

enum { POOL_EXPIRY_HOURS = 24 };

/* When the items expire. An estimate from the segments: the items of a segment are counted as if
 * they expired evenly between its first and its last expiry. idle_timeout is left out. */
struct pool_expiry {
    uint64_t expired; /* not yet reclaimed; no client sees them */
    uint64_t
        within_hours[POOL_EXPIRY_HOURS]; /* [0]: in the next hour, [1]: in the hour after that */
    uint64_t later;
    uint64_t never;
};

void pool_get_expiry(const struct pool *pool, uint32_t now_s, struct pool_expiry *expiry);

enum { POOL_TTL_CLASSES = 8 };

/* Counters of each TTL class: the class where the item lies after the command, or where it lay
 * before it was deleted. */
enum pool_class_counter {
    POOL_CLASS_CMD_SET, /* only those that stored an item */
    POOL_CLASS_DELETE_HITS,
    POOL_CLASS_INCR_HITS,
    POOL_CLASS_DECR_HITS,
    POOL_CLASS_CAS_HITS,
    POOL_CLASS_CAS_BADVAL,
    POOL_CLASS_TOUCH_HITS,
    POOL_CLASS_COUNTERS
};

/* Statistics of one TTL class. Items that expire at about the same time lie in the same segments.
 * `stats items` and `stats slabs` show TTL classes where memcached shows slab classes. */
struct pool_class_stats {
    uint32_t ttl_max_s; /* the longest time to live of its items; UINT32_MAX: for ever */
    uint32_t segments;
    uint64_t items;
    uint64_t live_bytes;   /* of their records */
    uint64_t unused_bytes; /* at the end of the segments that are being written */
    uint32_t age_s;        /* of the oldest of its segments that has items */
    /* since start or reset */
    uint64_t counters[POOL_CLASS_COUNTERS];
    uint64_t evicted;
    uint64_t evicted_nonzero; /* of those: with an expiry */
    uint64_t evicted_unfetched;
    uint32_t evicted_idle_s; /* how long the last evicted item had not been read */
    uint64_t reclaimed;      /* expired or flushed */
    uint64_t expired_unfetched;
};

void pool_get_class_stats(struct pool *pool, struct pool_class_stats stats[POOL_TTL_CLASSES]);

/* Sets the counters to zero (`stats reset`). */
void pool_reset_counters(struct pool *pool);

#endif
