/* The two hashes, both from libraries: XXH3 with the pool's seed hashes keys for the index, and
 * CRC32C (as in iSCSI and ext4, RFC 3720) is the checksum of records. Any thread may call. */
#ifndef STAYD_BASE_HASH_H
#define STAYD_BASE_HASH_H

#include "base/bytes.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdint.h>

static inline uint64_t hash_key(uint64_t seed, struct bytes key) {
    return XXH3_64bits_withSeed(key.data, key.size, seed);
}

/* Continues the CRC32C `crc` (at first: the seed) with `size` bytes. */
uint32_t hash_crc32c(uint32_t crc, const void *data, size_t size);

#endif
