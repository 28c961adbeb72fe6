/* The paths of a persistent pool's files. */
#ifndef STAYD_STORE_PATHS_H
#define STAYD_STORE_PATHS_H

#include "store/pool.h"

#include <limits.h>

/* data_dir/NAME.pool and run_dir/NAME.index. False: the folder's path is too long. */
bool paths_data(const struct pool_options *options, char path[PATH_MAX]);
bool paths_index(const struct pool_options *options, char path[PATH_MAX]);

/* The path under which a file is made, until it gets its own path. Always fits. */
void paths_temporary(const char *path, char temporary[PATH_MAX]);

#endif
