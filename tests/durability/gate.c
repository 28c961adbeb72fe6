/* Preloaded into the daemon by test_sync.py: stands in front of fdatasync(2). While there is a file
 * `shut` in the folder STAYD_GATE, a sync that begins does not end; while there is `broken`, it
 * fails as on a disk that has gone. */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static bool gate_has(const char *name) {
    char path[4096];
    const char *folder = getenv("STAYD_GATE");
    snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : "", name);
    return folder != NULL && access(path, F_OK) == 0;
}

int fdatasync(int file) {
    int (*system_fdatasync)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    while (gate_has("shut")) {
        struct timespec wait = {.tv_nsec = 1000000};
        nanosleep(&wait, NULL);
    }
    if (gate_has("broken")) {
        errno = EIO;
        return -1;
    }
    return system_fdatasync(file);
}
