#include "admin/host.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <limits.h>
#include <netdb.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Copies `host` without its port and without the brackets of an IPv6 address. False if `host` is
 * malformed. */
static bool host_take_name(const char *host, char name[NI_MAXHOST]) {
    const char *end;
    if (*host == '[') {
        host++;
        end = strchr(host, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':')) {
            return false;
        }
    } else {
        end = host + strcspn(host, ":");
    }
    size_t length = (size_t)(end - host);
    if (length == 0 || length >= NI_MAXHOST) {
        return false;
    }
    memcpy(name, host, length);
    name[length] = '\0';
    if (name[length - 1] == '.') {
        name[length - 1] = '\0'; /* the final dot of a fully qualified name */
    }
    return true;
}

static bool host_is_address(const char *name) {
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

static bool host_is_listed(const char *name, const char *names) {
    size_t wanted = strlen(name);
    while (*names != '\0') {
        names += strspn(names, ", \t");
        size_t length = strcspn(names, ", \t");
        if (length == wanted && strncasecmp(names, name, length) == 0) {
            return true;
        }
        names += length;
    }
    return false;
}

bool host_is_allowed(const char *host, const char *names) {
    char name[NI_MAXHOST];
    char own[HOST_NAME_MAX + 1] = "";
    if (host == NULL) {
        return true;
    }
    if (!host_take_name(host, name)) {
        return false;
    }
    return host_is_address(name) || strcasecmp(name, "localhost") == 0 ||
           (gethostname(own, sizeof own - 1) == 0 && strcasecmp(name, own) == 0) ||
           host_is_listed(name, names);
}
