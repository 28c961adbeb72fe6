#include "party.h"

#include "base/log.h"
#include "check.h"
#include "replies.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PARTY_MEMORY_BYTES = 8 << 20,
    /* one item, and what else is written without a look at the size: the statistics */
    PARTY_REPLIES_MAX = PROTO_REPLY_BATCH + PARTY_ITEM_MAX + (64 << 10),
    PARTY_WANTED_MAX = PARTY_ITEM_MAX + 4096
};

static void party_begin(struct parties *parties, struct party *party, bool evict) {
    struct pool_options options = {
        .name = "fuzz",
        .memory_bytes = PARTY_MEMORY_BYTES,
        .item_max_bytes = PARTY_ITEM_MAX,
        .evict = evict,
    };
    char error[POOL_ERROR_MAX];
    party->pool = pool_open(&options, parties->grace, error);
    if (party->pool == NULL) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
    check(proto_service_init(&party->service, party->pool, &parties->server), "memory");
}

void parties_begin(struct parties *parties, bool evict) {
    *parties = (struct parties){
        .server = {.started_s = PARTY_NOW_S - 5,
                   .threads = 2,
                   .limits = {.connections = {.limit = 100, .common = 100},
                              .requests_per_turn = 20,
                              .memory = {.bytes = {.limit = PARTY_MEMORY_BYTES,
                                                   .common = PARTY_MEMORY_BYTES}}}},
        .grace = grace_create(1),
    };
    check(parties->grace != NULL, "memory for the parties");
    store_thread_init(&parties->thread, parties->grace, 0);
    party_begin(parties, &parties->one, evict);
    party_begin(parties, &parties->other, evict);
}

/* The CAS that the pool gives an item now. */
static uint64_t party_next_cas(struct parties *parties, struct party *party) {
    struct item item;
    enum status status = pool_store(party->pool, &parties->thread, bytes_from_string("number"),
                                    &(struct pool_store){.mode = POOL_SET}, &item);
    check(status == STATUS_OK, "a flushed pool has room");
    return item.cas;
}

/* A write that had to wait for memory may have taken a number more in one of the pools. */
static void parties_align(struct parties *parties) {
    parties_go_online(parties, &parties->one);
    uint64_t one = party_next_cas(parties, &parties->one);
    uint64_t other = party_next_cas(parties, &parties->other);
    while (one != other) {
        if (one < other) {
            one = party_next_cas(parties, &parties->one);
        } else {
            other = party_next_cas(parties, &parties->other);
        }
    }
    pool_delete(parties->one.pool, &parties->thread, bytes_from_string("number"), NULL);
    pool_delete(parties->other.pool, &parties->thread, bytes_from_string("number"), NULL);
    parties_go_offline(parties);
}

static void party_restart(struct parties *parties, struct party *party) {
    parties_go_online(parties, party);
    enum status status = pool_flush(party->pool, &parties->thread, PARTY_NOW_S);
    check(status == STATUS_OK, "a pool can be flushed");
    parties_go_offline(parties);
    if (party->connection.service != NULL) {
        proto_connection_finish(&party->connection);
    }
    proto_service_finish(&party->service);
    check(proto_service_init(&party->service, party->pool, &parties->server), "memory");
    proto_connection_init(&party->connection, &party->service);
    party->input.size = 0;
    party->wanted = 0;
    party->replies.size = 0;
    party->closed = false;
}

void parties_restart(struct parties *parties) {
    log_set_level(LOG_LEVEL_ERROR); /* `verbosity` may have changed it */
    parties->now_s = PARTY_NOW_S;
    party_restart(parties, &parties->one);
    party_restart(parties, &parties->other);
    parties_align(parties);
}

void parties_go_online(struct parties *parties, struct party *party) {
    store_thread_refresh(&parties->thread);
    parties->thread.now_s = parties->now_s;
    pool_tick(party->pool, &parties->thread);
}

void parties_go_offline(struct parties *parties) {
    store_thread_leave(&parties->thread);
}

/* One call, on a copy of the input that has no byte more: to read beyond it is a fault. */
static enum proto_next party_process(struct parties *parties, struct party *party) {
    struct buffer said = {0};
    size_t consumed = SIZE_MAX;
    size_t wanted = SIZE_MAX;
    size_t size = party->input.size;
    char *input = malloc(size > 0 ? size : 1);
    check(input != NULL, "memory for a copy of the input");
    memcpy(input, party->input.data, size);
    enum proto_next next = proto_process(&party->connection, &parties->thread,
                                         bytes_from(input, size), &consumed, &wanted, &said);
    free(input);
    check(consumed <= size, "no more is consumed than is there");
    check(said.size <= PARTY_REPLIES_MAX, "the replies of one call are bounded");
    buffer_consume(&party->input, consumed);
    if (next == PROTO_READ) {
        check(wanted > party->input.size, "more is wanted than is there");
        check(wanted <= PARTY_WANTED_MAX, "what is wanted is bounded");
        party->wanted = wanted;
    }
    if (next == PROTO_FLUSH) {
        check(consumed > 0 || said.size > 0 || party->connection.turn_left == 0,
              "a flush has something to send, or the turn is over");
        party->connection.turn_left = UINT32_MAX;
    }
    check(buffer_append(&party->replies, said.data, said.size), "memory for the replies");
    buffer_finish(&said);
    return next;
}

void party_hear(struct parties *parties, struct party *party, struct bytes request) {
    if (party->closed) {
        return;
    }
    check(buffer_append(&party->input, request.data, request.size), "memory for the input");
    if (party->input.size == 0 || party->input.size < party->wanted) {
        return; /* it has said that it cannot get on with this */
    }
    parties_go_online(parties, party);
    enum proto_next next;
    do {
        next = party_process(parties, party);
    } while (next == PROTO_FLUSH);
    party->closed = next == PROTO_CLOSE || next == PROTO_QUIT || next == PROTO_ABORT;
    parties_go_offline(parties);
}

bool party_is_idle(const struct party *party) {
    const struct proto_progress *progress = &party->connection.progress;
    return party->input.size == 0 && progress->skip_bytes == 0 &&
           progress->phase == PROTO_PHASE_LINE;
}

static struct bytes buffer_bytes(const struct buffer *buffer) {
    return bytes_from(buffer->data, buffer->size);
}

void parties_compare(struct parties *parties) {
    struct buffer one = {0};
    struct buffer other = {0};
    replies_check(buffer_bytes(&parties->one.replies), &one);
    replies_check(buffer_bytes(&parties->other.replies), &other);
    check_equal(buffer_bytes(&one), buffer_bytes(&other), "both were told the same");
    buffer_finish(&one);
    buffer_finish(&other);
}
