/* The replies when the pool cannot carry out a request: a fake pool refuses every change with the
 * status that the test names. Also: which old items are deleted after a failed store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/binary.h"
#include "proto/proto.h"
#include "store/replication.h"
#include "store/scan.h"

#include <stdio.h>
#include <stdlib.h>

#define READ_ONLY "SERVER_ERROR pool is read-only\r\n"
#define NO_MEMORY "SERVER_ERROR out of memory storing object\r\n"
#define TEN "vvvvvvvvvv"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
#define FIVE_THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND
#define TOO_LARGE "SERVER_ERROR object too large for cache\r\n"

/* The functions of pool.h that proto/ uses, in place of the pool. */
struct pool {
    struct pool_options options;
    enum status status;
    int deletes;
    uint64_t counters[POOL_COUNTERS];
};

const struct pool_options *pool_get_options(const struct pool *pool) {
    return &pool->options;
}

const struct pool_replication *pool_get_replication(const struct pool *pool) {
    (void)pool;
    return NULL;
}

void pool_prefetch(struct pool *pool, const struct bytes *keys, unsigned count) {
    (void)pool;
    (void)keys;
    (void)count;
}

enum status pool_get(struct pool *pool, struct store_thread *thread, struct bytes key,
                     struct item *item) {
    (void)pool, (void)thread;
    *item = (struct item){.key = key, .value = bytes_from("v", 1), .cas = 1};
    return STATUS_OK;
}

enum status pool_fetch(struct pool *pool, struct store_thread *thread, struct bytes key,
                       const struct pool_fetch *request, struct pool_fetched *result) {
    *result = (struct pool_fetched){0};
    bool changes = request->touch || request->create || request->recache;
    return changes ? pool->status : pool_get(pool, thread, key, &result->item);
}

enum status pool_store(struct pool *pool, struct store_thread *thread, struct bytes key,
                       const struct pool_store *request, struct item *result) {
    (void)thread, (void)key, (void)request;
    if (result != NULL) {
        *result = (struct item){0};
    }
    return pool->status;
}

enum status pool_arithmetic(struct pool *pool, struct store_thread *thread, struct bytes key,
                            const struct pool_arithmetic *request, uint64_t *number,
                            struct pool_fetched *result) {
    (void)thread, (void)key, (void)request;
    *number = 7;
    if (result != NULL) {
        *result = (struct pool_fetched){0};
    }
    return pool->status;
}

enum status pool_delete(struct pool *pool, struct store_thread *thread, struct bytes key,
                        const struct pool_delete *request) {
    (void)thread, (void)key, (void)request;
    pool->deletes++;
    return pool->status;
}

enum status pool_flush(struct pool *pool, struct store_thread *thread, uint32_t when_s) {
    (void)thread, (void)when_s;
    return pool->status;
}

/* The hold's number is its lease in milliseconds. */
enum status pool_open_mappings(struct pool *pool, int files[POOL_MAPPINGS]) {
    (void)pool, (void)files;
    return STATUS_IO;
}

uint64_t pool_get_index_id(const struct pool *pool) {
    (void)pool;
    return 0;
}

enum status pool_hold(struct pool *pool, uint64_t asker, uint32_t lease_ms, uint64_t *sequence) {
    (void)asker;
    *sequence = lease_ms;
    return pool->status;
}

void pool_end_hold_asker(struct pool *pool, uint64_t asker) {
    (void)pool, (void)asker;
}

enum status pool_extend_hold(struct pool *pool, uint64_t sequence, uint32_t lease_ms) {
    (void)lease_ms;
    return sequence == 77 ? pool->status : STATUS_END;
}

void pool_count(struct pool *pool, struct store_thread *thread, enum pool_counter counter) {
    (void)thread;
    pool->counters[counter]++;
}

void pool_get_stats(struct pool *pool, struct pool_stats *stats) {
    *stats = (struct pool_stats){.read_only = pool->status == STATUS_READ_ONLY};
}

enum status pool_set_memory_limit(struct pool *pool, uint64_t bytes) {
    (void)bytes;
    return pool->status;
}

uint64_t pool_get_memory_limit(const struct pool *pool) {
    (void)pool;
    return 0;
}

void pool_get_expiry(const struct pool *pool, uint32_t now_s, struct pool_expiry *expiry) {
    (void)pool;
    (void)now_s;
    *expiry = (struct pool_expiry){0};
}

