#include "net/address.h"

#include "base/number.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

static const char unix_prefix[] = "unix:";

static bool address_parse_unix(const char *path, const char *run_dir, struct address *address,
                               char error[ADDRESS_ERROR_MAX]) {
    if (*path == '\0') {
        snprintf(error, ADDRESS_ERROR_MAX,
                 "no path after unix:; write a path, such as unix:cache.sock");
        return false;
    }
    struct sockaddr_un *socket = (struct sockaddr_un *)&address->socket;
    const char *directory = *path == '/' ? "" : run_dir;
    const char *slash = *path == '/' ? "" : "/";
    int length =
        snprintf(socket->sun_path, sizeof socket->sun_path, "%s%s%s", directory, slash, path);
    if (length < 0 || (size_t)length >= sizeof socket->sun_path) {
        snprintf(error, ADDRESS_ERROR_MAX,
                 "the socket's path is %d bytes long, and the system allows %zu; choose a shorter "
                 "name or run_dir",
                 length, sizeof socket->sun_path - 1);
        return false;
    }
    socket->sun_family = AF_UNIX;
    address->size = sizeof *socket;
    snprintf(address->text, sizeof address->text, "%s%s", unix_prefix, socket->sun_path);
    return true;
}

bool address_parse_host(const char *host, unsigned port, struct address *address,
                        char error[ADDRESS_ERROR_MAX]) {
    *address = (struct address){0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address->socket;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->socket;
    char digits[INET6_ADDRSTRLEN];
    if (port < 1 || port > UINT16_MAX) {
        snprintf(error, ADDRESS_ERROR_MAX, "a port is a number from 1 to 65535");
        return false;
    }
    if (strcmp(host, "localhost") == 0) {
        host = "127.0.0.1";
    }
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        address->size = sizeof *v4;
        inet_ntop(AF_INET, &v4->sin_addr, digits, sizeof digits);
        snprintf(address->text, sizeof address->text, "%s:%u", digits, port);
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        address->size = sizeof *v6;
        inet_ntop(AF_INET6, &v6->sin6_addr, digits, sizeof digits);
        snprintf(address->text, sizeof address->text, "[%s]:%u", digits, port);
        return true;
    }
    snprintf(error, ADDRESS_ERROR_MAX,
             "'%.64s' is not an IP address; write it in digits (127.0.0.1, [::1]), or localhost, "
             "or 0.0.0.0 for every address of this machine",
             host);
    return false;
}

bool address_parse(const char *text, const char *run_dir, struct address *address,
                   char error[ADDRESS_ERROR_MAX]) {
    *address = (struct address){0};
    if (strncmp(text, unix_prefix, strlen(unix_prefix)) == 0) {
        return address_parse_unix(text + strlen(unix_prefix), run_dir, address, error);
    }
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (colon == NULL || colon == text || !number_parse_u64(bytes_from_string(colon + 1), &port)) {
        snprintf(error, ADDRESS_ERROR_MAX,
                 "not an address with a port; write ADDRESS:PORT or unix:PATH, such as "
                 "127.0.0.1:11211 or "
                 "unix:cache.sock");
        return false;
    }
    size_t length = (size_t)(colon - text);
    bool bracketed = length >= 2 && text[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        text++;
        length -= 2;
    } else if (memchr(text, ':', length) != NULL) {
        snprintf(error, ADDRESS_ERROR_MAX,
                 "an IPv6 address must be in brackets, such as [::1]:11211");
        return false;
    }
    char host[ADDRESS_TEXT_MAX];
    if (length >= sizeof host) {
        snprintf(error, ADDRESS_ERROR_MAX, "the address is too long");
        return false;
    }
    memcpy(host, text, length);
    host[length] = '\0';
    return address_parse_host(host, port > UINT16_MAX ? 0 : (unsigned)port, address, error);
}

/* Writes the text of an address whose other fields are set. */
static bool address_write(struct address *address) {
    char digits[INET6_ADDRSTRLEN];
    switch (address->socket.ss_family) {
    case AF_INET: {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->socket;
        inet_ntop(AF_INET, &v4->sin_addr, digits, sizeof digits);
        snprintf(address->text, sizeof address->text, "%s:%u", digits, ntohs(v4->sin_port));
        return true;
    }
    case AF_INET6: {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->socket;
        inet_ntop(AF_INET6, &v6->sin6_addr, digits, sizeof digits);
        snprintf(address->text, sizeof address->text, "[%s]:%u", digits, ntohs(v6->sin6_port));
        return true;
    }
    case AF_UNIX: {
        const char *path = ((const struct sockaddr_un *)&address->socket)->sun_path;
        bool is_abstract = *path == '\0' && path[1] != '\0';
        snprintf(address->text, sizeof address->text, "%s%s%.107s", unix_prefix,
                 is_abstract ? "@" : "", path + is_abstract);
        return true;
    }
    default:
        return false;
    }
}

