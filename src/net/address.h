/* Where something listens, as people write it in the configuration:
 *
 *     127.0.0.1:11211        IPv4 address and port
 *     [::1]:11211            IPv6 address and port
 *     localhost:11211        short for 127.0.0.1
 *     unix:/run/x/y.sock     a Unix socket
 *     unix:y.sock            the same, relative to the run_dir
 *
 * Host names are not looked up: what a daemon listens on must not depend on the name service.
 * Values; any thread may call. */
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
    char text[ADDRESS_TEXT_MAX]; /* in one spelling, with an absolute path */
};

/* False with the reason, and what to write instead, in `error`. */
bool address_parse(const char *text, const char *run_dir, struct address *address,
                   char error[ADDRESS_ERROR_MAX]);

/* IPv4 or IPv6 in digits, or localhost, without brackets; and a port from 1 to 65535. */
bool address_parse_host(const char *host, unsigned port, struct address *address,
                        char error[ADDRESS_ERROR_MAX]);

/* Whether only this machine can reach it: a loopback address or a Unix socket. */
bool address_is_local(const struct address *address);

/* As memcached shows addresses: tcp:127.0.0.1:11211, tcp6:[::1]:11211, unix:/run/x/y.sock. */
void address_describe(const struct address *address, char text[ADDRESS_TEXT_MAX]);

/* A connection's other end, as accept tells it. Kept, because nobody tells any more once the client
 * has reset the connection. A client of a Unix socket has a family and no more. */
union peer {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

/* Whether the client is on this machine: on a loopback address or a Unix socket. */
bool address_peer_is_local(const union peer *peer);

/* As address_describe; unix:<AF 1> for a client of a Unix socket. */
void address_describe_peer(const union peer *peer, char text[ADDRESS_TEXT_MAX]);

/* Whether no two sockets can listen on both: the same address, the same port of every address and
 * of one, or the same file of Unix sockets under two names. */
bool address_overlaps(const struct address *address, const struct address *other);

bool address_is_unix(const struct address *address);

/* The path of a Unix socket. */
const char *address_path(const struct address *address);

#endif
