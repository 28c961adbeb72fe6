/* The binary protocol: replies do not depend on how the bytes arrive, and memory is bounded for any
 * input. */
#include "packet.h"

#include "proto/binary.h"

#define FIVE_SECONDS "\0\0\0\5"
#define COUNT_BY_ONE "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\5\0\0\0\0"

enum { LARGE = 70000 }; /* more than an item may have */

/* Every opcode, every kind of fault that leaves the connection in step, and values that look like
 * requests. At the end a request that closes the connection, and one that must not be answered. */
static void make_stream(struct buffer *stream) {
    struct buffer inner = {0};
    packet_put(&inner, &(struct packet){.opcode = BINARY_NOOP, .opaque = 1000});
    struct bytes noop = bytes_from(inner.data, inner.size);
    struct bytes large = talk_text("", '\x80', LARGE, "");
    const struct packet requests[] = {
        {BINARY_SET, .key = BYTES("a"), .extras = BYTES("\0\0\0\7\0\0\0\0"), .value = noop},
        {BINARY_GET, .key = BYTES("a")},
        {BINARY_GETKQ, .key = BYTES("b")},
        {BINARY_GETK, .key = BYTES("b")},
        {BINARY_SETQ, .key = BYTES("b"), .extras = BYTES("\0\0\0\0\0\0\0\0")},
        {BINARY_GATQ, .key = BYTES("b"), .extras = BYTES(FIVE_SECONDS)},
        {BINARY_GATK, .key = BYTES("a"), .extras = BYTES(FIVE_SECONDS)},
        {BINARY_TOUCH, .key = BYTES("c"), .extras = BYTES(FIVE_SECONDS), .value = noop},
        {BINARY_GAT, .key = BYTES("c"), .extras = BYTES(FIVE_SECONDS), .value = noop},
        {BINARY_ADD, .key = BYTES("a"), .extras = BYTES("\0\0\0\0\0\0\0\0"), .value = noop},
        {BINARY_ADDQ, .key = BYTES("c"), .extras = BYTES("\0\0\0\0\0\0\0\0"), .value = noop},
        {BINARY_REPLACE, .key = BYTES("d"), .extras = BYTES("\0\0\0\0\0\0\0\0"), .value = noop},
        {BINARY_REPLACEQ, .key = BYTES("c"), .extras = BYTES("\0\0\0\0\0\0\0\0"), .value = noop},
        {BINARY_SET, .key = BYTES("c"), .extras = BYTES("\0\0\0\0\0\0\0\0"), .cas = 1},
        {BINARY_APPEND, .key = BYTES("a"), .value = BYTES("\x80\x80\x80")},
        {BINARY_APPENDQ, .key = BYTES("z"), .value = BYTES("\x80\x80\x80")},
        {BINARY_PREPEND, .key = BYTES("a"), .value = noop},
        {BINARY_PREPENDQ, .key = BYTES("a")},
        {BINARY_SET, .key = BYTES("a"), .extras = BYTES("\0\0\0\7\0\0\0\0"), .value = large},
        {BINARY_PREPENDQ, .key = BYTES("a"), .value = large},
        {0x77, .key = BYTES("keykey"), .extras = BYTES("\x80\x80"), .value = noop},
        {0xff, .value = large},
        {BINARY_INCREMENT, .key = BYTES("n"), .extras = BYTES(COUNT_BY_ONE)},
        {BINARY_INCREMENTQ, .key = BYTES("n"), .extras = BYTES(COUNT_BY_ONE)},
        {BINARY_DECREMENT, .key = BYTES("n"), .extras = BYTES(COUNT_BY_ONE)},
        {BINARY_DECREMENTQ, .key = BYTES("c"), .extras = BYTES(COUNT_BY_ONE)},
        {BINARY_GETQ, .key = BYTES("n")},
        {BINARY_DELETE, .key = BYTES("n"), .cas = 1},
        {BINARY_DELETEQ, .key = BYTES("n")},
        {BINARY_DELETE, .key = BYTES("n")},
        {.opcode = BINARY_NOOP},
        {.opcode = BINARY_VERSION},
        {BINARY_VERBOSITY, .extras = BYTES("\0\0\0\0")},
        {BINARY_STAT, .key = BYTES("settings"), .value = noop},
        {BINARY_STAT, .key = BYTES("foo")},
        {BINARY_STAT, .key = BYTES("reset")},
        {BINARY_FLUSH, .extras = BYTES("\0\0\1\0")},
        {.opcode = BINARY_FLUSHQ},
        {BINARY_GETK, .key = BYTES("a")},
        {BINARY_GET, .key = BYTES("a"), .value = noop},
        {.opcode = BINARY_NOOP},
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct packet request = requests[i];
        request.opaque = (uint32_t)i;
        packet_put(stream, &request);
    }
    buffer_finish(&inner);
    free((char *)large.data);
}

