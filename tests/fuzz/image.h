/* A pool file with every kind of record, made once by a real pool: items with and without flags,
 * CAS and expiry, old versions, tombstones, pairs, flushes, several segments. An input changes the
 * file:
 *
 *     fixes | place, offset, operation, bytes | place, offset, operation, bytes | ...
 *
 *     fixes       bits: which checksums are made right again afterwards (enum image_fix)
 *     place       one of the headers and records of the file, by number
 *     offset      from there, in bytes
 *     operation   the high two bits: enum image_operation; the low six: how many bytes it is about
 */
#ifndef STAYD_TESTS_FUZZ_IMAGE_H
#define STAYD_TESTS_FUZZ_IMAGE_H

#include "store/pool.h"

enum image_fix { IMAGE_FIX_HEADER = 1, IMAGE_FIX_SEGMENTS = 2, IMAGE_FIX_RECORDS = 4 };

enum image_operation {
    IMAGE_WRITE, /* the bytes that follow */
    IMAGE_ERASE, /* eight times as many zeros */
    IMAGE_COPY,  /* eight times as many bytes, from the place and the offset that follow */
    IMAGE_CUT,   /* the file ends here */
};

/* The time, which never changes. */
#define IMAGE_NOW_S UINT32_C(2000000000)

struct image {
    char folder[64]; /* data_dir and run_dir */
    char data_path[128];
    char index_path[128];
    struct pool_options options;
    struct grace *grace;
    struct store_thread thread;
    char *bytes; /* the file as the pool left it */
    size_t size;
    uint32_t *places;
    size_t place_count;
    char *changed; /* the file as the input has changed it */
    size_t changed_size;
};

void image_begin(struct image *image);

/* Changes the file as described by the input, and removes the index. Returns the fixes. */
unsigned image_change(struct image *image, const uint8_t *data, size_t size);

#endif
