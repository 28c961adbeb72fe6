/* Refusals of the binary protocol, after which the connection stays in step. The expected replies
 * are those of memcached 1.6.18; tests/protocol compares them again. */
#include "binary_talk.h"

/* What a request is allowed to have, for each opcode. */
static const struct {
    uint8_t opcode;
    uint8_t extras;
    bool key;
    bool value;
} shapes[] = {
    {GET, 0, true, false},        {GETQ, 0, true, false},        {GETK, 0, true, false},
    {GETKQ, 0, true, false},      {SET, 8, true, true},          {SETQ, 8, true, true},
    {ADD, 8, true, true},         {ADDQ, 8, true, true},         {REPLACE, 8, true, true},
    {REPLACEQ, 8, true, true},    {APPEND, 0, true, true},       {APPENDQ, 0, true, true},
    {PREPEND, 0, true, true},     {PREPENDQ, 0, true, true},     {DELETE, 0, true, false},
    {DELETEQ, 0, true, false},    {INCREMENT, 20, true, false},  {INCREMENTQ, 20, true, false},
    {DECREMENT, 20, true, false}, {DECREMENTQ, 20, true, false}, {TOUCH, 4, true, true},
    {GAT, 4, true, true},         {GATQ, 4, true, true},         {GATK, 4, true, true},
    {GATKQ, 4, true, true},       {FLUSH, 4, false, false},      {FLUSHQ, 4, false, false},
    {NOOP, 0, false, false},      {VERSION, 0, false, false},    {QUIT, 0, false, false},
    {QUITQ, 0, false, false},     {VERBOSITY, 4, false, false},
};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void a_body_that_the_opcode_cannot_have_is_invalid_and_closes(void **state) {
    static const char zeros[256];
    struct talk *talk = *state;
    for (size_t i = 0; i < SHAPES; i++) {
        struct packet good = {.opcode = shapes[i].opcode};
        good.extras = bytes_from(zeros, shapes[i].extras);
        good.key = bytes_from("k", shapes[i].key);
        for (size_t extras = 0; extras < 256; extras++) {
            bool optional = shapes[i].opcode == FLUSH || shapes[i].opcode == FLUSHQ;
            if (extras != shapes[i].extras && !(optional && extras == 0)) {
                struct packet bad = good;
                bad.extras = bytes_from(zeros, extras);
                expect_refused_and_closed(talk, &bad);
            }
        }
        struct packet bad = good;
        bad.key = bytes_from("k", !shapes[i].key);
        expect_refused_and_closed(talk, &bad);
        bad.key = bytes_from(zeros, 251);
        expect_refused_and_closed(talk, &bad);
        if (!shapes[i].value) {
            bad = good;
            bad.value = bytes_from("v", 1);
            expect_refused_and_closed(talk, &bad);
        }
    }
}

/* A header alone, with no byte of its body. */
static void send_header(struct talk *talk, uint8_t opcode, uint32_t key, uint32_t extras,
                        uint32_t body) {
    struct buffer header = {0};
    packet_put(&header, &(struct packet){.opcode = opcode});
    header.data[2] = (char)(key >> 8);
    header.data[3] = (char)key;
    header.data[4] = (char)extras;
    for (int i = 0; i < 4; i++) {
        header.data[8 + i] = (char)(body >> (24 - 8 * i));
    }
    talk_send(talk, bytes_from(header.data, header.size));
    buffer_finish(&header);
}

static void a_header_that_does_not_add_up_is_refused_before_its_body_comes(void **state) {
    static const struct {
        uint32_t key, extras, body;
    } lies[] = {
        {1, 0, 0},     {65535, 0, 65534}, {250, 8, 257},     {1, 8, 8},
        {0, 1, 0},     {0, 255, 254},     {65535, 255, 255}, {65535, 255, 65535 + 254},
        {65535, 0, 0},
    };
    struct talk *talk = *state;
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
            talk_restart(talk);
            send_header(talk, (uint8_t)opcode, lies[i].key, lies[i].extras, lies[i].body);
            assert_true(talk->closed);
            packet_expect(talk, &(struct packet){(uint8_t)opcode, UNKNOWN_COMMAND}, 1);
        }
        talk_restart(talk);
        send_header(talk, (uint8_t)opcode, 65535, 0, 65535);
        assert_true(talk->closed);
        packet_expect(talk, &(struct packet){(uint8_t)opcode, INVALID}, 1);
    }
}

