/* How many wrong passwords one address may try. Each has a bucket of tokens: a wrong password costs
 * one, and one comes back every few seconds. When the bucket is empty, logins from there are
 * refused unheard, so neither guesses nor the time that hashes take can be had in numbers.
 *
 * An address is an IPv4 address, an IPv6 network of 64 bits (the least that a site is given), or a
 * user on this machine (Unix sockets).
 *
 * An address that somebody has logged in from within the hour is *trusted*: passwords that are
 * known to be right are taken from there even while its bucket is empty. Otherwise one web server
 * with an old password would lock out the others behind the same address, and the users of the site
 * with them. The price: who shares an address with a web server may guess as fast as logins are
 * read.
 *
 * The table has a fixed size; the address that was idle longest makes room, trusted ones last.
 * Not shared between threads without a lock. Times are of the monotonic clock. */
#ifndef STAYD_NET_LOGIN_LIMIT_H
#define STAYD_NET_LOGIN_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LOGIN_LIMIT_BURST = 20,
    LOGIN_LIMIT_TOKEN_MS = 3000,
    LOGIN_LIMIT_TRUST_MS = 3600 * 1000,
    LOGIN_LIMIT_LOG_MS = 10000, /* between two lines about one address */
    LOGIN_LIMIT_ADDRESSES = 4096,
    LOGIN_SOURCE_TEXT_MAX = 64
};

/* Where a login comes from. All bytes count. */
struct login_source {
    uint8_t kind; /* of login_limit.c */
    uint8_t bytes[8];
};

/* The other end of a socket. False if it has gone. */
bool login_source_read(int fd, struct login_source *source);

bool login_source_equal(const struct login_source *a, const struct login_source *b);

void login_source_format(const struct login_source *source, char text[LOGIN_SOURCE_TEXT_MAX]);

struct login_limit;

/* NULL if memory is short. */
struct login_limit *login_limit_create(void);
void login_limit_destroy(struct login_limit *limit);

/* Takes a token; false if there is none. */
bool login_limit_take(struct login_limit *limit, const struct login_source *source,
                      uint64_t now_ms);

/* Whether a password that is known to be right may be taken: no token is. */
bool login_limit_allows(struct login_limit *limit, const struct login_source *source,
                        uint64_t now_ms);

bool login_limit_trusts(struct login_limit *limit, const struct login_source *source,
                        uint64_t now_ms);

/* Somebody has logged in from there. `give_back`: the token that was taken before. */
void login_limit_trust(struct login_limit *limit, const struct login_source *source,
                       uint64_t now_ms, bool give_back);

/* A login from there was refused. If a line about that may be logged: how many were since the last
 * line about this address, or 0 if it is too early for another one. */
uint64_t login_limit_count(struct login_limit *limit, const struct login_source *source,
                           uint64_t now_ms, bool may_log);

#endif