static struct bytes part(const struct buffer *text, size_t from, size_t to) {
    return bytes_from(text->data + from, to - from);
}

/* The replies so far, in a form in which two runs can be compared. The caller frees the buffer. */
static struct buffer take_replies(struct talk *talk) {
    struct buffer said = talk->replies;
    talk->replies = (struct buffer){0};
    packet_rank_cas(&said);
    return said;
}

static void expect_replies(struct talk *talk, const struct buffer *expected) {
    packet_rank_cas(&talk->replies);
    talk_expect(talk, bytes_from(expected->data, expected->size));
    assert_true(talk->closed);
}

static void begin(struct talk *talk, struct buffer *stream, struct buffer *expected) {
    make_stream(stream);
    talk_send(talk, bytes_from(stream->data, stream->size));
    assert_true(talk->closed);
    *expected = take_replies(talk);
    assert_true(expected->size > 1000);
}

static void end(struct buffer *stream, struct buffer *expected) {
    buffer_finish(stream);
    buffer_finish(expected);
}

static void a_stream_cut_at_any_one_place_is_answered_the_same(void **state) {
    struct talk *talk = *state;
    struct buffer stream = {0};
    struct buffer expected;
    begin(talk, &stream, &expected);
    size_t skipped = 0; /* bytes of one kind, one after another */
    for (size_t cut = 1; cut < stream.size; cut += BRIEF_STEP) {
        skipped = stream.data[cut] == '\x80' ? skipped + 1 : 0;
        if (skipped > 100 && skipped % 997 != 0) {
            continue;
        }
        talk_restart(talk);
        talk_send(talk, part(&stream, 0, cut));
        talk_send(talk, part(&stream, cut, stream.size));
        expect_replies(talk, &expected);
    }
    end(&stream, &expected);
}

static void a_stream_that_comes_byte_by_byte_is_answered_the_same(void **state) {
    struct talk *talk = *state;
    struct buffer stream = {0};
    struct buffer expected;
    begin(talk, &stream, &expected);
    talk_restart(talk);
    for (size_t i = 0; i < stream.size; i++) {
        talk_send(talk, part(&stream, i, i + 1));
    }
    expect_replies(talk, &expected);
    end(&stream, &expected);
}

static void a_stream_in_random_pieces_is_answered_the_same(void **state) {
    struct talk *talk = *state;
    struct buffer stream = {0};
    struct buffer expected;
    begin(talk, &stream, &expected);
    uint32_t random = 12345;
    for (int round = 0; round < 300; round++) {
        talk_restart(talk);
        size_t at = 0;
        while (at < stream.size) {
            random = random * 1664525 + 1013904223;
            size_t largest = (random >> 28) < 14 ? 40 : 30000;
            size_t size = 1 + (random >> 4) % largest;
            size_t stop = at + size < stream.size ? at + size : stream.size;
            talk_send(talk, part(&stream, at, stop));
            at = stop;
        }
        expect_replies(talk, &expected);
    }
    end(&stream, &expected);
}

static void half_a_request_is_waited_for_in_one_piece(void **state) {
    struct talk *talk = *state;
    struct bytes value = talk_text("", 'v', 50000, "");
    struct buffer set = {0};
    packet_put(&set, &(struct packet){BINARY_SET, .key = BYTES("key"),
                                      .extras = BYTES("\0\0\0\0\0\0\0\0"), .value = value});
    talk_send(talk, part(&set, 0, 1));
    assert_int_equal(talk->wanted, PACKET_HEADER);
    talk_send(talk, part(&set, 1, PACKET_HEADER));
    assert_int_equal(talk->wanted, PACKET_HEADER + 8 + 3);
    talk_send(talk, part(&set, PACKET_HEADER, PACKET_HEADER + 8 + 3));
    assert_int_equal(talk->wanted, set.size);
    talk_send(talk, part(&set, PACKET_HEADER + 8 + 3, set.size));
    packet_expect(talk, &(struct packet){BINARY_SET, .cas = PACKET_ANY_CAS}, 1);
    buffer_finish(&set);
    free((char *)value.data);
}