void pool_get_class_stats(struct pool *pool, struct pool_class_stats stats[POOL_TTL_CLASSES]) {
    (void)pool;
    memset(stats, 0, POOL_TTL_CLASSES * sizeof *stats);
}

enum status pool_scan(struct pool *pool, struct store_thread *thread, uint64_t *next_bucket,
                      pool_scan_visitor *visit, void *context) {
    (void)thread, (void)next_bucket, (void)visit, (void)context;
    return pool->status;
}

unsigned pool_get_item_class(const struct pool *pool, const struct item *item) {
    (void)pool, (void)item;
    return 0;
}

void pool_set_eviction_notify(struct pool *pool, pool_eviction_notify *notify, void *context) {
    (void)pool, (void)notify, (void)context;
}

enum status pool_peek(struct pool *pool, struct store_thread *thread, struct bytes key,
                      struct pool_scanned *scanned) {
    (void)thread;
    *scanned = (struct pool_scanned){.item = {.key = key}};
    return pool->status;
}

void pool_reset_counters(struct pool *pool) {
    (void)pool;
}

static struct pool make_pool(enum status status, bool evict) {
    return (struct pool){
        .options = {.name = "fake", .item_max_bytes = 1000, .evict = evict},
        .status = status,
    };
}

static void expect(struct pool *pool, const char *request, const char *expected) {
    struct proto_server server = {0};
    struct proto_service service;
    assert_true(proto_service_init(&service, pool, &server));
    struct proto_connection connection;
    struct store_thread thread = {.now_s = 4000000000};
    struct buffer replies = {0};
    size_t consumed;
    size_t wanted;
    proto_connection_init(&connection, &service);
    enum proto_next next = proto_process(&connection, &thread, bytes_from_string(request),
                                         &consumed, &wanted, &replies);
    assert_int_equal(next, PROTO_READ);
    assert_int_equal(consumed, strlen(request));
    if (replies.size != strlen(expected) || memcmp(replies.data, expected, replies.size) != 0) {
        fail_msg("%s\nexpected %s\nsaid %.*s", request, expected, (int)replies.size, replies.data);
    }
    buffer_finish(&replies);
    proto_connection_finish(&connection);
    proto_service_finish(&service);
}

/* Two calls on one connection. The pool has no room at the first call, and has room at the second.
 * The first call answers and counts only the requests before the request that waits. */
static void expect_parked(struct bytes request, size_t answered_bytes, struct bytes expected) {
    struct pool pool = make_pool(STATUS_NEEDS_ROOM, true);
    struct proto_server server = {0};
    struct proto_service service;
    assert_true(proto_service_init(&service, &pool, &server));
    struct proto_connection connection;
    struct store_thread thread = {.now_s = 4000000000};
    struct buffer replies = {0};
    size_t consumed;
    size_t wanted;
    proto_connection_init(&connection, &service);
    for (unsigned i = 0; i < 3; i++) { /* the pool may have no room at the next try either */
        replies.size = 0;
        assert_int_equal(proto_process(&connection, &thread, request, &consumed, &wanted, &replies),
                         PROTO_NEEDS_ROOM);
        assert_int_equal(consumed, i == 0 ? answered_bytes : 0);
        assert_int_equal(replies.size > 0, i == 0 && answered_bytes > 0);
        request = bytes_from(request.data + consumed, request.size - consumed);
    }
    for (unsigned counter = 0; counter < POOL_COUNTERS; counter++) {
        bool is_mn = counter == POOL_CMD_META && answered_bytes > 0;
        assert_int_equal(pool.counters[counter], is_mn ? 1 : 0);
    }
    pool.status = STATUS_OK;
    replies.size = 0;
    assert_int_equal(proto_process(&connection, &thread, request, &consumed, &wanted, &replies),
                     PROTO_READ);
    assert_int_equal(consumed, request.size);
    if (replies.size != expected.size ||
        (expected.size > 0 && memcmp(replies.data, expected.data, expected.size) != 0)) {
        fail_msg("%.*s\nexpected %.*s\nsaid %.*s", (int)request.size, request.data,
                 (int)expected.size, expected.data, (int)replies.size, replies.data);
    }
    buffer_finish(&replies);
    proto_connection_finish(&connection);
    proto_service_finish(&service);
}

