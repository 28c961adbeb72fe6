/* The address of a listener, as it is written in the configuration:
 *
 *     127.0.0.1:11211        IPv4 address and port
 *     [::1]:11211            IPv6 address and port
 *     localhost:11211        short for 127.0.0.1
 *     unix:/run/x/y.sock     a Unix socket
 *     unix:y.sock            the same, relative to the run_dir
 *
 * Host names are not resolved: what a daemon listens on must not depend on the name service. Plain
 * values; any thread may call. */
#ifndef STAYD_NET_ADDRESS_H
#define STAYD_NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum {
    ADDRESS_TEXT_MAX = 128, /* bytes of an address as text, with its zero */
    ADDRESS_ERROR_MAX = 256 /* bytes of a message in an out parameter, with its zero */
};

struct address {
    struct sockaddr_storage socket;
    socklen_t size;
    char text[ADDRESS_TEXT_MAX]; /* normalised; a path is absolute */
};

/* False with the reason, and what to write instead, in `error`. */
bool address_parse(const char *text, const char *run_dir, struct address *address,
                   char error[ADDRESS_ERROR_MAX]);

/* `host` is an IPv4 or IPv6 address in digits without brackets, or localhost; `port` is 1 to 65535.
 */
bool address_parse_host(const char *host, unsigned port, struct address *address,
                        char error[ADDRESS_ERROR_MAX]);

/* An address as the system's calls return it. False if it is neither IPv4, IPv6 nor a Unix socket.
 */
bool address_from_socket(const struct sockaddr *socket, socklen_t size, struct address *address);

/* The address that a socket is bound to. False if it is neither IPv4, IPv6 nor a Unix socket. */
bool address_of_socket(int fd, struct address *address);

/* Whether both are the same address; a Unix socket may have two names. */
bool address_equals(const struct address *address, const struct address *other);

/* Whether only this machine can reach it: a loopback address or a Unix socket. */
bool address_is_local(const struct address *address);

/* As memcached shows addresses: tcp:127.0.0.1:11211, tcp6:[::1]:11211, unix:/run/x/y.sock. */
void address_describe(const struct address *address, char text[ADDRESS_TEXT_MAX]);

/* The client's address, as accept4 returned it. The connection keeps it, because getpeername fails
 * once the client has reset the connection. For a client of a Unix socket only the family is set.
 */
union peer {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

/* Whether the client is on this machine: on a loopback address or a Unix socket. */
bool address_peer_is_local(const union peer *peer);

/* The same format as address_describe. A client of a Unix socket is unix:<AF 1>. */
void address_describe_peer(const union peer *peer, char text[ADDRESS_TEXT_MAX]);

/* Whether the two addresses cannot both be bound: they are equal, or they have the same port and
 * one of them is the wildcard address, or they are two names of one socket file. */
bool address_overlaps(const struct address *address, const struct address *other);

bool address_is_unix(const struct address *address);

/* The path of a Unix socket. */
const char *address_path(const struct address *address);

#endif