bool address_from_socket(const struct sockaddr *socket, socklen_t size, struct address *address) {
    *address = (struct address){.size = size};
    if (size > sizeof address->socket) {
        return false;
    }
    memcpy(&address->socket, socket, size);
    return address_write(address);
}

bool address_of_socket(int fd, struct address *address) {
    *address = (struct address){.size = sizeof address->socket};
    return getsockname(fd, (struct sockaddr *)&address->socket, &address->size) == 0 &&
           address_write(address);
}

bool address_is_unix(const struct address *address) {
    return address->socket.ss_family == AF_UNIX;
}

const char *address_path(const struct address *address) {
    return ((const struct sockaddr_un *)&address->socket)->sun_path;
}

bool address_is_local(const struct address *address) {
    switch (address->socket.ss_family) {
    case AF_INET: {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->socket;
        return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&address->socket)->sin6_addr);
    default:
        return address->socket.ss_family == AF_UNIX;
    }
}

/* IPv6 listeners do not accept IPv4 connections (listener.c). */
static bool address_is_any(const struct address *address) {
    if (address->socket.ss_family == AF_INET) {
        return ((const struct sockaddr_in *)&address->socket)->sin_addr.s_addr == INADDR_ANY;
    }
    return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&address->socket)->sin6_addr);
}

static in_port_t address_port(const struct address *address) {
    return address->socket.ss_family == AF_INET
               ? ((const struct sockaddr_in *)&address->socket)->sin_port
               : ((const struct sockaddr_in6 *)&address->socket)->sin6_port;
}

/* Whether two paths name the same file. Compares the folders by device and inode, because the
 * socket file need not exist yet. */
static bool address_same_file(const char *path, const char *other) {
    const char *name = strrchr(path, '/') + 1;
    const char *other_name = strrchr(other, '/') + 1;
    char folder[sizeof((struct sockaddr_un *)NULL)->sun_path];
    struct stat status;
    struct stat other_status;
    if (strcmp(name, other_name) != 0) {
        return false;
    }
    snprintf(folder, sizeof folder, "%.*s", (int)(name - path), path);
    if (stat(folder, &status) != 0) {
        return false;
    }
    snprintf(folder, sizeof folder, "%.*s", (int)(other_name - other), other);
    return stat(folder, &other_status) == 0 && status.st_dev == other_status.st_dev &&
           status.st_ino == other_status.st_ino;
}

bool address_equals(const struct address *address, const struct address *other) {
    if (address->socket.ss_family != other->socket.ss_family) {
        return false;
    }
    if (address->socket.ss_family != AF_UNIX) {
        return strcmp(address->text, other->text) == 0;
    }
    const char *path = address_path(address);
    const char *other_path = address_path(other);
    return *path == '/' && *other_path == '/' && address_same_file(path, other_path);
}

bool address_overlaps(const struct address *address, const struct address *other) {
    if (strcmp(address->text, other->text) == 0) {
        return true;
    }
    if (address->socket.ss_family != other->socket.ss_family) {
        return false;
    }
    if (address_is_unix(address)) {
        return address_same_file(address_path(address), address_path(other));
    }
    return address_port(address) == address_port(other) &&
           (address_is_any(address) || address_is_any(other));
}

void address_describe(const struct address *address, char text[ADDRESS_TEXT_MAX]) {
    const char *prefix = "tcp:";
    if (address_is_unix(address)) {
        prefix = ""; /* the text has its own prefix */
    } else if (address->socket.ss_family == AF_INET6) {
        prefix = "tcp6:";
    }
    snprintf(text, ADDRESS_TEXT_MAX, "%s%.*s", prefix, ADDRESS_TEXT_MAX - 6, address->text);
}

bool address_peer_is_local(const union peer *peer) {
    switch (peer->any.sa_family) {
    case AF_INET:
        return ntohl(peer->ipv4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    case AF_INET6: {
        const struct in6_addr *host = &peer->ipv6.sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(host) ||
               (IN6_IS_ADDR_V4MAPPED(host) && host->s6_addr[12] == IN_LOOPBACKNET);
    }
    default:
        return peer->any.sa_family == AF_UNIX;
    }
}

void address_describe_peer(const union peer *peer, char text[ADDRESS_TEXT_MAX]) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (peer->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &peer->ipv4.sin_addr, host, sizeof host);
        snprintf(text, ADDRESS_TEXT_MAX, "tcp:%s:%u", host, ntohs(peer->ipv4.sin_port));
    } else if (peer->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &peer->ipv6.sin6_addr, host, sizeof host);
        snprintf(text, ADDRESS_TEXT_MAX, "tcp6:[%s]:%u", host, ntohs(peer->ipv6.sin6_port));
    } else {
        snprintf(text, ADDRESS_TEXT_MAX, "unix:<AF %d>", peer->any.sa_family);
    }
}
