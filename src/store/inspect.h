/* Reads a pool's file for stayctl, in another process than the daemon's. A struct inspect never
 * changes the file. Everything in the file is checked before it is used.
 *
 *     check     inspect_verify for each segment, then inspect_index and inspect_count_items
 *     dump      inspect_index, then inspect_next until it returns false
 *     copies    inspect_read for each piece; written at their offsets, the pieces are a pool file
 *               of the same size
 *
 * One thread at a time.
 */
#ifndef STAYD_STORE_INSPECT_H
#define STAYD_STORE_INSPECT_H

#include "store/pool.h"

struct inspect;

enum inspect_use {
    INSPECT_UNUSED, /* no daemon uses the file; it is locked, so that none can start with it */
    INSPECT_IN_USE, /* a daemon uses the file, and the pool is held (hold.h); for inspect_read */
};

/* What the file's header says. */
struct inspect_about {
    char name[POOL_NAME_MAX + 1]; /* of the pool that made the file */
    uint64_t file_bytes;          /* of header and segments */
    uint32_t segment_count;
    uint32_t segment_bytes;
    uint32_t item_max_bytes;
    uint64_t pool_id; /* random; copies have it too */
    /* Of a clustered pool (replication.h): */
    uint32_t partition_count; /* 0: the pool is not clustered */
    uint32_t heard_s;         /* when it was last caught up with its cluster; 0: never */
    uint64_t positions;       /* the sum of the partitions' positions: how many records it knows */
};

/* NULL with the reason in `error`: the file is not a pool file, or cannot be used in this way. */
struct inspect *inspect_open(const char *path, enum inspect_use use, char error[POOL_ERROR_MAX]);

/* Accepts NULL. */
void inspect_close(struct inspect *inspect);

const struct inspect_about *inspect_about(const struct inspect *inspect);

struct inspect_counts {
    uint32_t segments_used;
    uint32_t segments_free;
    uint64_t values; /* records with a value, including older versions */
    uint64_t tombstones;
    uint64_t flushes;
    uint64_t torn_bytes;  /* between records, and not part of a whole record */
    uint64_t stale_bytes; /* behind the last record, left by an earlier use of the segment */
    uint64_t faults;      /* reported faults */
};

/* Called for each fault; `offset` is its place in the file, in bytes. */
typedef void inspect_report(void *context, uint32_t segment, uint64_t offset, const char *what);

/* Verifies one segment and adds to the counts. False: the segment could not be read, and this was
 * reported. */
bool inspect_verify(struct inspect *inspect, uint32_t segment, struct inspect_counts *counts,
                    inspect_report *report, void *context);

/* Finds the current record of each key, as the daemon does at its start. Needs some 15 bytes of
 * memory for each item. False with the reason. */
bool inspect_index(struct inspect *inspect, char error[POOL_ERROR_MAX]);

/* After inspect_index: counts the items that have not expired at `now_s`, and those that have. The
 * pool's idle_timeout is not applied. */
void inspect_count_items(struct inspect *inspect, uint32_t now_s, uint64_t *live,
                         uint64_t *expired);

struct inspect_item {
    struct bytes key; /* valid until inspect_close */
    struct bytes value;
    uint32_t client_flags;
    uint32_t expiry_s;   /* 0: never */
    uint32_t accessed_s; /* of the last noted read, or of the store; a pool with evict = no and no
                            idle_timeout notes no reads */
    uint32_t created_s;  /* 0: unknown */
    uint64_t cas;
    bool stale;
    bool token_sent;
};

/* After inspect_index: returns the next item that has not expired. False: there are no more. */
bool inspect_next(struct inspect *inspect, uint32_t now_s, struct inspect_item *item);

/* After inspect_index: the item with this key. False: there is none, or it has expired. */
bool inspect_find(struct inspect *inspect, struct bytes key, uint32_t now_s,
                  struct inspect_item *item);

/* After inspect_index: when a delayed flush_all is due, in unix seconds; 0: none is. */
uint32_t inspect_flush_due_s(const struct inspect *inspect);

/* The segment that inspect_next has reached, to show progress. */
uint32_t inspect_position(const struct inspect *inspect);

/* After the last item: the bytes between records that are not part of a whole record. */
uint64_t inspect_torn_bytes(const struct inspect *inspect);

/* Bytes of a copy at `offset`. Bytes that no piece covers are zero. */
struct inspect_piece {
    uint64_t offset;
    const char *data; /* valid until the next piece */
    size_t size;
};

/* Reads one piece of a copy: piece 0 is the header, piece N is segment N - 1. The piece has only
 * whole records with numbers up to `sequence`, without gaps. False with the reason: the file cannot
 * be read. */
bool inspect_read(struct inspect *inspect, uint64_t piece, uint64_t sequence,
                  struct inspect_piece *result, char error[POOL_ERROR_MAX]);

/* Whether a pool with these options can use the file; sets `*segment_count` to the number of
 * segments that the pool will have. False with the reason. */
bool inspect_fits(const struct inspect *inspect, const struct pool_options *options,
                  uint32_t *segment_count, char error[POOL_ERROR_MAX]);

/* Clears index_id in a pool file that is about to be replaced: processes that have the file mapped
 * stop using it, even if the index is no longer in run_dir. `file` is open for writing, and locked.
 */
void inspect_end_readers(int file);

/* Marks run_dir/NAME.index as superseded and removes it, before the pool's file is replaced.
 * Processes that have the index mapped see the mark and stop using it. False with the reason. */
bool inspect_discard_index(const struct pool_options *options, char error[POOL_ERROR_MAX]);

#endif
