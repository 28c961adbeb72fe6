#include "stayd/port_file.h"

#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool port_file_fill(FILE *file, const struct listener *listeners, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        const struct sockaddr_storage *socket = &listeners[i].address.socket;
        if (!listeners[i].is_open || address_is_unix(&listeners[i].address)) {
            continue;
        }
        if (socket->ss_family == AF_INET6) {
            fprintf(file, "TCP INET6: %u\n",
                    ntohs(((const struct sockaddr_in6 *)socket)->sin6_port));
        } else {
            fprintf(file, "TCP INET: %u\n", ntohs(((const struct sockaddr_in *)socket)->sin_port));
        }
    }
    return ferror(file) == 0;
}

void port_file_write(const char *path, const struct listener *listeners, unsigned count) {
    char unfinished[PATH_MAX + 8];
    snprintf(unfinished, sizeof unfinished, "%s.lck", path);
    FILE *file = fopen(unfinished, "we");
    bool written = file != NULL && port_file_fill(file, listeners, count);
    if (file != NULL && fclose(file) != 0) {
        written = false;
    }
    if (!written || rename(unfinished, path) != 0) {
        log_warning("cannot write the ports to %s (MEMCACHED_PORT_FILENAME): %s", path,
                    strerror(errno));
        if (file != NULL) {
            unlink(unfinished);
        }
    }
}
