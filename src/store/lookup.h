/* The look-up: from a key to its record, on the mappings that layout.h describes. The daemon and
 * every other process that maps a pool use the same function.
 *
 * The index uses linear hashing. `bucket_count` buckets are in use; 2^L is the largest power of two
 * that is not above it. The number of a key's bucket is the key's hash modulo 2^(L+1) or, if that
 * bucket is not in use yet, modulo 2^L. The index grows by one bucket at a time, which gets a part
 * of the keys of an earlier bucket. So a reader that finds nothing checks that the bucket is still
 * the key's.
 *
 * A bucket's version is odd while a writer changes it, and different afterwards. A reader that
 * finds nothing while the version stays the same knows that there is no such key. A reader that
 * finds a record knows that the record was current when its slot was read. A thread of the daemon
 * may read the record until its next quiescent point (grace.h); another process must copy it and
 * then call lookup_unchanged.
 */
#ifndef STAYD_STORE_LOOKUP_H
#define STAYD_STORE_LOOKUP_H

#include "base/bytes.h"
#include "store/lookup_view.h"
#include "store/record.h"

#include <stdbool.h>
#include <stdint.h>

struct lookup_hit {
    struct layout_record *at;
    struct record record; /* key and value point into the data mapping */
    _Atomic uint64_t *slot;
    uint64_t slot_value;
    struct layout_bucket *bucket;
    uint32_t version;
};

enum lookup_outcome {
    LOOKUP_FOUND,
    LOOKUP_MISSING,
    LOOKUP_BUSY, /* a writer changed the bucket: try again */
};

static inline uint64_t lookup_bucket_number(uint64_t hash, uint64_t bucket_count) {
    uint64_t mask = (UINT64_C(1) << (63 - __builtin_clzll(bucket_count))) - 1;
    uint64_t number = hash & (mask << 1 | 1);
    return number < bucket_count ? number : hash & mask;
}

/* One attempt. `hit` is filled in after LOOKUP_FOUND. The caller checks whether the record has
 * expired or was flushed. */
enum lookup_outcome lookup_find(const struct lookup_view *view, uint64_t hash, struct bytes key,
                                struct lookup_hit *hit);

/* Whether the bucket has not changed since lookup_find, so that what was copied from the record is
 * valid. */
bool lookup_unchanged(const struct lookup_hit *hit);

#endif
