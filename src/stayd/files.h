/* The limit of open files: each connection needs a file descriptor, and so do the daemon's other
 * parts. Main thread only, before the pools are open. */
#ifndef STAYD_STAYD_FILES_H
#define STAYD_STAYD_FILES_H

#include "proto/limits.h"
#include "stayd/config.h"

#include <stdbool.h>

/* Raises the limit of open files to what the configuration needs. If that is not allowed, fewer
 * connections may be open, so that accept does not fail later. Sets `connections`. False, which is
 * logged, if there would be none. */
bool files_raise_limit(const struct config *config, struct proto_whole *connections);

#endif
