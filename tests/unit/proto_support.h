/* Requests to a pool through the protocol, without a socket; shared by the tests of proto/. Every
 * call also checks the contract of proto_process. */
#ifndef STAYD_TESTS_PROTO_SUPPORT_H
#define STAYD_TESTS_PROTO_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "brief.h"
#include "proto/proto.h"

#include <stdlib.h>

enum { TALK_ITEM_MAX = 64 << 10 };

/* The clock stands still, so that replies with a time are always the same. It stands in 2096: the
 * pool's own thread has a clock that runs, and must not find an item expired. */
#define TALK_NOW_S UINT32_C(4000000000)

struct talk {
    struct grace *grace;
    struct store_thread thread;
    struct pool *pool;
    struct proto_server server;
    struct proto_service service;
    struct proto_connection connection;
    struct buffer input;   /* received bytes that are not consumed yet */
    size_t wanted;         /* bytes of input that the next call needs */
    struct buffer replies; /* not yet taken */
    size_t replies_peak;   /* the most bytes between two flushes */
    size_t flushes;
    bool closed;
    char login[PROTO_LOGIN_USER_MAX + PROTO_LOGIN_PASSWORD_MAX + 2]; /* the last, user:password */
    unsigned logins;  /* logins that were checked; the right one is "bob:secret word" */
    uint32_t later_s; /* how far the clock is behind TALK_NOW_S */
};

/* A volatile pool of 16 MiB. */
void talk_begin(struct talk *talk, bool evict);
void talk_end(struct talk *talk);

/* Removes all items and begins a new connection. */
void talk_restart(struct talk *talk);

/* Sends a request and runs it as far as possible. After each flush of the replies, processing
 * continues at once. */
void talk_send(struct talk *talk, struct bytes request);

/* Checks that the replies so far are `expected`, byte for byte, and removes them from the
 * buffer. */
void talk_expect(struct talk *talk, struct bytes expected);

/* Sends a request, expects a reply, and checks that no incomplete request is left. */
void talk_ask(struct talk *talk, const char *request, const char *expected);

/* Several requests, each with its reply: TALK_ASK_ALL(talk, exchanges). */
struct talk_exchange {
    const char *request;
    const char *reply;
};

#define TALK_ASK_ALL(talk, exchanges)                                                              \
    talk_ask_all(talk, exchanges, sizeof exchanges / sizeof exchanges[0])
void talk_ask_all(struct talk *talk, const struct talk_exchange *exchanges, size_t count);

/* Makes a request: `head`, then `byte` repeated `count` times, then `tail`. The caller frees the
 * text. */
struct bytes talk_text(const char *head, char byte, size_t count, const char *tail);

/* Setup and teardown of cmocka groups and tests: each test gets a new talk with evict = yes. */
int talk_setup(void **state);
int talk_setup_no_evict(void **state);
int talk_teardown(void **state);

#endif
