/* Checks of what must hold for every input. A failed check ends the process like a crash, so that
 * the fuzzer keeps the input. */
#ifndef STAYD_TESTS_FUZZ_CHECK_H
#define STAYD_TESTS_FUZZ_CHECK_H

#include "base/bytes.h"

#include <stdbool.h>

#define check(condition, what) check_that((condition), #condition, (what), __FILE__, __LINE__)
__attribute__((nonnull(2, 3, 4))) void check_that(bool holds, const char *condition,
                                                  const char *what, const char *file, int line);

/* Checks that both are equal, byte for byte; otherwise shows both. */
void check_equal(struct bytes one, struct bytes other, const char *what);

/* Shows bytes on stderr, with escapes for those that are not printable. */
void show_bytes(const char *what, struct bytes text);

#endif
