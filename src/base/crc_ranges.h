/* Computes the CRC32C of any part of an area of memory, in a time that does not depend on the
 * length of the part: for a search that needs the CRCs of very many overlapping parts.
 *
 * CRC32C without inversions, as hash_crc32c is, is linear: the CRC of A followed by B, with seed
 * s, is crc(s, A) * x^(8 * size of B) + crc(0, B), in polynomials modulo CRC32C's. So with the CRCs
 * from the start of the memory up to each block's end, and x^(8 * size) for each number of blocks,
 * both in tables, the CRC of a part takes one multiplication and what lies outside of whole blocks.
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

/* Equals hash_crc32c(crc, data + offset, size), with the data of crc_ranges_create. */
uint32_t crc_ranges_get(const struct crc_ranges *ranges, uint32_t crc, size_t offset, size_t size);

#endif
