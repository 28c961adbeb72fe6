/* A pool's file as the tools see it: looked at without changing it, by another process than the
 * daemon. Nothing in the file is used before it has been checked.
 *
 *     check     inspect_verify each segment, then inspect_index and inspect_count_items
 *     dump      inspect_index, then inspect_next until it has no more
 *     copies    inspect_read each piece: what it returns, at the offsets that it says, is a pool
 *               file of the same size
 *
 * One thread at a time.
 */
#ifndef STAYD_STORE_INSPECT_H
#define STAYD_STORE_INSPECT_H

#include "store/pool.h"

struct inspect;

enum inspect_use {
    INSPECT_UNUSED, /* no daemon may have the file, or come to have it meanwhile */
    INSPECT_IN_USE, /* a daemon must have it, and hold it still (hold.h): for inspect_read alone */
};

/* What the file's header says. */
struct inspect_about {
    char name[POOL_NAME_MAX + 1]; /* of the pool that it was made for */
    uint64_t file_bytes;          /* of header and segments */
    uint32_t segment_count;
    uint32_t segment_bytes;
    uint32_t item_max_bytes;
};

/* NULL with the reason in `error`: it is no pool file, or can not be used as one. */
struct inspect *inspect_open(const char *path, enum inspect_use use, char error[POOL_ERROR_MAX]);

/* Accepts NULL. */
void inspect_close(struct inspect *inspect);

const struct inspect_about *inspect_about(const struct inspect *inspect);

struct inspect_counts {
    uint32_t segments_used;
    uint32_t segments_free;
    uint64_t values; /* records: of all versions of all items */
    uint64_t tombstones;
    uint64_t flushes;
    uint64_t torn_bytes;  /* where records should be, and are not whole */
    uint64_t stale_bytes; /* behind the last record: what an earlier use of the segment has left */
    uint64_t faults;      /* reported */
};

/* Called for each fault; `offset`: in the file, in bytes. */
typedef void inspect_report(void *context, uint32_t segment, uint64_t offset, const char *what);

/* Verifies one segment and adds to the counts. False: it can not be read, as was reported. */
bool inspect_verify(struct inspect *inspect, uint32_t segment, struct inspect_counts *counts,
                    inspect_report *report, void *context);

/* Finds out which record of each key is the current one, as the daemon does at its start. Takes
 * some 15 bytes of memory an item. False with the reason. */
bool inspect_index(struct inspect *inspect, char error[POOL_ERROR_MAX]);

/* After inspect_index: items that are there at this moment, and such as have expired. The pool's
 * idle_timeout is not known to the file. */
void inspect_count_items(struct inspect *inspect, uint32_t now_s, uint64_t *live,
                         uint64_t *expired);

struct inspect_item {
    struct bytes key; /* valid until inspect_close */
    struct bytes value;
    uint32_t client_flags;
    uint32_t expiry_s;   /* 0: never */
    uint32_t accessed_s; /* as good as the pool tracks it */
    uint32_t created_s;  /* 0: not known */
    uint64_t cas;
};

/* After inspect_index: the next item that has not expired. False: there are no more. */
bool inspect_next(struct inspect *inspect, uint32_t now_s, struct inspect_item *item);

/* The segment that inspect_next is in: how far it has come. */
uint32_t inspect_position(const struct inspect *inspect);

/* After the last item: bytes between records that hold no whole one. */
uint64_t inspect_torn_bytes(const struct inspect *inspect);

/* What a copy has at `offset`; all that no piece covers is zero. */
struct inspect_piece {
    uint64_t offset;
    const char *data; /* valid until the next piece */
    size_t size;
};

/* For a copy: piece 0 is the header, piece N segment N - 1. Only whole records that are numbered up
 * to `sequence` are in it, without gaps. False with the reason: it can not be read. */
bool inspect_read(struct inspect *inspect, uint64_t piece, uint64_t sequence,
                  struct inspect_piece *result, char error[POOL_ERROR_MAX]);

/* Whether a pool with these options can use a file like this; `*segment_count`: how many segments
 * the daemon will let it have. False with the reason. */
bool inspect_fits(const struct inspect *inspect, const struct pool_options *options,
                  uint32_t *segment_count, char error[POOL_ERROR_MAX]);

/* Removes run_dir/NAME.index, which does not go with a file that is about to be replaced; processes
 * that have it mapped stop believing it. False with the reason. */
bool inspect_discard_index(const struct pool_options *options, char error[POOL_ERROR_MAX]);

#endif
