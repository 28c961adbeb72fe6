#include "store/paths.h"

#include <stdio.h>

#define PATHS_TEMPORARY ".new"

static bool paths_make(const char *folder, const char *name, const char *suffix, char *path) {
    return snprintf(path, PATH_MAX, "%s/%s%s", folder, name, suffix) <=
           PATH_MAX - (int)sizeof PATHS_TEMPORARY;
}

bool paths_data(const struct pool_options *options, char path[PATH_MAX]) {
    return paths_make(options->data_dir, options->name, ".pool", path);
}

bool paths_index(const struct pool_options *options, char path[PATH_MAX]) {
    return paths_make(options->run_dir, options->name, ".index", path);
}

void paths_temporary(const char *path, char temporary[PATH_MAX]) {
    snprintf(temporary, PATH_MAX, "%s" PATHS_TEMPORARY, path);
}
