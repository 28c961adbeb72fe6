/* memcached's binary protocol. A connection whose first byte is 0x80 uses it until it closes.
 *
 *      0      1       2          4        5          6         8         12      16       24
 *     +------+-------+----------+--------+----------+---------+---------+-------+--------+
 *     | 0x80 | opcode| key size | extras | datatype | vbucket | body    | opaque| CAS    |
 *     |      |       |          | size   |          | (status)| size    |       |        |
 *     +------+-------+----------+--------+----------+---------+---------+-------+--------+
 *     | extras | key | value |                                                  the body
 *
 * Numbers are big-endian. A response has the same layout, begins with 0x81, has a status in place
 * of the vbucket, and repeats opcode and opaque. The datatype and vbucket of a request are ignored.
 * A quiet opcode does not answer a success or, for a get, a miss; it does answer errors.
 *
 * One table in binary.c says what the body of each opcode must contain. binary_run checks that in
 * the header, before it waits for the body. After wrong sizes or a wrong first byte the next
 * request cannot be found safely, so the connection closes, as memcached's does.
 *
 * stayd discards a value after touch, gat or stat, a value of 2 GiB and more, and the body of an
 * unknown opcode; memcached 1.6.18 reads a part of each as the next requests. The opcode verbosity
 * works; memcached does not have it. */
#ifndef STAYD_PROTO_BINARY_H
#define STAYD_PROTO_BINARY_H

#include "proto/binary_numbers.h"
#include "proto/request.h"

#include <endian.h>

struct binary_header {
    uint8_t opcode;
    uint8_t extras_size;
    uint16_t key_size;
    uint32_t body_size;
    uint32_t opaque; /* in the byte order of the request; the response repeats it */
    uint64_t cas;
};

/* A request whose header, extras and key are complete and valid. `request.next` points behind the
 * key: to the value, if there is one, otherwise to the next request. */
struct binary_request {
    struct request *request;
    struct binary_header header;
    const char *extras;
    struct bytes key;
    uint32_t value_size;
    unsigned variant;
    bool quiet;
};

/* `variant` distinguishes the opcodes that share a handler. */
typedef enum request_end binary_handler(struct binary_request *binary);

/* Answers the request at request->start, or waits for more of it. */
enum request_end binary_run(struct request *request);

static inline uint16_t binary_read_u16(const char *at) {
    uint16_t number;
    memcpy(&number, at, sizeof number);
    return be16toh(number);
}

static inline uint32_t binary_read_u32(const char *at) {
    uint32_t number;
    memcpy(&number, at, sizeof number);
    return be32toh(number);
}

static inline uint64_t binary_read_u64(const char *at) {
    uint64_t number;
    memcpy(&number, at, sizeof number);
    return be64toh(number);
}

/* `at` has BINARY_HEADER_BYTES. */
static inline struct binary_header binary_read_header(const char *at) {
    struct binary_header header = {
        .opcode = (uint8_t)at[1],
        .extras_size = (uint8_t)at[4],
        .key_size = binary_read_u16(at + 2),
        .body_size = binary_read_u32(at + 8),
        .cas = binary_read_u64(at + 16),
    };
    memcpy(&header.opaque, at + 12, sizeof header.opaque);
    return header;
}

/* Whether extras and key are no larger than the body. */
static inline bool binary_header_adds_up(const struct binary_header *header) {
    return (uint32_t)header->key_size + header->extras_size <= header->body_size;
}

#endif
