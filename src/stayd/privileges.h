/* Drops root's rights for good and takes those of a user. Main thread only, before other threads
 * start.
 */
#ifndef STAYD_STAYD_PRIVILEGES_H
#define STAYD_STAYD_PRIVILEGES_H

#include <stdbool.h>

enum { PRIVILEGES_ERROR_MAX = 256 };

/* Becomes the user, with only the groups of that user, and checks that the process cannot become
 * root again. Does nothing if the process is not root (as memcached does with -u), or if the user
 * is root. `keep_core_dumps`: allow core files, which the kernel disables for a process that has
 * changed its user. False with a sentence in `error`. */
bool privileges_drop(const char *name, bool keep_core_dumps, char error[PRIVILEGES_ERROR_MAX]);

#endif
