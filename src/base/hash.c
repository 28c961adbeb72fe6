#include "base/hash.h"

#include <isa-l/crc.h>
#include <limits.h>

uint32_t hash_crc32c(uint32_t crc, const void *data, size_t size) {
    const unsigned char *bytes = data;
    while (size > 0) {
        int length = size > INT_MAX ? INT_MAX : (int)size;
        /* The library only reads the bytes, although its parameter is not const. */
        crc = crc32_iscsi((unsigned char *)(uintptr_t)bytes, length, crc);
        bytes += length;
        size -= (size_t)length;
    }
    return crc;
}
