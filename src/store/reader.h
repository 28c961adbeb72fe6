/* Reads a pool in another process, which has both mappings, and decides whether what was read can
 * be trusted.
 *
 *     state, index_id -> look-up -> copy -> version of the bucket, state, index_id again -> judge
 *
 * If the bucket's version is the same after the copy, and the index is still in use, the copy is
 * one whole record, the current one of the key. A daemon that does not continue with the index
 * changes the data's index_id before it writes anything else. So if the copy has bytes that such a
 * daemon wrote, the second check of index_id fails. In all other cases the caller asks over the
 * socket: a reader may have no answer, but it never gives a wrong one.
 *
 * Writes nothing to the mappings. Reads nothing outside them, whatever they contain, once
 * lookup_open has accepted them. Any number of threads may read at once. Needs only lookup.c,
 * lookup_view.c, record_read.c and heartbeat.c of the store: libstayd is built with these.
 */
#ifndef STAYD_STORE_READER_H
#define STAYD_STORE_READER_H

#include "base/bytes.h"
#include "store/lookup_view.h"

#include <stddef.h>
#include <stdint.h>

enum reader_outcome {
    READER_HIT,   /* the value is in the buffer */
    READER_SMALL, /* as READER_HIT, but the buffer is too small for `value_size` bytes */
    READER_MISS,  /* there is no such item, or it has expired: confirm that over the socket */
    READER_ASK,   /* the mappings cannot tell: ask over the socket */
    READER_GONE,  /* these mappings are no longer the pool's: ask over the socket for new ones */
};

struct reader_item {
    size_t value_size;
    uint32_t client_flags;
    uint32_t expiry_s; /* unix seconds; 0: never */
    uint32_t accessed_s;
    uint64_t cas;
};

/* Looks a key up and copies its value to `buffer`. `item` is filled in after READER_HIT and
 * READER_SMALL; a value_size is never larger than the pool's segments. */
enum reader_outcome reader_get(const struct lookup_view *view, struct bytes key, char *buffer,
                               size_t buffer_size, struct reader_item *item);

/* Whether the daemon that keeps the index is alive. If not, the mappings of a persistent pool are
 * still valid; but if the pool's file and index were moved away, another daemon may now serve
 * another file. So the caller checks from time to time whether a daemon answers, and then asks that
 * daemon. */
bool reader_is_kept(const struct lookup_view *view);

/* Whether these mappings are the pool's at this moment. */
bool reader_is_current(const struct lookup_view *view);

#endif
