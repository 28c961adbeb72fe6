/* The machine that a test of the store runs on: its clock, its source of randomness, and a folder
 * that goes when the test ends. All of it follows from a seed, so that what a test has found can be
 * found again.
 *
 * The unix clock stands still until a test moves it, and CLOCK_BOOTTIME moves with it. The
 * monotonic one runs, but timers that are set by it never end while timers are stopped: then a
 * pool's threads do nothing of their own accord, and a test with one client goes the same way each
 * time.
 *
 * Defines clock_gettime and getrandom in front of the C library's. */
#ifndef STAYD_TESTS_MACHINE_H
#define STAYD_TESTS_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#define MACHINE_START_S UINT32_C(2000000000)

enum { MACHINE_FOLDER_MAX = 64 };

/* Sets the clock to MACHINE_START_S, stops timers, and makes what getrandom gives follow from
 * `seed`. While no pool is open. */
void machine_begin(uint64_t seed);

uint32_t machine_now_s(void);
void machine_set_s(uint32_t now_s);

/* For pools that are opened afterwards: timers end, or never do. */
void machine_let_timers_run(bool run);

/* A new folder, in memory where there is such a thing. */
void machine_make_folder(char folder[MACHINE_FOLDER_MAX]);
void machine_remove_folder(const char *folder);

/* How long a test that runs for as long as it is allowed to may run: `short_ms`, or its share of
 * STAYD_SOAK_SECONDS where that is set; `tests`: how many share it. */
uint64_t machine_test_ms(uint64_t short_ms, unsigned tests);

/* The seed to begin with: STAYD_SEED, or 1; in a soak another one each time. `*only`: that one and
 * no other, because it was asked for. */
uint64_t machine_first_seed(bool *only);

/* Numbers that look random: the same for the same state. */
uint64_t random_next(uint64_t *state);
uint32_t random_below(uint64_t *state, uint32_t limit);
bool random_chance(uint64_t *state, unsigned percent);

#endif
