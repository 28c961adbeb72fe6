/* What must hold whatever the input is. A failed check ends the process as a crash does, so that
 * the fuzzer keeps the input. */
#ifndef STAYD_TESTS_FUZZ_CHECK_H
#define STAYD_TESTS_FUZZ_CHECK_H

#include "base/bytes.h"

#include <stdbool.h>

#define check(condition, what) check_that((condition), #condition, (what), __FILE__, __LINE__)
__attribute__((nonnull(2, 3, 4))) void check_that(bool holds, const char *condition,
                                                  const char *what, const char *file, int line);

/* The two are the same, byte for byte; else both are shown. */
void check_equal(struct bytes one, struct bytes other, const char *what);

/* Shows bytes on stderr, with escapes for those that do not print. */
void show_bytes(const char *what, struct bytes text);

#endif