static void a_value_behind_touch_gat_and_stat_is_thrown_away(void **state) {
    struct talk *talk = *state;
    static const struct packet noop = {.opcode = NOOP};
    struct buffer value = {0};
    packet_put(&value, &noop);
    static const uint8_t opcodes[] = {TOUCH, GAT, GATK};
    for (size_t i = 0; i < sizeof opcodes; i++) {
        struct packet request = {opcodes[i], NONE, SOON};
        request.value = bytes_from(value.data, value.size);
        struct packet reply = {opcodes[i], NOT_FOUND};
        if (opcodes[i] == GATK) {
            reply = (struct packet){GATK, .status = 1, NONE};
        }
        packet_ask(talk, &request, &reply);
        packet_expect_in_step(talk);
    }
    struct packet stat = {STAT, .key = BYTES("reset")};
    stat.value = bytes_from(value.data, value.size);
    packet_ask(talk, &stat, &(struct packet){.opcode = STAT});
    packet_expect_in_step(talk);
    buffer_finish(&value);
}

static void a_value_too_large_is_thrown_away_and_then_refused(void **state) {
    struct talk *talk = *state;
    static const uint8_t opcodes[] = {SET, SETQ, ADD, REPLACEQ, APPEND, PREPENDQ};
    struct bytes large = talk_text("", '\x80', TALK_ITEM_MAX, "");
    for (size_t i = 0; i < sizeof opcodes; i++) {
        bool joins = opcodes[i] == APPEND || opcodes[i] == PREPENDQ;
        struct packet request = {opcodes[i], KEY};
        request.extras = bytes_from("\0\0\0\0\0\0\0", joins ? 0 : 8);
        request.value = large;
        struct buffer whole = {0};
        packet_put(&whole, &request);
        size_t head = PACKET_HEADER + request.extras.size + 1;
        talk_send(talk, bytes_from(whole.data, head));
        for (size_t at = head; at < whole.size; at += 10000) {
            size_t size = whole.size - at < 10000 ? whole.size - at : 10000;
            talk_send(talk, bytes_from(whole.data + at, size));
            assert_int_equal(talk->input.size, 0);
            if (at + size < whole.size) {
                talk_expect(talk, bytes_from_string("")); /* otherwise out of step */
            }
        }
        packet_expect(talk, &(struct packet){opcodes[i], TOO_LARGE}, 1);
        packet_expect_in_step(talk);
        buffer_finish(&whole);
    }
    free((char *)large.data);
}

static void the_largest_body_is_skipped_and_not_taken_for_a_small_one(void **state) {
    struct talk *talk = *state;
    struct bytes piece = talk_text("", '\x80', 1 << 20, "");
    talk_send(talk, bytes_from("", 0));
    send_header(talk, SET, 1, 8, UINT32_MAX);
    talk_send(talk, bytes_from("\0\0\0\0\0\0\0\0k", 9));
    packet_expect(talk, &(struct packet){SET, TOO_LARGE}, 1);
    assert_int_equal(talk->connection.progress.skip_bytes, UINT32_MAX - 9);
    unsigned pieces = 4095;
    if (BRIEF_STEP > 1) { /* skips the other pieces, as if they had come */
        talk->connection.progress.skip_bytes -= 4000 * (uint64_t)piece.size;
        pieces -= 4000;
    }
    for (unsigned i = 0; i < pieces; i++) {
        talk_send(talk, piece);
        assert_int_equal(talk->input.size, 0);
    }
    talk_send(talk, bytes_from(piece.data, piece.size - 10)); /* 2^32 - 1, less the 9 */
    packet_expect_in_step(talk);
    free((char *)piece.data);
}

static void a_sum_too_large_is_not_stored(void **state) {
    struct talk *talk = *state;
    struct bytes half = talk_text("", 'v', TALK_ITEM_MAX / 2 + 100, "");
    packet_ask(talk, &(struct packet){SET, KEY, STORED, .value = half},
               &(struct packet){SET, ANY_CAS});
    packet_ask(talk, &(struct packet){APPEND, KEY, .value = half},
               &(struct packet){APPEND, NOT_STORED});
    packet_ask(talk, &(struct packet){GET, KEY},
               &(struct packet){GET, ANY_CAS, FLAGS, .value = half});
    free((char *)half.data);
}

