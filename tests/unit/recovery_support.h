/* Shared by the tests of recovery: the work of a child process before it is killed, and access to
 * the bytes of a pool's files. */
#ifndef STAYD_TESTS_RECOVERY_SUPPORT_H
#define STAYD_TESTS_RECOVERY_SUPPORT_H

#include "store_support.h"

/* ---- for store_crash and store_survive ---- */

void do_nothing(struct store *child, void *argument);

/* Stores the items 0 to `*(unsigned *)argument` - 1; store_has_number(store, number, number % 7,
 * number % 900) finds them. */
void store_many(struct store *child, void *argument);

/* Does the same, and then deletes the items whose number is a multiple of 3. */
void delete_one_in_three(struct store *child, void *argument);

/* Stores "a", "b" and "c" with "first-value", "second-value" and "third-value". */
void store_three(struct store *child, void *argument);

/* Gives the janitor a reason and the time to compact every segment that was written so far, in
 * `*(unsigned *)argument` rounds. */
void run_churn(struct store *child, void *argument);

void flush(struct store *store, uint32_t when_s);

/* ---- the contents of the files, while the pool is closed ---- */

struct image {
    char *bytes; /* to be freed by the caller */
    size_t size;
};

struct image read_image(const char *path);
void write_bytes(const char *path, const void *bytes, size_t size, size_t offset);

/* Overwrites a byte of the record whose value is this text, so that the record looks torn. */
void tear(const struct store *store, const char *value);

#endif
