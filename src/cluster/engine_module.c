#include "cluster/engine_module.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE_NAME "stayd-nats.so"

/* The module beside the program, as in a build folder; else the installed one. */
static void engine_module_find(char path[PATH_MAX]) {
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX - sizeof MODULE_NAME - 1);
    if (size > 0) {
        path[size] = '\0';
        char *slash = strrchr(path, '/');
        strcpy(slash + 1, MODULE_NAME);
        if (access(path, R_OK) == 0) {
            return;
        }
    }
    snprintf(path, PATH_MAX, "%s/%s", STAYD_MODULE_DIR, MODULE_NAME);
}

engine_open *engine_module_load(char error[ENGINE_ERROR_MAX]) {
    char path[PATH_MAX];
    engine_module_find(path);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL) {
        snprintf(error, ENGINE_ERROR_MAX,
                 "the module for clustered pools cannot be loaded: %s. Install the package "
                 "stayd-cluster, or build stayd with libnats-dev",
                 dlerror());
        return NULL;
    }
    engine_open *open = NULL;
    void *symbol = dlsym(module, ENGINE_OPEN_NAME);
    if (symbol == NULL) {
        snprintf(error, ENGINE_ERROR_MAX, "%.400s is not this stayd's module", path);
        return NULL;
    }
    memcpy(&open, &symbol, sizeof open);
    return open;
}
