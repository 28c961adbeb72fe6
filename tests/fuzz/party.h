/* One of two parties that are told the same, each with a pool of its own, so that what they say can
 * be compared: one hears it all at once, the other in pieces. Both pools number their items alike,
 * and the clock stands still, so that the same requests have the same replies to the byte.
 *
 * Whatever is said, the contract of proto_process is checked on the way. */
#ifndef STAYD_TESTS_FUZZ_PARTY_H
#define STAYD_TESTS_FUZZ_PARTY_H

#include "proto/proto.h"

enum { PARTY_ITEM_MAX = 8 << 10, PARTY_INPUT_MAX = 16 << 10 };

/* In 2096, so that the pool's own thread, whose clock runs, does not find an item expired. */
#define PARTY_NOW_S UINT32_C(4000000000)

struct party {
    struct pool *pool;
    struct proto_service service;
    struct proto_connection connection;
    struct buffer input; /* what has come and is not consumed */
    size_t wanted;       /* bytes of input that the next call needs */
    struct buffer replies;
    bool closed;
};

struct parties {
    struct grace *grace;
    struct store_thread thread; /* of both: never in two pools at once */
    struct proto_server server;
    uint32_t now_s;
    struct party one;
    struct party other;
};

/* Two volatile pools. */
void parties_begin(struct parties *parties, bool evict);

/* Forgets all items, sets the clock back, and begins new connections. */
void parties_restart(struct parties *parties);

/* As a worker does it before a batch of requests, and after. */
void parties_go_online(struct parties *parties, struct party *party);
void parties_go_offline(struct parties *parties);

/* Sends, and answers as far as that goes: flushes are followed up at once. */
void party_hear(struct parties *parties, struct party *party, struct bytes request);

/* Whether nothing is half said. */
bool party_is_idle(const struct party *party);

/* Checks each reply of both, and that they are the same. */
void parties_compare(struct parties *parties);

#endif
