/* Two connections that receive the same requests, each with a pool of its own, so that their
 * replies can be compared: one receives all bytes at once, the other in pieces. Both pools number
 * their items in the same way, and the clock stands still, so that the replies must be equal byte
 * for byte.
 *
 * Every call also checks the contract of proto_process. */
#ifndef STAYD_TESTS_FUZZ_TWIN_H
#define STAYD_TESTS_FUZZ_TWIN_H

#include "proto/proto.h"

enum { TWIN_ITEM_MAX = 8 << 10, TWIN_INPUT_MAX = 16 << 10 };

/* In 2096, so that the pool's own thread, whose clock runs, does not find an item expired. */
#define TWIN_NOW_S UINT32_C(4000000000)

struct twin {
    struct pool *pool;
    struct proto_service service;
    struct proto_connection connection;
    struct buffer input; /* received bytes that are not consumed yet */
    size_t wanted;       /* bytes of input that the next call needs */
    struct buffer replies;
    bool closed;
};

struct twins {
    struct grace *grace;
    struct store_thread thread; /* used for both pools, one at a time */
    struct proto_server server;
    uint32_t now_s;
    struct twin one;
    struct twin other;
};

/* Two volatile pools. */
void twins_begin(struct twins *twins, bool evict);

/* Removes all items, sets the clock back, and replaces the connections by new ones. */
void twins_restart(struct twins *twins);

/* As a worker does before and after a batch of requests. */
void twins_go_online(struct twins *twins, struct twin *twin);
void twins_go_offline(struct twins *twins);

/* Sends a request and runs it as far as possible. After each flush of the replies, processing
 * continues at once. */
void twin_send(struct twins *twins, struct twin *twin, struct bytes request);

/* Whether no request is incomplete. */
bool twin_is_idle(const struct twin *twin);

/* Checks each reply of both connections, and that they are equal. */
void twins_compare(struct twins *twins);

#endif
