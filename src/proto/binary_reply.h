/* Writes responses of the binary protocol. As in text (reply.h), REPLY_ROOM bytes are reserved
 * before each request, so that only replies with items or statistics have to reserve more. */
#ifndef STAYD_PROTO_BINARY_REPLY_H
#define STAYD_PROTO_BINARY_REPLY_H

#include "base/status.h"
#include "proto/binary.h"
#include "proto/reply.h"

struct binary_response {
    uint8_t opcode;
    uint8_t extras_size;
    uint16_t key_size;
    uint16_t status;
    uint32_t value_size;
    uint32_t opaque;
    uint64_t cas;
};

/* Writes BINARY_HEADER_BYTES. Returns where the body begins. */
static inline char *binary_put_header(char *at, const struct binary_response *response) {
    uint16_t key_size = htobe16(response->key_size);
    uint16_t status = htobe16(response->status);
    uint32_t body_size =
        htobe32(response->extras_size + (uint32_t)response->key_size + response->value_size);
    uint64_t cas = htobe64(response->cas);
    at[0] = (char)BINARY_RESPONSE_MAGIC;
    at[1] = (char)response->opcode;
    memcpy(at + 2, &key_size, 2);
    at[4] = (char)response->extras_size;
    at[5] = 0; /* datatype: raw bytes */
    memcpy(at + 6, &status, 2);
    memcpy(at + 8, &body_size, 4);
    memcpy(at + 12, &response->opaque, 4);
    memcpy(at + 16, &cas, 8);
    return at + BINARY_HEADER_BYTES;
}

/* The caller of this function and of those below has reserved the room. */
void binary_reply(struct binary_request *binary, struct bytes value, uint64_t cas);

/* A success without a body, unless the opcode is a quiet one. */
void binary_reply_ok(struct binary_request *binary, uint64_t cas);

/* An error, with memcached's text in the body. Quiet opcodes answer errors too. */
void binary_reply_error(struct binary_request *binary, enum binary_status status);

/* The same error, but after the discarded value (skip_bytes) has arrived. */
void binary_reply_behind_value(struct binary_request *binary, enum binary_status status);

/* Writes the error of binary_reply_behind_value, when the value has been discarded. */
void binary_reply_refusal(struct request *request);

/* The response status for a status of the store. The storage opcodes have other rules for some of
 * them (binary_storage.c). */
enum binary_status binary_status_of(enum status status);

/* Ends the request: a success with this CAS, or an error. */
enum request_end binary_finish(struct binary_request *binary, enum status status, uint64_t cas);

#endif
