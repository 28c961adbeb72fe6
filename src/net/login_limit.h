/* Limits how many wrong passwords one address may try. Each address has a bucket of tokens: a wrong
 * password costs one, and one comes back every few seconds. While the bucket is empty, logins from
 * the address are refused without a check. So an attacker can neither try many passwords nor use up
 * the time that hashes take.
 *
 * An address is an IPv4 address, an IPv6 network of 64 bits (the smallest that a site gets), or a
 * user of this machine (Unix sockets).
 *
 * An address is *trusted* for an hour after a login from it. From a trusted address, passwords that
 * are known to be right are accepted even while its bucket is empty. Otherwise one web server with
 * an old password would lock out all web servers behind the same address, and with them the users
 * of the site. The price: a client that shares its address with a web server may guess as fast as
 * logins are read.
 *
 * The table has a fixed size. A new address replaces another one of its hash set: an untrusted one
 * if there is one, and among these the one that was idle longest. Not shared between threads
 * without a lock. Times are on the monotonic clock. */
#ifndef STAYD_NET_LOGIN_LIMIT_H
#define STAYD_NET_LOGIN_LIMIT_H

#include "net/address.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    LOGIN_LIMIT_BURST = 20,
    LOGIN_LIMIT_TOKEN_MS = 3000,
    LOGIN_LIMIT_TRUST_MS = 3600 * 1000,
    LOGIN_LIMIT_LOG_MS = 10000, /* the minimum interval of log lines about one address */
    LOGIN_LIMIT_ADDRESSES = 4096,
    LOGIN_SOURCE_TEXT_MAX = 64
};

/* The origin of a login: an address as above. Two origins are equal if all bytes are equal. */
struct login_source {
    uint8_t kind; /* enum source_kind, in login_limit.c */
    uint8_t bytes[8];
};

/* The origin of the logins on a socket. False if the client has disconnected. */
bool login_source_read(int fd, struct login_source *source);

/* The origin of the logins of a client with this address. False if it is not an IPv4 or IPv6
 * address. */
bool login_source_of_peer(const union peer *peer, struct login_source *source);

bool login_source_equal(const struct login_source *a, const struct login_source *b);

void login_source_format(const struct login_source *source, char text[LOGIN_SOURCE_TEXT_MAX]);

struct login_limit;

/* NULL if memory is short. */
struct login_limit *login_limit_create(void);
void login_limit_destroy(struct login_limit *limit);

/* Takes a token. False if the bucket is empty. */
bool login_limit_take(struct login_limit *limit, const struct login_source *source,
                      uint64_t now_ms);

/* Whether a password that is known to be right is accepted. Takes no token. */
bool login_limit_allows(struct login_limit *limit, const struct login_source *source,
                        uint64_t now_ms);

bool login_limit_trusts(struct login_limit *limit, const struct login_source *source,
                        uint64_t now_ms);

/* Trusts the address: a login from it was right. `give_back`: returns the token that the login had
 * taken. */
void login_limit_trust(struct login_limit *limit, const struct login_source *source,
                       uint64_t now_ms, bool give_back);

/* Counts a refused login from the address. If a line about it may be logged now, returns how many
 * were refused since the last line about this address; else 0. */
uint64_t login_limit_count(struct login_limit *limit, const struct login_source *source,
                           uint64_t now_ms, bool may_log);

#endif
