#include "packet.h"

#include <stdio.h>

static void put_number(char *at, uint64_t number, size_t size) {
    for (size_t i = 0; i < size; i++) {
        at[i] = (char)(number >> (8 * (size - 1 - i)));
    }
}

static uint64_t read_number(const char *at, size_t size) {
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        number = number << 8 | (unsigned char)at[i];
    }
    return number;
}

void packet_put(struct buffer *buffer, const struct packet *packet) {
    size_t body = packet->extras.size + packet->key.size + packet->value.size;
    char header[PACKET_HEADER] = {(char)0x80, (char)packet->opcode};
    put_number(header + 2, packet->key.size, 2);
    put_number(header + 4, packet->extras.size, 1);
    put_number(header + 5, packet->datatype, 1);
    put_number(header + 6, packet->status, 2);
    put_number(header + 8, body, 4);
    put_number(header + 12, PACKET_OPAQUE + packet->opaque, 4);
    put_number(header + 16, packet->cas, 8);
    assert_true(buffer_append(buffer, header, sizeof header));
    assert_true(buffer_append(buffer, packet->extras.data, packet->extras.size));
    assert_true(buffer_append(buffer, packet->key.data, packet->key.size));
    assert_true(buffer_append(buffer, packet->value.data, packet->value.size));
}

void packet_send(struct talk *talk, const struct packet *packet) {
    struct buffer request = {0};
    packet_put(&request, packet);
    talk_send(talk, bytes_from(request.data, request.size));
    buffer_finish(&request);
}

static void expect_bytes(const char *what, const char *at, struct bytes expected) {
    if (!bytes_equal(bytes_from(at, expected.size), expected)) {
        fail_msg("%s: expected \"%.*s\", got \"%.*s\"", what, (int)expected.size, expected.data,
                 (int)expected.size, at);
    }
}

/* Removes one response from the front of `said`; returns its CAS. */
static uint64_t take_response(struct bytes *said, const struct packet *expected) {
    size_t body = expected->extras.size + expected->key.size + expected->value.size;
    if (said->size < PACKET_HEADER) {
        fail_msg("no response, but %zu bytes", said->size);
    }
    const char *at = said->data;
    assert_int_equal((unsigned char)at[0], 0x81);
    assert_int_equal((unsigned char)at[1], expected->opcode);
    assert_int_equal(read_number(at + 6, 2), expected->status);
    assert_int_equal(read_number(at + 2, 2), expected->key.size);
    assert_int_equal(read_number(at + 4, 1), expected->extras.size);
    assert_int_equal(at[5], 0);
    assert_int_equal(read_number(at + 8, 4), body);
    assert_int_equal(read_number(at + 12, 4), PACKET_OPAQUE + expected->opaque);
    uint64_t cas = read_number(at + 16, 8);
    if (expected->cas == PACKET_ANY_CAS) {
        assert_int_not_equal(cas, 0);
    } else {
        assert_int_equal(cas, expected->cas);
    }
    assert_true(said->size >= PACKET_HEADER + body);
    at += PACKET_HEADER;
    expect_bytes("extras", at, expected->extras);
    expect_bytes("key", at + expected->extras.size, expected->key);
    expect_bytes("value", at + expected->extras.size + expected->key.size, expected->value);
    *said = bytes_from(at + body, said->size - PACKET_HEADER - body);
    return cas;
}

void packet_expect(struct talk *talk, const struct packet *responses, size_t count) {
    struct bytes said = bytes_from(talk->replies.data, talk->replies.size);
    for (size_t i = 0; i < count; i++) {
        take_response(&said, &responses[i]);
    }
    assert_int_equal(said.size, 0);
    talk->replies.size = 0;
}

uint64_t packet_ask(struct talk *talk, const struct packet *request,
                    const struct packet *response) {
    packet_send(talk, request);
    assert_int_equal(talk->input.size, 0);
    struct bytes said = bytes_from(talk->replies.data, talk->replies.size);
    uint64_t cas = response != NULL ? take_response(&said, response) : 0;
    assert_int_equal(said.size, 0);
    talk->replies.size = 0;
    return cas;
}

void packet_expect_in_step(struct talk *talk) {
    static const struct packet noop = {.opcode = 0x0a, .opaque = 77};
    assert_false(talk->closed);
    packet_ask(talk, &noop, &noop);
}

enum { RANKS = 64 };

void packet_rank_cas(struct buffer *responses) {
    uint64_t seen[RANKS];
    size_t ranks = 0;
    for (size_t at = 0; at < responses->size;) {
        assert_true(responses->size - at >= PACKET_HEADER);
        char *header = responses->data + at;
        uint64_t cas = read_number(header + 16, 8);
        if (cas != 0) {
            size_t rank = 0;
            while (rank < ranks && seen[rank] != cas) {
                rank++;
            }
            if (rank == ranks) {
                assert_true(ranks < RANKS);
                seen[ranks++] = cas;
            }
            put_number(header + 16, rank + 1, 8);
        }
        at += PACKET_HEADER + read_number(header + 8, 4);
        assert_true(at <= responses->size);
    }
}
