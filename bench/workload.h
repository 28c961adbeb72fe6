/* The requests to the server: which key is next, whether to read or write it, and which bytes a key
 * and its value have. Keys are numbers, 1 to `keys`; the bytes of a key and of its value follow
 * from its number alone, so that every reply can be checked without storing what was written.
 *
 *   key    as many characters as `key_size` asks for, of 32 different ones; the first 13 spell a
 *          64-bit permutation of the number, so no two numbers share a key
 *   value  a slice of one random text; the number picks where it begins and how long it is
 *
 * Numbers above `keys` are the scan: keys that are asked for once and never again.
 *
 * One thread. The caller owns the struct; workload_finish takes a zeroed one too. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WORKLOAD_KEY_MIN = 13,
    WORKLOAD_KEY_MAX = 250,
    WORKLOAD_VALUE_MAX = 1 << 20,
};

struct workload_options {
    uint64_t keys;
    double zipf_exponent; /* 0: all keys equally often */
    unsigned get_percent;
    unsigned scan_percent; /* of the reads */
    size_t key_size_bytes;
    size_t value_min_bytes, value_max_bytes;
    uint64_t seed;
};

struct operation {
    uint64_t key;
    bool get; /* else set */
    bool scan;
};

struct workload {
    struct workload_options options;

    /* private */
    uint64_t random_state;
    uint64_t next_scan_key;
    double zipf_first, zipf_last, zipf_shortcut; /* see zipf_next */
    char *text;
};

/* False when memory is short. */
bool workload_init(struct workload *workload, const struct workload_options *options);
void workload_finish(struct workload *workload);

struct operation workload_next(struct workload *workload);

/* Writes key_size_bytes characters, without a terminating zero. */
void workload_write_key(const struct workload *workload, uint64_t key, char *out);

/* The value of a key; its length goes to *size_bytes. Owned by the workload. */
const char *workload_value(const struct workload *workload, uint64_t key, size_t *size_bytes);

#endif