static void set_too_large_and_look(struct talk *talk, const struct packet *look) {
    struct bytes large = talk_text("", 'v', TALK_ITEM_MAX, "");
    packet_ask(talk, &(struct packet){SET, KEY, STORED, VALUE("old")},
               &(struct packet){SET, ANY_CAS});
    packet_ask(talk, &(struct packet){ADD, KEY, STORED, .value = large},
               &(struct packet){ADD, TOO_LARGE});
    packet_ask(talk, &(struct packet){GET, KEY},
               &(struct packet){GET, ANY_CAS, FLAGS, VALUE("old")});
    packet_ask(talk, &(struct packet){SET, KEY, STORED, .value = large},
               &(struct packet){SET, TOO_LARGE});
    packet_ask(talk, &(struct packet){GET, KEY}, look);
    free((char *)large.data);
}

static void a_set_too_large_forgets_the_old_item(void **state) {
    set_too_large_and_look(*state, &(struct packet){GET, NOT_FOUND});
}

static void a_set_too_large_forgets_nothing_in_a_pool_that_may_not(void **state) {
    set_too_large_and_look(*state, &(struct packet){GET, ANY_CAS, FLAGS, VALUE("old")});
}

static void what_is_no_request_closes_the_connection_without_a_word(void **state) {
    struct talk *talk = *state;
    for (int byte = 0; byte < 256; byte++) {
        if (byte == 0x80) {
            continue;
        }
        talk_restart(talk);
        packet_expect_in_step(talk);
        char text[] = {(char)byte, '\r', '\n'};
        talk_send(talk, bytes_from(text, sizeof text));
        assert_true(talk->closed);
        packet_expect(talk, NULL, 0);
    }
}

static void a_text_connection_stays_one(void **state) {
    struct talk *talk = *state;
    talk_ask(talk, "mn\r\n", "MN\r\n");
    struct buffer version = {0};
    packet_put(&version, &(struct packet){.opcode = VERSION});
    talk_send(talk, bytes_from(version.data, version.size));
    talk_expect(talk, bytes_from_string(""));
    talk_ask(talk, "\r\nmn\r\n", "ERROR\r\nMN\r\n");
    buffer_finish(&version);
}

static void requests_in_one_packet_are_answered_in_order(void **state) {
    struct talk *talk = *state;
    struct buffer requests = {0};
    packet_put(&requests, &(struct packet){SETQ, KEY, STORED, VALUE("v")});
    packet_put(&requests, &(struct packet){GETQ, NONE, .opaque = 1});
    packet_put(&requests, &(struct packet){GETKQ, KEY, .opaque = 2});
    packet_put(&requests, &(struct packet){ADDQ, KEY, STORED, .opaque = 3});
    packet_put(&requests, &(struct packet){NOOP, .opaque = 4});
    packet_put(&requests, &(struct packet){QUIT, .opaque = 5});
    packet_put(&requests, &(struct packet){NOOP, .opaque = 6});
    talk_send(talk, bytes_from(requests.data, requests.size));
    const struct packet replies[] = {
        {GETKQ, ANY_CAS, FLAGS, KEY, VALUE("v"), .opaque = 2},
        {ADDQ, EXISTS, .opaque = 3},
        {NOOP, .opaque = 4},
        {QUIT, .opaque = 5},
    };
    packet_expect(talk, replies, 4);
    assert_true(talk->closed);
    buffer_finish(&requests);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TALK(a_body_that_the_opcode_cannot_have_is_invalid_and_closes),
        TALK(a_header_that_does_not_add_up_is_refused_before_its_body_comes),
        TALK(a_value_behind_touch_gat_and_stat_is_thrown_away),
        TALK(a_value_too_large_is_thrown_away_and_then_refused),
        TALK(the_largest_body_is_skipped_and_not_taken_for_a_small_one),
        TALK(a_sum_too_large_is_not_stored),
        TALK(a_set_too_large_forgets_the_old_item),
        TALK_NO_EVICT(a_set_too_large_forgets_nothing_in_a_pool_that_may_not),
        TALK(what_is_no_request_closes_the_connection_without_a_word),
        TALK(a_text_connection_stays_one),
        TALK(requests_in_one_packet_are_answered_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
