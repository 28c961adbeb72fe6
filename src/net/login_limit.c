#include "net/login_limit.h"

#include "base/hash.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { WAYS = 4, SETS = LOGIN_LIMIT_ADDRESSES / WAYS };

enum source_kind { SOURCE_IPV4, SOURCE_IPV6, SOURCE_USER };

struct login_bucket {
    bool in_use;
    struct login_source source;
    uint64_t debt_ms; /* LOGIN_LIMIT_TOKEN_MS for each token taken, less the time since */
    uint64_t updated_ms;
    uint64_t trusted_until_ms;
    uint64_t refused; /* logins refused since the last log line */
    uint64_t logged_ms;
};

struct login_limit {
    uint64_t seed;
    struct login_bucket buckets[SETS][WAYS];
};

bool login_source_of_peer(const union peer *peer, struct login_source *source) {
    *source = (struct login_source){0};
    if (peer->any.sa_family == AF_INET) {
        source->kind = SOURCE_IPV4;
        memcpy(source->bytes, &peer->ipv4.sin_addr, 4);
    } else if (peer->any.sa_family == AF_INET6) {
        source->kind = SOURCE_IPV6;
        memcpy(source->bytes, &peer->ipv6.sin6_addr, 8);
    } else {
        return false;
    }
    return true;
}

bool login_source_read(int fd, struct login_source *source) {
    union peer peer = {0};
    socklen_t size = sizeof peer;
    if (getpeername(fd, &peer.any, &size) != 0) {
        *source = (struct login_source){0};
        return false;
    }
    if (login_source_of_peer(&peer, source)) {
        return true;
    }
    struct ucred user;
    socklen_t user_size = sizeof user;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &user_size) != 0) {
        return false;
    }
    source->kind = SOURCE_USER;
    memcpy(source->bytes, &user.uid, sizeof user.uid);
    return true;
}

void login_source_format(const struct login_source *source, char text[LOGIN_SOURCE_TEXT_MAX]) {
    struct in6_addr ipv6 = {0};
    char digits[INET6_ADDRSTRLEN] = "?";
    uid_t user;
    switch ((enum source_kind)source->kind) {
    case SOURCE_IPV4:
        inet_ntop(AF_INET, source->bytes, text, LOGIN_SOURCE_TEXT_MAX);
        break;
    case SOURCE_IPV6:
        memcpy(&ipv6, source->bytes, sizeof source->bytes);
        inet_ntop(AF_INET6, &ipv6, digits, sizeof digits);
        snprintf(text, LOGIN_SOURCE_TEXT_MAX, "%s/64", digits);
        break;
    case SOURCE_USER:
        memcpy(&user, source->bytes, sizeof user);
        snprintf(text, LOGIN_SOURCE_TEXT_MAX, "uid %u", user);
        break;
    }
}

struct login_limit *login_limit_create(void) {
    struct login_limit *limit = calloc(1, sizeof *limit);
    if (limit != NULL && getrandom(&limit->seed, sizeof limit->seed, 0) != sizeof limit->seed) {
        free(limit);
        return NULL;
    }
    return limit;
}

void login_limit_destroy(struct login_limit *limit) {
    free(limit);
}

bool login_source_equal(const struct login_source *a, const struct login_source *b) {
    return a->kind == b->kind && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static bool bucket_is_of(const struct login_bucket *bucket, const struct login_source *source) {
    return bucket->in_use && login_source_equal(&bucket->source, source);
}

/* Whether `a` is replaced rather than `b`. */
static bool bucket_goes_before(const struct login_bucket *a, const struct login_bucket *b,
                               uint64_t now_ms) {
    if (a->in_use != b->in_use) {
        return b->in_use;
    }
    bool a_trusted = now_ms < a->trusted_until_ms;
    bool b_trusted = now_ms < b->trusted_until_ms;
    if (a_trusted != b_trusted) {
        return b_trusted;
    }
    return a->updated_ms < b->updated_ms;
}

/* The bucket of the address, with the tokens that have come back until now; a full bucket if the
 * address is new. */
static struct login_bucket *login_limit_find(struct login_limit *limit,
                                             const struct login_source *source, uint64_t now_ms) {
    char key[1 + sizeof source->bytes] = {(char)source->kind};
    memcpy(key + 1, source->bytes, sizeof source->bytes);
    struct login_bucket *set =
        limit->buckets[hash_key(limit->seed, bytes_from(key, sizeof key)) % SETS];
    struct login_bucket *bucket = &set[0];
    for (unsigned i = 0; i < WAYS; i++) {
        if (bucket_is_of(&set[i], source)) {
            bucket = &set[i];
            break;
        }
        if (bucket_goes_before(&set[i], bucket, now_ms)) {
            bucket = &set[i];
        }
    }
    if (!bucket_is_of(bucket, source)) {
        *bucket = (struct login_bucket){.in_use = true, .source = *source};
    }
    uint64_t passed_ms = now_ms > bucket->updated_ms ? now_ms - bucket->updated_ms : 0;
    bucket->debt_ms = bucket->debt_ms > passed_ms ? bucket->debt_ms - passed_ms : 0;
    bucket->updated_ms = now_ms;
    return bucket;
}

static bool bucket_has_token(const struct login_bucket *bucket) {
    return bucket->debt_ms <= (LOGIN_LIMIT_BURST - 1) * (uint64_t)LOGIN_LIMIT_TOKEN_MS;
}

bool login_limit_take(struct login_limit *limit, const struct login_source *source,
                      uint64_t now_ms) {
    struct login_bucket *bucket = login_limit_find(limit, source, now_ms);
    if (!bucket_has_token(bucket)) {
        return false;
    }
    bucket->debt_ms += LOGIN_LIMIT_TOKEN_MS;
    return true;
}

bool login_limit_allows(struct login_limit *limit, const struct login_source *source,
                        uint64_t now_ms) {
    const struct login_bucket *bucket = login_limit_find(limit, source, now_ms);
    return bucket_has_token(bucket) || now_ms < bucket->trusted_until_ms;
}

bool login_limit_trusts(struct login_limit *limit, const struct login_source *source,
                        uint64_t now_ms) {
    return now_ms < login_limit_find(limit, source, now_ms)->trusted_until_ms;
}

void login_limit_trust(struct login_limit *limit, const struct login_source *source,
                       uint64_t now_ms, bool give_back) {
    struct login_bucket *bucket = login_limit_find(limit, source, now_ms);
    bucket->trusted_until_ms = now_ms + LOGIN_LIMIT_TRUST_MS;
    if (give_back) {
        uint64_t debt_ms = bucket->debt_ms;
        bucket->debt_ms = debt_ms > LOGIN_LIMIT_TOKEN_MS ? debt_ms - LOGIN_LIMIT_TOKEN_MS : 0;
    }
}

uint64_t login_limit_count(struct login_limit *limit, const struct login_source *source,
                           uint64_t now_ms, bool may_log) {
    struct login_bucket *bucket = login_limit_find(limit, source, now_ms);
    bucket->refused++;
    if (!may_log || (bucket->logged_ms != 0 && now_ms - bucket->logged_ms < LOGIN_LIMIT_LOG_MS)) {
        return 0;
    }
    uint64_t refused = bucket->refused;
    bucket->refused = 0;
    bucket->logged_ms = now_ms;
    return refused;
}
