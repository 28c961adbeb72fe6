#include "base/crc_ranges.h"

#include "base/hash.h"

#include <stdlib.h>

enum { CRC_RANGES_BLOCK = 64 };

#define CRC_RANGES_ONE UINT32_C(0x80000000)        /* the polynomial 1: CRCs have bits reversed */
#define CRC_RANGES_POLYNOMIAL UINT32_C(0x82f63b78) /* CRC32C's */

/* For block number i: the CRC of all blocks before it, and x^(8 * the size of i blocks). */
struct crc_ranges_block {
    uint32_t before;
    uint32_t power;
};

struct crc_ranges {
    const char *data;
    struct crc_ranges_block blocks[];
};

struct crc_ranges *crc_ranges_create(const void *data, size_t size) {
    static const char zeros[CRC_RANGES_BLOCK];
    size_t count = size / CRC_RANGES_BLOCK + 1;
    struct crc_ranges *ranges = malloc(sizeof *ranges + count * sizeof ranges->blocks[0]);
    if (ranges == NULL) {
        return NULL;
    }
    ranges->data = data;
    struct crc_ranges_block block = {.before = 0, .power = CRC_RANGES_ONE};
    for (size_t i = 0; i < count; i++) {
        ranges->blocks[i] = block;
        if (i + 1 < count) {
            block.before =
                hash_crc32c(block.before, ranges->data + i * CRC_RANGES_BLOCK, CRC_RANGES_BLOCK);
            block.power = hash_crc32c(block.power, zeros, CRC_RANGES_BLOCK);
        }
    }
    return ranges;
}

void crc_ranges_destroy(struct crc_ranges *ranges) {
    free(ranges);
}

/* The product of two polynomials, modulo CRC32C's. No branch depends on a bit: bits are random, so
 * the branch would be mispredicted. */
static uint32_t crc_ranges_multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (int bit = 31; bit >= 0; bit--) {
        product ^= b & -(a >> bit & 1);
        b = b >> 1 ^ (CRC_RANGES_POLYNOMIAL & -(b & 1));
    }
    return product;
}

uint32_t crc_ranges_get(const struct crc_ranges *ranges, uint32_t crc, size_t offset, size_t size) {
    size_t first = (offset + CRC_RANGES_BLOCK - 1) / CRC_RANGES_BLOCK; /* whole blocks from here */
    size_t last = (offset + size) / CRC_RANGES_BLOCK;                  /* to here */
    if (first >= last) {
        return hash_crc32c(crc, ranges->data + offset, size);
    }
    const struct crc_ranges_block *blocks = ranges->blocks;
    crc = hash_crc32c(crc, ranges->data + offset, first * CRC_RANGES_BLOCK - offset);
    crc = crc_ranges_multiply(crc ^ blocks[first].before, blocks[last - first].power) ^
          blocks[last].before;
    size_t done = last * CRC_RANGES_BLOCK;
    return hash_crc32c(crc, ranges->data + done, offset + size - done);
}
