/* Requests and responses of the binary protocol for tests, described by their fields. They are
 * encoded and decoded here, independently of the server's code. */
#ifndef STAYD_TESTS_PACKET_H
#define STAYD_TESTS_PACKET_H

#include "proto_support.h"

#define BYTES(text)                                                                                \
    { text, sizeof(text) - 1 }

enum {
    PACKET_HEADER = 24,
    PACKET_OPAQUE = 0x01fe7f80, /* of every request and response that sets no other */
};

#define PACKET_ANY_CAS UINT64_MAX /* in an expected response: any CAS but 0 */

struct packet {
    uint8_t opcode;
    uint16_t status; /* in a request: the vbucket */
    uint8_t datatype;
    uint32_t opaque; /* less PACKET_OPAQUE */
    uint64_t cas;
    struct bytes extras;
    struct bytes key;
    struct bytes value;
};

/* Appends the packet as a request. */
void packet_put(struct buffer *buffer, const struct packet *packet);

/* Sends the packet as a request. */
void packet_send(struct talk *talk, const struct packet *packet);

/* Checks that the replies so far are exactly these responses, and removes them. */
void packet_expect(struct talk *talk, const struct packet *responses, size_t count);

/* Sends a request and expects one response, or none if that is NULL. Returns its CAS. */
uint64_t packet_ask(struct talk *talk, const struct packet *request, const struct packet *response);

/* Sends a noop and expects only its response: the connection is in step. */
void packet_expect_in_step(struct talk *talk);

/* Replaces each CAS in a series of responses by its rank among those seen, to compare two runs. */
void packet_rank_cas(struct buffer *responses);

#endif
