/* Parsing and formatting of numbers, and arithmetic with checks for overflow. No function
 * allocates; any thread may call. */
#ifndef STAYD_BASE_NUMBER_H
#define STAYD_BASE_NUMBER_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NUMBER_DIGITS_MAX = 20 }; /* decimal digits of 2^64 - 1 */

/* Parses a text that has only decimal digits. False if it is empty, has another byte (a sign, a
 * space), has more than NUMBER_DIGITS_MAX digits, or is above 2^64 - 1. */
bool number_parse_u64(struct bytes text, uint64_t *number);

/* The same with an optional leading '-'. False also if the number does not fit into `*number`. */
bool number_parse_i64(struct bytes text, int64_t *number);

/* Writes the digits, at most NUMBER_DIGITS_MAX, without a terminating zero; returns how many. */
size_t number_format_u64(uint64_t number, char *text);

/* A size in bytes: digits, then nothing or one of K, M, G (powers of 1024, either case). */
bool number_parse_size(struct bytes text, uint64_t *size_bytes);

/* A duration in seconds: digits, then nothing or one of s, m, h, d. */
bool number_parse_duration(struct bytes text, uint64_t *duration_s);

/* False if the product does not fit. */
static inline bool number_multiply_u64(uint64_t a, uint64_t b, uint64_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

static inline uint64_t number_round_up_u64(uint64_t number, uint64_t multiple) {
    return (number + multiple - 1) / multiple * multiple;
}

#endif
