/* The CRC32C of any part of a piece of memory, in a time that does not depend on how long the part
 * is: for a search that asks about very many parts that overlap.
 *
 * CRC32C without inversions, as hash_crc32c is, is linear: the CRC of A and B together, begun with
 * s, is crc(s, A) * x^(8 * size of B) + crc(0, B), in polynomials modulo CRC32C's. So with the CRCs
 * from the start of the memory up to each block's end, and x^(8 * size) for each number of blocks,
 * both in tables, the CRC of a part takes one multiplication and what lies outside of whole blocks.
 *
 * The tables take an eighth of the memory's size, and the time of some three CRCs of all of it. One
 * thread at a time. */
#ifndef STAYD_BASE_CRC_RANGES_H
#define STAYD_BASE_CRC_RANGES_H

#include <stddef.h>
#include <stdint.h>

struct crc_ranges;

/* For these bytes, which stay as they are. NULL if memory is short. */
struct crc_ranges *crc_ranges_create(const void *data, size_t size);

/* Accepts NULL. */
void crc_ranges_destroy(struct crc_ranges *ranges);

/* As hash_crc32c(crc, data + offset, size), of the data it was made for. */
uint32_t crc_ranges_get(const struct crc_ranges *ranges, uint32_t crc, size_t offset, size_t size);

#endif
