#include "twin.h"

#include "base/log.h"
#include "check.h"
#include "replies.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TWIN_MEMORY_BYTES = 8 << 20,
    /* one item, and statistics, which are written without a check of the size */
    TWIN_REPLIES_MAX = PROTO_REPLY_BATCH + TWIN_ITEM_MAX + (64 << 10),
    TWIN_WANTED_MAX = TWIN_ITEM_MAX + 4096
};

static void twin_begin(struct twins *twins, struct twin *twin, bool evict) {
    struct pool_options options = {
        .name = "fuzz",
        .memory_bytes = TWIN_MEMORY_BYTES,
        .item_max_bytes = TWIN_ITEM_MAX,
        .evict = evict,
    };
    char error[POOL_ERROR_MAX];
    twin->pool = pool_open(&options, twins->grace, error);
    if (twin->pool == NULL) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
    check(proto_service_init(&twin->service, twin->pool, &twins->server), "memory");
}

void twins_begin(struct twins *twins, bool evict) {
    *twins = (struct twins){
        .server = {.started_s = TWIN_NOW_S - 5,
                   .threads = 2,
                   .limits = {.connections = {.limit = 100, .common = 100},
                              .requests_per_turn = 20,
                              .memory = {.bytes = {.limit = TWIN_MEMORY_BYTES,
                                                   .common = TWIN_MEMORY_BYTES}}}},
        .grace = grace_create(1),
    };
    check(twins->grace != NULL, "memory for the twins");
    store_thread_init(&twins->thread, twins->grace, 0);
    twin_begin(twins, &twins->one, evict);
    twin_begin(twins, &twins->other, evict);
}

/* The CAS number of an item in the pool now. */
static uint64_t twin_next_cas(struct twins *twins, struct twin *twin) {
    struct item item;
    enum status status = pool_store(twin->pool, &twins->thread, bytes_from_string("number"),
                                    &(struct pool_store){.mode = POOL_SET}, &item);
    check(status == STATUS_OK, "a flushed pool has room");
    return item.cas;
}

/* A write that had to wait for memory may have used one more number in one of the pools. */
static void twins_align(struct twins *twins) {
    twins_go_online(twins, &twins->one);
    uint64_t one = twin_next_cas(twins, &twins->one);
    uint64_t other = twin_next_cas(twins, &twins->other);
    while (one != other) {
        if (one < other) {
            one = twin_next_cas(twins, &twins->one);
        } else {
            other = twin_next_cas(twins, &twins->other);
        }
    }
    pool_delete(twins->one.pool, &twins->thread, bytes_from_string("number"), NULL);
    pool_delete(twins->other.pool, &twins->thread, bytes_from_string("number"), NULL);
    twins_go_offline(twins);
}

static void twin_restart(struct twins *twins, struct twin *twin) {
    twins_go_online(twins, twin);
    enum status status = pool_flush(twin->pool, &twins->thread, TWIN_NOW_S);
    check(status == STATUS_OK, "a pool can be flushed");
    twins_go_offline(twins);
    if (twin->connection.service != NULL) {
        proto_connection_finish(&twin->connection);
    }
    proto_service_finish(&twin->service);
    check(proto_service_init(&twin->service, twin->pool, &twins->server), "memory");
    proto_connection_init(&twin->connection, &twin->service);
    twin->input.size = 0;
    twin->wanted = 0;
    twin->replies.size = 0;
    twin->closed = false;
}

void twins_restart(struct twins *twins) {
    log_set_level(LOG_LEVEL_ERROR); /* `verbosity` may have changed the level */
    twins->now_s = TWIN_NOW_S;
    twin_restart(twins, &twins->one);
    twin_restart(twins, &twins->other);
    twins_align(twins);
}

void twins_go_online(struct twins *twins, struct twin *twin) {
    store_thread_refresh(&twins->thread);
    twins->thread.now_s = twins->now_s;
    pool_tick(twin->pool, &twins->thread);
}

void twins_go_offline(struct twins *twins) {
    store_thread_leave(&twins->thread);
}

/* One call. The input is a copy without a spare byte, so that the address sanitizer finds a read
 * beyond its end. */
static enum proto_next twin_process(struct twins *twins, struct twin *twin) {
    struct buffer said = {0};
    size_t consumed = SIZE_MAX;
    size_t wanted = SIZE_MAX;
    size_t size = twin->input.size;
    char *input = malloc(size > 0 ? size : 1);
    check(input != NULL, "memory for a copy of the input");
    memcpy(input, twin->input.data, size);
    enum proto_next next = proto_process(&twin->connection, &twins->thread, bytes_from(input, size),
                                         &consumed, &wanted, &said);
    free(input);
    check(consumed <= size, "no more is consumed than is there");
    check(said.size <= TWIN_REPLIES_MAX, "the replies of one call are bounded");
    buffer_consume(&twin->input, consumed);
    if (next == PROTO_READ) {
        check(wanted > twin->input.size, "more is wanted than is there");
        check(wanted <= TWIN_WANTED_MAX, "what is wanted is bounded");
        twin->wanted = wanted;
    }
    if (next == PROTO_FLUSH) {
        check(consumed > 0 || said.size > 0 || twin->connection.turn_left == 0,
              "a flush has something to send, or the turn is over");
        twin->connection.turn_left = UINT32_MAX;
    }
    check(buffer_append(&twin->replies, said.data, said.size), "memory for the replies");
    buffer_finish(&said);
    return next;
}

void twin_send(struct twins *twins, struct twin *twin, struct bytes request) {
    if (twin->closed) {
        return;
    }
    check(buffer_append(&twin->input, request.data, request.size), "memory for the input");
    if (twin->input.size == 0 || twin->input.size < twin->wanted) {
        return; /* the last call asked for more input than this */
    }
    twins_go_online(twins, twin);
    enum proto_next next;
    do {
        next = twin_process(twins, twin);
    } while (next == PROTO_FLUSH);
    twin->closed = next == PROTO_CLOSE || next == PROTO_QUIT || next == PROTO_ABORT;
    twins_go_offline(twins);
}

bool twin_is_idle(const struct twin *twin) {
    const struct proto_progress *progress = &twin->connection.progress;
    return twin->input.size == 0 && progress->skip_bytes == 0 &&
           progress->phase == PROTO_PHASE_LINE;
}

static struct bytes buffer_bytes(const struct buffer *buffer) {
    return bytes_from(buffer->data, buffer->size);
}

void twins_compare(struct twins *twins) {
    struct buffer one = {0};
    struct buffer other = {0};
    replies_check(buffer_bytes(&twins->one.replies), &one);
    replies_check(buffer_bytes(&twins->other.replies), &other);
    check_equal(buffer_bytes(&one), buffer_bytes(&other), "both were told the same");
    buffer_finish(&one);
    buffer_finish(&other);
}
