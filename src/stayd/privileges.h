/* Giving root's rights up for those of a user, for good. Main thread only, before there are others.
 */
#ifndef STAYD_STAYD_PRIVILEGES_H
#define STAYD_STAYD_PRIVILEGES_H

#include <stdbool.h>

enum { PRIVILEGES_ERROR_MAX = 256 };

/* Becomes the user, with the groups of that user alone, and makes sure that there is no way back.
 * Does nothing for who is not root (memcached's rule: -u is for those who may), or if the user is
 * root itself. `keep_core_dumps`: the system allows none to a process that has changed its user,
 * unless told so. False with a sentence in `error`. */
bool privileges_drop(const char *name, bool keep_core_dumps, char error[PRIVILEGES_ERROR_MAX]);

#endif
