/* Preloaded into the daemon by support/gate.py: replaces fdatasync(2). While the folder that
 * STAYD_GATE names contains the file `shut`, a sync does not end. The file `slow` contains how many
 * milliseconds a sync takes. While the file `broken` exists, a sync fails as on a failed disk. */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *gate_path(const char *name, char path[4096]) {
    const char *folder = getenv("STAYD_GATE");
    snprintf(path, 4096, "%s/%s", folder != NULL ? folder : "/nonexistent", name);
    return path;
}

static bool gate_has(const char *name) {
    char path[4096];
    return access(gate_path(name, path), F_OK) == 0;
}

static void gate_sleep_ms(unsigned milliseconds) {
    struct timespec wait = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    nanosleep(&wait, NULL);
}

int fdatasync(int file) {
    int (*system_fdatasync)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    char path[4096];
    FILE *slow = fopen(gate_path("slow", path), "r");
    unsigned milliseconds = 0;
    if (slow != NULL) {
        if (fscanf(slow, "%u", &milliseconds) == 1) {
            gate_sleep_ms(milliseconds);
        }
        fclose(slow);
    }
    while (gate_has("shut")) {
        gate_sleep_ms(1);
    }
    if (gate_has("broken")) {
        errno = EIO;
        return -1;
    }
    return system_fdatasync(file);
}
