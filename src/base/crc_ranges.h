/* Computes the CRC32C of any part of an area of memory, in a time that does not depend on the
 * length of the part: for a search that needs the CRCs of very many overlapping parts.
 *
 * hash_crc32c does not invert the CRC, so it is linear. With seed s, the CRC of A followed by B is
 *
 *     crc(s, A) * x^(8 n) + crc(0, B)     n: the bytes of B; modulo CRC32C's polynomial
 *
 * For each block of the memory, the tables hold the CRC of all blocks before it, and x^(8 n), where
 * n is the size of these blocks. With them, the CRC of a part needs one multiplication, and the
 * CRCs of the bytes before its first and after its last whole block.
 *
 * The tables need an eighth of the memory's size, and are built in about the time of three CRCs of
 * all of it. Used by one thread at a time. */
#ifndef STAYD_BASE_CRC_RANGES_H
#define STAYD_BASE_CRC_RANGES_H

#include <stddef.h>
#include <stdint.h>

struct crc_ranges;

/* Builds the tables for `data`, which must not change afterwards. NULL if memory is short. */
struct crc_ranges *crc_ranges_create(const void *data, size_t size);

/* Accepts NULL. */
void crc_ranges_destroy(struct crc_ranges *ranges);

/* Returns the same as hash_crc32c(crc, data + offset, size), where `data` was passed to
 * crc_ranges_create. */
uint32_t crc_ranges_get(const struct crc_ranges *ranges, uint32_t crc, size_t offset, size_t size);

#endif
