/* The environment of a test of the store: its clock, its random numbers, and a temporary folder.
 * Everything is determined by a seed, so that a failure can be reproduced.
 *
 * The unix clock stands still until a test moves it, and CLOCK_BOOTTIME moves with it. The
 * monotonic clock runs, but while timers are stopped, its timers never end: then a pool's threads
 * do nothing by themselves, and a test with one client takes the same course in each run.
 *
 * Replaces the C library's clock_gettime and getrandom. */
#ifndef STAYD_TESTS_ENVIRONMENT_H
#define STAYD_TESTS_ENVIRONMENT_H

#include "random.h"

#include <stdbool.h>
#include <stdint.h>

#define ENVIRONMENT_START_S UINT32_C(2000000000)

enum { ENVIRONMENT_FOLDER_MAX = 64 };

/* Sets the clock to ENVIRONMENT_START_S, stops timers, and seeds getrandom. Called while no pool is
 * open. */
void environment_begin(uint64_t seed);

uint32_t environment_now_s(void);
void environment_set_s(uint32_t now_s);

/* For pools that are opened afterwards: whether timers end. */
void environment_let_timers_run(bool run);

/* Makes a new folder, in memory (/dev/shm) if possible. */
void environment_make_folder(char folder[ENVIRONMENT_FOLDER_MAX]);
void environment_remove_folder(const char *folder);

/* The duration of a test that can run for any time: `short_ms`, or its share of STAYD_SOAK_SECONDS
 * if that is set. `tests`: how many tests share that time. */
uint64_t environment_test_ms(uint64_t short_ms, unsigned tests);

/* The first seed: STAYD_SEED, or 1; in a soak a different one each time. `*only`: run only this
 * seed, because STAYD_SEED is set. */
uint64_t environment_first_seed(bool *only);

#endif
