#include "stayd/activation.h"

#include "base/number.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_FD = 3 };

#define fail(...) (snprintf(error, ACTIVATION_ERROR_MAX, __VA_ARGS__), false)

/* Reads LISTEN_FDS. 0: nothing was passed to this process. False if a variable is invalid. */
static bool activation_count(uint64_t *count, char error[ACTIVATION_ERROR_MAX]) {
    const char *process = getenv("LISTEN_PID");
    const char *fds = getenv("LISTEN_FDS");
    uint64_t number;
    *count = 0;
    if (process == NULL || fds == NULL) {
        return true;
    }
    if (!number_parse_u64(bytes_from_string(process), &number)) {
        return fail("LISTEN_PID=%.32s: not a process id", process);
    }
    if (number != (uint64_t)getpid()) {
        return true;
    }
    if (!number_parse_u64(bytes_from_string(fds), count) || *count > ACTIVATION_SOCKETS_MAX) {
        return fail("LISTEN_FDS=%.32s: not a number of sockets from 0 to %d", fds,
                    ACTIVATION_SOCKETS_MAX);
    }
    return true;
}

/* Splits LISTEN_FDNAMES: one name for each socket, or none at all. */
static bool activation_read_names(struct activation *activation, char error[ACTIVATION_ERROR_MAX]) {
    const char *names = getenv("LISTEN_FDNAMES");
    unsigned count = 0;
    for (const char *name = names; name != NULL; count++) {
        size_t length = strcspn(name, ":");
        if (count < activation->count) {
            struct activation_socket *socket = &activation->sockets[count];
            snprintf(socket->name, sizeof socket->name, "%.*s", (int)length, name);
        }
        name = name[length] == ':' ? name + length + 1 : NULL;
    }
    if (names != NULL && count != activation->count) {
        return fail("LISTEN_FDNAMES=%.256s has %u names, and LISTEN_FDS says %u sockets", names,
                    count, activation->count);
    }
    return true;
}

/* Checks that the descriptor is a socket that listens for streams, and reads its address. */
static bool activation_inspect(struct activation_socket *socket, char error[ACTIVATION_ERROR_MAX]) {
    struct stat status;
    int type = 0;
    int listens = 0;
    int ipv6_only = 1;
    socklen_t size = sizeof type;
    int fd = socket->fd;
    if (fstat(fd, &status) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        return fail("LISTEN_FDS: descriptor %d is not open", fd);
    }
    if (!S_ISSOCK(status.st_mode)) {
        return fail("LISTEN_FDS: descriptor %d is not a socket", fd);
    }
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
        return fail("LISTEN_FDS: descriptor %d is not a stream socket; use ListenStream= in the "
                    "socket unit",
                    fd);
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) {
        return fail("LISTEN_FDS: descriptor %d does not listen; use Accept=no in the socket unit",
                    fd);
    }
    if (!address_of_socket(fd, &socket->address)) {
        return fail("LISTEN_FDS: descriptor %d listens neither on TCP nor on a Unix socket", fd);
    }
    if (socket->address.socket.ss_family == AF_INET6 &&
        (getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &ipv6_only, &size) != 0 || ipv6_only == 0)) {
        return fail("LISTEN_FDS: descriptor %d, %s, takes IPv4 connections too; use "
                    "BindIPv6Only=ipv6-only in the socket unit",
                    fd, socket->address.text);
    }
    return true;
}

void activation_receive(struct activation *activation) {
    uint64_t count;
    char *error = activation->error;
    activation->count = 0;
    *error = '\0';
    bool well = activation_count(&count, error);
    if (well && count > 0) {
        for (; activation->count < count; activation->count++) {
            activation->sockets[activation->count] =
                (struct activation_socket){.fd = FIRST_FD + (int)activation->count};
        }
        well = activation_read_names(activation, error);
        for (unsigned i = 0; i < activation->count && well; i++) {
            well = activation_inspect(&activation->sockets[i], error);
        }
    }
    if (!well) {
        activation->count = 0; /* the descriptors stay open: they may not be sockets */
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static bool pool_has(const struct config_pool *pool, const struct address *address) {
    for (unsigned i = 0; i < pool->listen_count; i++) {
        if (address_equals(&pool->listens[i].address, address)) {
            return true;
        }
    }
    return false;
}

static const struct config_pool *find_pool_of(const struct config *config,
                                              const struct address *address) {
    for (unsigned i = 0; i < config->pool_count; i++) {
        if (pool_has(&config->pools[i], address)) {
            return &config->pools[i];
        }
    }
    return NULL;
}

/* The access rights of the socket's file must not be wider than those that the configuration asks
 * for. */
static bool check_mode(const struct activation_socket *socket, const struct config_pool *pool,
                       char error[ACTIVATION_ERROR_MAX]) {
    struct stat status;
    if (!address_is_unix(&socket->address) || stat(address_path(&socket->address), &status) != 0 ||
        (status.st_mode & 0777 & ~pool->socket_mode) == 0) {
        return true;
    }
    return fail("the socket %s has mode %04o, and pool %s has socket_mode = %04o; use "
                "SocketMode=%04o in the socket unit",
                socket->address.text, (unsigned)status.st_mode & 0777, pool->options.name,
                pool->socket_mode, pool->socket_mode);
}

static bool check_socket(const struct activation_socket *socket, const struct config *config,
                         char error[ACTIVATION_ERROR_MAX]) {
    const struct config_pool *owner = find_pool_of(config, &socket->address);
    const char *name = socket->name;
    if (*name != '\0' && config_find_pool(config, name) == NULL) {
        return fail("the socket %s is passed under the name '%s', and there is no such pool; set "
                    "FileDescriptorName= in the socket unit to the pool's name",
                    socket->address.text, name);
    }
    if (owner == NULL) {
        return fail("the socket %s is passed for %s%s, and is not in `listen`; make `listen` in "
                    "the configuration and ListenStream= in the socket unit the same",
                    socket->address.text, *name != '\0' ? "pool " : "no pool in particular", name);
    }
    if (*name != '\0' && strcmp(owner->options.name, name) != 0) {
        return fail("the socket %s is passed for pool %s, and is an address of pool %s; set "
                    "FileDescriptorName=%s in the socket unit",
                    socket->address.text, name, owner->options.name, owner->options.name);
    }
    return check_mode(socket, owner, error);
}

bool activation_check(const struct activation *activation, const struct config *config,
                      char error[ACTIVATION_ERROR_MAX]) {
    if (activation->error[0] != '\0') {
        return fail("%s", activation->error);
    }
    for (unsigned i = 0; i < activation->count; i++) {
        const struct activation_socket *socket = &activation->sockets[i];
        for (unsigned j = 0; j < i; j++) {
            if (address_equals(&activation->sockets[j].address, &socket->address)) {
                return fail("the socket %s is passed twice; name it in one socket unit, once",
                            socket->address.text);
            }
        }
        if (!check_socket(socket, config, error)) {
            return false;
        }
    }
    return true;
}

int activation_take(struct activation *activation, const struct address *address) {
    for (unsigned i = 0; i < activation->count; i++) {
        struct activation_socket *socket = &activation->sockets[i];
        if (!socket->is_taken && address_equals(&socket->address, address)) {
            socket->is_taken = true;
            return socket->fd;
        }
    }
    return -1;
}

void activation_finish(struct activation *activation) {
    for (unsigned i = 0; i < activation->count; i++) {
        if (!activation->sockets[i].is_taken) {
            close(activation->sockets[i].fd);
        }
    }
    activation->count = 0;
}
