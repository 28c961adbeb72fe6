/* Pseudo-random numbers for tests: the same for the same state, so that a failure can be repeated.
 */
#ifndef STAYD_TESTS_RANDOM_H
#define STAYD_TESTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

uint64_t random_next(uint64_t *state);
uint32_t random_below(uint64_t *state, uint32_t limit); /* 0 to limit - 1 */
bool random_chance(uint64_t *state, unsigned percent);

#endif