static void many_replies_are_handed_out_in_bounded_pieces(void **state) {
    enum { GETS = 400 };
    struct talk *talk = *state;
    struct bytes value = talk_text("", 'v', 50000, "");
    packet_ask(talk,
               &(struct packet){BINARY_SET, .key = BYTES("k"), .extras = BYTES("\0\0\0\0\0\0\0\0"),
                                .value = value},
               &(struct packet){BINARY_SET, .cas = PACKET_ANY_CAS});
    struct buffer gets = {0};
    static struct packet replies[GETS];
    for (int i = 0; i < GETS; i++) {
        packet_put(&gets, &(struct packet){BINARY_GETQ, .key = BYTES("k")});
        replies[i] = (struct packet){BINARY_GETQ, .cas = PACKET_ANY_CAS,
                                     .extras = BYTES("\0\0\0\0"), .value = value};
    }
    talk_send(talk, bytes_from(gets.data, gets.size));
    packet_expect(talk, replies, GETS);
    assert_true(talk->flushes >= GETS * 50000 / PROTO_REPLY_BATCH / 2);
    assert_true(talk->replies_peak <= PROTO_REPLY_BATCH + 2 * 51000);
    buffer_finish(&gets);
    free((char *)value.data);
}

static void a_hundred_thousand_requests_in_one_piece_are_answered(void **state) {
    enum { REQUESTS = 100000 };
    struct talk *talk = *state;
    struct buffer requests = {0};
    static struct packet replies[REQUESTS];
    for (uint32_t i = 0; i < REQUESTS; i++) {
        struct packet request = {BINARY_GET, .key = BYTES("k"), .opaque = i};
        replies[i] = (struct packet){BINARY_GET, .status = 1, .value = BYTES("Not found")};
        if (i % 3 == 1) {
            request = (struct packet){.opcode = BINARY_NOOP};
            replies[i] = request;
        } else if (i % 3 == 2) {
            request = (struct packet){0x99, .key = BYTES("\x80\x80")};
            replies[i] = (struct packet){0x99, .status = 0x81, .value = BYTES("Unknown command")};
        }
        request.opaque = replies[i].opaque = i;
        packet_put(&requests, &request);
    }
    talk_send(talk, bytes_from(requests.data, requests.size));
    packet_expect(talk, replies, REQUESTS);
    assert_true(talk->replies_peak <= PROTO_REPLY_BATCH + 100);
    buffer_finish(&requests);
}

static uint32_t random_next(uint32_t *random) {
    *random = *random * 1664525 + 1013904223;
    return *random >> 8;
}

/* Headers with random fields. Now and then a size is near a limit. */
static void garbage_of_every_kind_leaves_the_pool_in_order(void **state) {
    static const uint32_t sizes[] = {0, 0, 1, 1, 1, 4, 8, 20, 21, 24, 249, 250, 251, 255, 256, 300};
    static const uint32_t bodies[] = {0, 1, 100, 65000, 66000, 1 << 20, UINT32_MAX};
    static char body[70000];
    struct talk *talk = *state;
    uint32_t random = 99;
    for (int round = 0; round < 20000; round += BRIEF_STEP) {
        talk_restart(talk);
        for (int i = 0; i < 10 && !talk->closed; i++) {
            struct buffer request = {0};
            packet_put(&request, &(struct packet){.opcode = (uint8_t)(random_next(&random) % 40)});
            uint32_t key = sizes[random_next(&random) % 16];
            uint32_t extras = sizes[random_next(&random) % 16] & 0xff;
            uint32_t size = key + extras + random_next(&random) % 4 - random_next(&random) % 3;
            if (random_next(&random) % 8 == 0) {
                size = bodies[random_next(&random) % 7];
            }
            uint32_t front = htobe32(key << 16 | extras << 8);
            uint32_t body_size = htobe32(size);
            memcpy(request.data + 2, &front, sizeof front);
            memcpy(request.data + 8, &body_size, sizeof body_size);
            memset(body, (int)(random_next(&random) % 256), 600);
            size_t sent = size < sizeof body ? size : random_next(&random) % sizeof body;
            talk_send(talk, bytes_from(request.data, request.size));
            talk_send(talk, bytes_from(body, sent));
            buffer_finish(&request);
        }
    }
    talk_restart(talk);
    packet_expect_in_step(talk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TALK(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
        TALK(a_stream_cut_at_any_one_place_is_answered_the_same),
        TALK(a_stream_that_comes_byte_by_byte_is_answered_the_same),
        TALK(a_stream_in_random_pieces_is_answered_the_same),
        TALK(half_a_request_is_waited_for_in_one_piece),
        TALK(many_replies_are_handed_out_in_bounded_pieces),
        TALK(a_hundred_thousand_requests_in_one_piece_are_answered),
        TALK(garbage_of_every_kind_leaves_the_pool_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