static void a_text_request_that_needs_room_is_run_again_and_answered_once(void **state) {
    (void)state;
    static const struct {
        const char *request;
        const char *expected;
    } cases[] = {
        {"set k 0 0 1\r\nv\r\nmn\r\n", "STORED\r\nMN\r\n"},
        {"set k 0 0 1 noreply\r\nv\r\nmn\r\n", "MN\r\n"},
        {"add k 0 0 1\r\nv\r\nmn\r\n", "STORED\r\nMN\r\n"},
        {"replace k 0 0 1\r\nv\r\nmn\r\n", "STORED\r\nMN\r\n"},
        {"append k 0 0 1\r\nv\r\nmn\r\n", "STORED\r\nMN\r\n"},
        {"prepend k 0 0 1\r\nv\r\nmn\r\n", "STORED\r\nMN\r\n"},
        {"cas k 0 0 1 5\r\nv\r\nmn\r\n", "STORED\r\nMN\r\n"},
        {"incr k 1\r\nmn\r\n", "7\r\nMN\r\n"},
        {"decr k 1 noreply\r\nmn\r\n", "MN\r\n"},
        {"touch k 9\r\nmn\r\n", "TOUCHED\r\nMN\r\n"},
        {"delete k\r\nmn\r\n", "DELETED\r\nMN\r\n"},
        {"flush_all\r\nmn\r\n", "OK\r\nMN\r\n"},
        {"flush_all 0 noreply\r\nmn\r\n", "MN\r\n"},
        {"ms k 1\r\nv\r\nmn\r\n", "HD\r\nMN\r\n"},
        {"ms k 1 q O1\r\nv\r\nmn\r\n", "MN\r\n"},
        {"ms aw== 1 b I C5\r\nv\r\nmn\r\n", "HD\r\nMN\r\n"},
        {"ms k 1 MA N9\r\nv\r\nmn\r\n", "HD\r\nMN\r\n"},
        {"mg k T9\r\nmn\r\n", "HD\r\nMN\r\n"},
        {"md k\r\nmn\r\n", "HD\r\nMN\r\n"},
        {"md k I T9\r\nmn\r\n", "HD\r\nMN\r\n"},
        {"ma k N9 J3 v\r\nmn\r\n", "VA 1\r\n7\r\nMN\r\n"},
        /* A value that is too large makes the server delete the old item, and that needs room as
         * well. */
        {"set k 0 0 5000\r\n" FIVE_THOUSAND "\r\nmn\r\n", TOO_LARGE "MN\r\n"},
        {"ms k 5000\r\n" FIVE_THOUSAND "\r\nmn\r\n", TOO_LARGE "MN\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char request[6000];
        expect_parked(bytes_from_string(cases[i].request), 0, bytes_from_string(cases[i].expected));
        /* The requests before it are answered at once. */
        snprintf(request, sizeof request, "mn\r\n%s", cases[i].request);
        expect_parked(bytes_from_string(request), 4, bytes_from_string(cases[i].expected));
    }
}

/* A binary request with the key "k", zeros as extras, and "v" as its value if it has one. */
static size_t put_packet(char *at, uint8_t opcode, size_t extras, size_t key, size_t value) {
    memset(at, 0, 24 + extras);
    at[0] = (char)0x80;
    at[1] = (char)opcode;
    at[3] = (char)key;
    at[4] = (char)extras;
    at[11] = (char)(extras + key + value);
    memcpy(at + 24 + extras, "kv", key);
    memset(at + 24 + extras + key, 'v', value);
    return 24 + extras + key + value;
}

static void a_binary_request_that_needs_room_is_run_again_and_answered_once(void **state) {
    (void)state;
    enum { NOOP = 0x0a };
    static const struct {
        uint8_t opcode;
        uint8_t extras;
        uint8_t value;
        bool quiet;
    } cases[] = {
        {0x01, 8, 1, false}, {0x11, 8, 1, true}, /* set */
        {0x02, 8, 1, false}, {0x12, 8, 1, true}, /* add */
        {0x03, 8, 1, false}, {0x13, 8, 1, true}, /* replace */
        {0x0e, 0, 1, false}, {0x19, 0, 1, true}, /* append */
        {0x0f, 0, 1, false}, {0x1a, 0, 1, true}, /* prepend */
        {0x04, 0, 0, false}, {0x14, 0, 0, true}, /* delete */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char request[100];
        char expected[48];
        size_t size = put_packet(request, cases[i].opcode, cases[i].extras, 1, cases[i].value);
        size += put_packet(request + size, NOOP, 0, 0, 0);
        size_t reply = 0;
        memset(expected, 0, sizeof expected);
        if (!cases[i].quiet) {
            expected[0] = (char)0x81;
            expected[1] = (char)cases[i].opcode;
            reply = 24;
        }
        expected[reply] = (char)0x81;
        expected[reply + 1] = NOOP;
        expect_parked(bytes_from(request, size), 0, bytes_from(expected, reply + 24));
    }
}

struct exchange {
    const char *request;
    const char *reply;
};

static void a_read_only_pool_says_so_to_every_change_and_still_answers_reads(void **state) {
    (void)state;
    static const struct exchange exchanges[] = {
        {"set k 0 0 1\r\nv\r\n", READ_ONLY},
        {"add k 0 0 1\r\nv\r\n", READ_ONLY},
        {"replace k 0 0 1\r\nv\r\n", READ_ONLY},
        {"append k 0 0 1\r\nv\r\n", READ_ONLY},
        {"prepend k 0 0 1\r\nv\r\n", READ_ONLY},
        {"cas k 0 0 1 1\r\nv\r\n", READ_ONLY},
        {"set k 0 0 1 noreply\r\nv\r\n", ""},
        {"incr k 1\r\n", READ_ONLY},
        {"decr k 1\r\n", READ_ONLY},
        {"touch k 1\r\n", READ_ONLY},
        {"gat 1 k k\r\nmn\r\n", READ_ONLY "MN\r\n"},
        {"delete k\r\n", READ_ONLY},
        {"flush_all\r\n", READ_ONLY},
        {"ms k 1 q\r\nv\r\n", READ_ONLY},
        {"ms k 1 MA\r\nv\r\n", READ_ONLY},
        {"mg k T1\r\n", READ_ONLY},
        {"mg k N1 q\r\n", READ_ONLY},
        {"mg k R1\r\n", READ_ONLY},
        {"md k q\r\n", READ_ONLY},
        {"md k I\r\n", READ_ONLY},
        {"ma k q\r\n", READ_ONLY},
        {"get k\r\n", "VALUE k 0 1\r\nv\r\nEND\r\n"},
        {"mg k v\r\n", "VA 1\r\nv\r\n"},
    };
    for (size_t i = 0; i < sizeof exchanges / sizeof exchanges[0]; i++) {
        struct pool pool = make_pool(STATUS_READ_ONLY, true);
        expect(&pool, exchanges[i].request, exchanges[i].reply);
        bool deletes = exchanges[i].request[0] == 'd' || exchanges[i].request[1] == 'd';
        assert_true(pool.deletes == 0 || deletes);
    }
}

static void a_full_pool_says_so(void **state) {
    (void)state;
    static const struct exchange exchanges[] = {
        {"set k 0 0 1\r\nv\r\n", NO_MEMORY},
        {"append k 0 0 1\r\nv\r\n", NO_MEMORY},
        {"cas k 0 0 1 1\r\nv\r\n", NO_MEMORY},
        {"ms k 1 q\r\nv\r\n", NO_MEMORY},
        {"mg k N1\r\n", NO_MEMORY},
        {"gat 1 k\r\n", NO_MEMORY},
        {"touch k 1\r\n", NO_MEMORY},
        {"delete k\r\n", NO_MEMORY},
        {"incr k 1\r\n", "SERVER_ERROR out of memory\r\n"},
        {"ma k\r\n", "SERVER_ERROR out of memory\r\n"},
    };
    for (size_t i = 0; i < sizeof exchanges / sizeof exchanges[0]; i++) {
        struct pool pool = make_pool(STATUS_NO_MEMORY, false);
        expect(&pool, exchanges[i].request, exchanges[i].reply);
    }
}

static void a_sum_that_is_too_large_is_not_stored(void **state) {
    (void)state;
    static const struct exchange exchanges[] = {
        {"append k 0 0 1\r\nv\r\n", "NOT_STORED\r\n"},
        {"prepend k 0 0 1\r\nv\r\n", "NOT_STORED\r\n"},
        {"ms k 1 MA k\r\nv\r\n", "NS kk\r\n"},
        {"set k 0 0 1\r\nv\r\n", TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof exchanges / sizeof exchanges[0]; i++) {
        struct pool pool = make_pool(STATUS_TOO_LARGE, false);
        expect(&pool, exchanges[i].request, exchanges[i].reply);
        assert_int_equal(pool.deletes, 0);
    }
}

static void an_append_to_nothing_is_not_stored_whatever_cas_it_names(void **state) {
    (void)state;
    struct pool pool = make_pool(STATUS_NOT_FOUND, false);
    expect(&pool, "ms k 1 MA C5\r\nv\r\n", "NS\r\n");
    expect(&pool, "ms k 1 C5\r\nv\r\n", "NF\r\n");
}

/* What happens to old items: memcached deletes the item that a failed set should have replaced. A
 * pool with evict = no keeps it, because a session must not end when its update does not fit. */
static void a_failed_set_drops_the_old_item_only_where_items_may_be_forgotten(void **state) {
    (void)state;
    static const struct {
        const char *request;
        enum status status;
        const char *reply;
        int deletes; /* with evict = yes */
    } cases[] = {
        {"set k 0 0 1\r\nv\r\n", STATUS_NO_MEMORY, NO_MEMORY, 1},
        {"add k 0 0 1\r\nv\r\n", STATUS_NO_MEMORY, NO_MEMORY, 0},
        {"append k 0 0 1\r\nv\r\n", STATUS_NO_MEMORY, NO_MEMORY, 0},
        {"ms k 1\r\nv\r\n", STATUS_NO_MEMORY, NO_MEMORY, 1},
        {"ms k 1 ME\r\nv\r\n", STATUS_NO_MEMORY, NO_MEMORY, 1},
        {"ms k 1 MA\r\nv\r\n", STATUS_TOO_LARGE, "NS\r\n", 0},
        {"set k 0 0 1\r\nv\r\n", STATUS_READ_ONLY, READ_ONLY, 0},
        {"set k 0 0 5000\r\n" FIVE_THOUSAND "\r\n", STATUS_OK, TOO_LARGE, 1},
        {"add k 0 0 5000\r\n" FIVE_THOUSAND "\r\n", STATUS_OK, TOO_LARGE, 0},
        {"cas k 0 0 5000 1\r\n" FIVE_THOUSAND "\r\n", STATUS_OK, TOO_LARGE, 0},
        {"append k 0 0 5000\r\n" FIVE_THOUSAND "\r\n", STATUS_OK, TOO_LARGE, 0},
        {"ms k 5000\r\n" FIVE_THOUSAND "\r\n", STATUS_OK, TOO_LARGE, 1},
        {"ms k 5000 ME\r\n" FIVE_THOUSAND "\r\n", STATUS_OK, TOO_LARGE, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pool forgetful = make_pool(cases[i].status, true);
        expect(&forgetful, cases[i].request, cases[i].reply);
        assert_int_equal(forgetful.deletes, cases[i].deletes);
        struct pool faithful = make_pool(cases[i].status, false);
        expect(&faithful, cases[i].request, cases[i].reply);
        assert_int_equal(faithful.deletes, 0);
        bool refused_by_length = strstr(cases[i].request, " 5000") != NULL;
        assert_int_equal(faithful.counters[POOL_STORE_TOO_LARGE], refused_by_length);
    }
}

/* Sends a request with the key "k" and, if it has a value, "v". Expects this error and its text. */
static void expect_status(struct pool *pool, uint8_t opcode, size_t extras, bool with_value,
                          unsigned status, const char *words) {
    char request[64] = {(char)BINARY_REQUEST_MAGIC, (char)opcode, 0, 1, (char)extras};
    request[11] = (char)(extras + 1 + with_value);
    request[BINARY_HEADER_BYTES + extras] = 'k';
    request[BINARY_HEADER_BYTES + extras + 1] = 'v';
    struct proto_server server = {0};
    struct proto_service service;
    assert_true(proto_service_init(&service, pool, &server));
    struct proto_connection connection;
    struct store_thread thread = {.now_s = 4000000000};
    struct buffer replies = {0};
    size_t consumed;
    size_t wanted;
    proto_connection_init(&connection, &service);
    size_t size = BINARY_HEADER_BYTES + extras + 1 + with_value;
    enum proto_next next = proto_process(&connection, &thread, bytes_from(request, size), &consumed,
                                         &wanted, &replies);
    assert_int_equal(next, PROTO_READ);
    assert_int_equal(consumed, size);
    assert_int_equal(replies.size, BINARY_HEADER_BYTES + strlen(words));
    assert_int_equal((uint8_t)replies.data[1], opcode);
    assert_int_equal(binary_read_u16(replies.data + 6), status);
    assert_memory_equal(replies.data + BINARY_HEADER_BYTES, words, strlen(words));
    buffer_finish(&replies);
    proto_connection_finish(&connection);
    proto_service_finish(&service);
}

static void the_binary_protocol_says_so_too(void **state) {
    (void)state;
    static const struct {
        uint8_t opcode;
        uint8_t extras;
        bool value;
        int deletes; /* with evict = yes: its own, and that of the old item of a failed set */
    } changes[] = {
        {BINARY_SET, 8, true, 1},         {BINARY_SETQ, 8, true, 1},
        {BINARY_ADD, 8, true, 0},         {BINARY_REPLACE, 8, true, 0},
        {BINARY_APPEND, 0, true, 0},      {BINARY_PREPENDQ, 0, true, 0},
        {BINARY_INCREMENT, 20, false, 0}, {BINARY_DECREMENTQ, 20, false, 0},
        {BINARY_TOUCH, 4, false, 0},      {BINARY_GATKQ, 4, false, 0},
        {BINARY_DELETEQ, 0, false, 1},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        uint8_t opcode = changes[i].opcode;
        bool is_delete = opcode == BINARY_DELETEQ;
        struct pool read_only = make_pool(STATUS_READ_ONLY, true);
        expect_status(&read_only, opcode, changes[i].extras, changes[i].value, 0x84,
                      "Pool is read-only");
        assert_int_equal(read_only.deletes, is_delete);
        struct pool forgetful = make_pool(STATUS_NO_MEMORY, true);
        expect_status(&forgetful, opcode, changes[i].extras, changes[i].value, 0x82,
                      "Out of memory");
        assert_int_equal(forgetful.deletes, changes[i].deletes);
        struct pool faithful = make_pool(STATUS_NO_MEMORY, false);
        expect_status(&faithful, opcode, changes[i].extras, changes[i].value, 0x82,
                      "Out of memory");
        assert_int_equal(faithful.deletes, is_delete);
    }
}

static void item_max_counts_key_and_value(void **state) {
    (void)state;
    struct pool pool = make_pool(STATUS_OK, false);
    char fits[1100];
    snprintf(fits, sizeof fits, "set key 0 0 997\r\n%0997d\r\n", 0);
    expect(&pool, fits, "STORED\r\n");
    snprintf(fits, sizeof fits, "set key 0 0 998\r\n%0998d\r\n", 0);
    expect(&pool, fits, TOO_LARGE);
}

static void a_hold_is_begun_extended_and_ended(void **state) {
    (void)state;
    struct pool pool = make_pool(STATUS_OK, false);
    expect(&pool, "hold 30\r\n", "HOLD 30000\r\n");
    expect(&pool, "hold 1\r\nmn\r\n", "HOLD 1000\r\nMN\r\n");
    expect(&pool, "hold 10 77\r\n", "HOLD 77\r\n");
    expect(&pool, "hold 10 78\r\n", "NOT_FOUND\r\n");
    expect(&pool, "hold 0 77\r\n", "OK\r\n");
    expect(&pool, "hold 0 78\r\n", "NOT_FOUND\r\n");
    struct pool busy = make_pool(STATUS_BUSY, false);
    expect(&busy, "hold 10\r\n", "BUSY\r\n");
    struct pool volatile_pool = make_pool(STATUS_INVALID, false);
    expect(&volatile_pool, "hold 10\r\n", "CLIENT_ERROR the pool has no file to copy\r\n");
}

static void a_hold_of_no_length_or_of_too_great_length_is_refused(void **state) {
    (void)state;
    struct pool pool = make_pool(STATUS_OK, false);
    static const char *const wrong[] = {
        "hold\r\n",       "hold 0\r\n", "hold 31\r\n",   "hold -1\r\n",
        "hold 31 77\r\n", "hold x\r\n", "hold 10 x\r\n", "hold 10 77 1\r\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        expect(&pool, wrong[i], "CLIENT_ERROR bad command line format\r\n");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_only_pool_says_so_to_every_change_and_still_answers_reads),
        cmocka_unit_test(a_full_pool_says_so),
        cmocka_unit_test(a_sum_that_is_too_large_is_not_stored),
        cmocka_unit_test(an_append_to_nothing_is_not_stored_whatever_cas_it_names),
        cmocka_unit_test(a_failed_set_drops_the_old_item_only_where_items_may_be_forgotten),
        cmocka_unit_test(the_binary_protocol_says_so_too),
        cmocka_unit_test(a_text_request_that_needs_room_is_run_again_and_answered_once),
        cmocka_unit_test(a_binary_request_that_needs_room_is_run_again_and_answered_once),
        cmocka_unit_test(item_max_counts_key_and_value),
        cmocka_unit_test(a_hold_is_begun_extended_and_ended),
        cmocka_unit_test(a_hold_of_no_length_or_of_too_great_length_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
