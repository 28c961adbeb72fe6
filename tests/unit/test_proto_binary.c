/* The binary protocol. What memcached 1.6.18 answers was asked of it; tests/protocol asks it
 * again. */
#include "packet.h"

#include <stdio.h>

enum {
    GET,
    SET,
    ADD,
    REPLACE,
    DELETE,
    INCREMENT,
    DECREMENT,
    QUIT,
    FLUSH,
    GETQ,
    NOOP,
    VERSION,
    GETK,
    GETKQ,
    APPEND,
    PREPEND,
    STAT,
    SETQ,
    ADDQ,
    REPLACEQ,
    DELETEQ,
    INCREMENTQ,
    DECREMENTQ,
    QUITQ,
    FLUSHQ,
    APPENDQ,
    PREPENDQ,
    VERBOSITY,
    TOUCH,
    GAT,
    GATQ,
    SASL_LIST = 0x20,
    SASL_AUTH,
    SASL_STEP,
    GATK,
    GATKQ,
    UNKNOWN,
};

#define KEY .key = BYTES("k")
#define NONE .key = BYTES("none")
#define VALUE(text) .value = BYTES(text)
#define EXTRAS(text) .extras = BYTES(text)
#define STORED EXTRAS("\0\0\0\7\0\0\0\0") /* flags 7, no expiry */
#define FLAGS EXTRAS("\0\0\0\7")
#define SOON EXTRAS("\0\0\0\x64") /* in 100 seconds */
#define ONE "\0\0\0\0\0\0\0\1"
#define FIVE "\0\0\0\0\0\0\0\5"
#define NEVER "\0\0\0\0"
#define NOT_CREATING "\xff\xff\xff\xff"

#define NOT_FOUND .status = 0x01, VALUE("Not found")
#define EXISTS .status = 0x02, VALUE("Data exists for key.")
#define TOO_LARGE .status = 0x03, VALUE("Too large.")
#define INVALID .status = 0x04, VALUE("Invalid arguments")
#define NOT_STORED .status = 0x05, VALUE("Not stored.")
#define NON_NUMERIC .status = 0x06, VALUE("Non-numeric server-side value for incr or decr")
#define UNKNOWN_COMMAND .status = 0x81, VALUE("Unknown command")
#define ANY_CAS .cas = PACKET_ANY_CAS

struct exchange {
    struct packet request;
    struct packet reply;
    bool silent;
};

static void converse(struct talk *talk, const struct exchange *exchanges, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct exchange *exchange = &exchanges[i];
        struct packet reply = exchange->reply;
        reply.opcode = exchange->request.opcode;
        packet_ask(talk, &exchange->request, exchange->silent ? NULL : &reply);
        assert_false(talk->closed);
    }
    packet_expect_in_step(talk);
}

#define CONVERSE(state, exchanges)                                                                 \
    converse(*state, exchanges, sizeof exchanges / sizeof exchanges[0])

static void retrievals_answer_a_hit_with_flags_and_a_miss_in_their_own_way(void **state) {
    static const struct exchange exchanges[] = {
        {{GET, KEY}, {NOT_FOUND}, false},
        {{GETK, KEY}, {.status = 1, KEY}, false},
        {{GAT, KEY, SOON}, {NOT_FOUND}, false},
        {{GATK, KEY, SOON}, {.status = 1, KEY}, false},
        {{TOUCH, KEY, SOON}, {NOT_FOUND}, false},
        {{SET, KEY, STORED, VALUE("hello")}, {ANY_CAS}, false},
        {{GET, KEY}, {ANY_CAS, FLAGS, VALUE("hello")}, false},
        {{GETK, KEY}, {ANY_CAS, FLAGS, KEY, VALUE("hello")}, false},
        {{GAT, KEY, SOON}, {ANY_CAS, FLAGS, VALUE("hello")}, false},
        {{GATK, KEY, SOON}, {ANY_CAS, FLAGS, KEY, VALUE("hello")}, false},
        {{TOUCH, KEY, SOON}, {ANY_CAS, FLAGS}, false},
        {{SET, KEY, STORED}, {ANY_CAS}, false},
        {{GET, KEY}, {ANY_CAS, FLAGS}, false},
    };
    CONVERSE(state, exchanges);
}

static void quiet_retrievals_say_a_hit_and_nothing_of_a_miss(void **state) {
    static const struct exchange exchanges[] = {
        {{GETQ, KEY}, {0}, true},
        {{GETKQ, KEY}, {0}, true},
        {{GATQ, KEY, SOON}, {0}, true},
        {{GATKQ, KEY, SOON}, {0}, true},
        {{SETQ, KEY, STORED, VALUE("hello")}, {0}, true},
        {{GETQ, KEY}, {ANY_CAS, FLAGS, VALUE("hello")}, false},
        {{GETKQ, KEY}, {ANY_CAS, FLAGS, KEY, VALUE("hello")}, false},
        {{GATQ, KEY, SOON}, {ANY_CAS, FLAGS, VALUE("hello")}, false},
        {{GATKQ, KEY, SOON}, {ANY_CAS, FLAGS, KEY, VALUE("hello")}, false},
    };
    CONVERSE(state, exchanges);
}

static void storage_opcodes_store_under_their_condition_and_say_which_failed(void **state) {
    static const struct exchange exchanges[] = {
        {{REPLACE, KEY, STORED, VALUE("a")}, {NOT_FOUND}, false},
        {{APPEND, KEY, VALUE("a")}, {NOT_STORED}, false},
        {{PREPEND, KEY, VALUE("a")}, {NOT_STORED}, false},
        {{ADD, KEY, STORED, VALUE("a")}, {ANY_CAS}, false},
        {{ADD, KEY, STORED, VALUE("b")}, {EXISTS}, false},
        {{APPEND, KEY, VALUE("yz")}, {ANY_CAS}, false},
        {{PREPEND, KEY, VALUE("wx")}, {ANY_CAS}, false},
        {{GET, KEY}, {ANY_CAS, FLAGS, VALUE("wxayz")}, false},
        {{REPLACE, KEY, EXTRAS("\xff\xff\xff\xff\0\0\0\0"), VALUE("r\r\n")}, {ANY_CAS}, false},
        {{GET, KEY}, {ANY_CAS, EXTRAS("\xff\xff\xff\xff"), VALUE("r\r\n")}, false},
    };
    CONVERSE(state, exchanges);
}

static void quiet_storage_says_errors_alone(void **state) {
    static const struct exchange exchanges[] = {
        {{REPLACEQ, KEY, STORED, VALUE("a")}, {NOT_FOUND}, false},
        {{APPENDQ, KEY, VALUE("a")}, {NOT_STORED}, false},
        {{PREPENDQ, KEY, VALUE("a")}, {NOT_STORED}, false},
        {{ADDQ, KEY, STORED, VALUE("a")}, {0}, true},
        {{ADDQ, KEY, STORED, VALUE("b")}, {EXISTS}, false},
        {{APPENDQ, KEY, VALUE("yz")}, {0}, true},
        {{PREPENDQ, KEY, VALUE("wx")}, {0}, true},
        {{GET, KEY}, {ANY_CAS, FLAGS, VALUE("wxayz")}, false},
        {{REPLACEQ, KEY, STORED, VALUE("r")}, {0}, true},
        {{SETQ, KEY, STORED, VALUE("s"), .cas = 5}, {EXISTS}, false},
        {{SETQ, NONE, STORED, VALUE("s"), .cas = 5}, {NOT_FOUND}, false},
        {{DELETEQ, KEY, .cas = 5}, {EXISTS}, false},
        {{DELETEQ, KEY}, {0}, true},
        {{DELETEQ, KEY}, {NOT_FOUND}, false},
    };
    CONVERSE(state, exchanges);
}

static void a_cas_in_the_header_must_be_the_items(void **state) {
    struct talk *talk = *state;
    static const struct packet set = {SET, KEY, STORED, VALUE("a")};
    static const struct packet stored = {SET, ANY_CAS};
    static const uint8_t opcodes[] = {SET, ADD, REPLACE, APPEND, PREPEND, INCREMENT, DELETE};
    for (size_t i = 0; i < sizeof opcodes; i++) {
        uint8_t opcode = opcodes[i];
        bool stores = opcode == SET || opcode == ADD || opcode == REPLACE;
        bool counts = opcode == INCREMENT;
        uint64_t cas = packet_ask(talk, &set, &stored);
        struct packet request = {.opcode = opcode, KEY, .cas = cas + 1};
        if (opcode != DELETE && !counts) {
            request.value = bytes_from("5", 1);
        }
        request.extras = stores   ? set.extras
                         : counts ? bytes_from(ONE FIVE NEVER, 20)
                                  : bytes_from(NULL, 0);
        packet_ask(talk, &request, &(struct packet){opcode, EXISTS});
        packet_ask(talk, &(struct packet){GET, KEY},
                   &(struct packet){GET, .cas = cas, FLAGS, VALUE("a")});
        if (counts) { /* "a" is no number */
            packet_ask(talk, &(struct packet){SET, KEY, STORED, VALUE("5"), .cas = cas}, &stored);
            continue;
        }
        request.cas = cas;
        uint64_t later = packet_ask(
            talk, &request, &(struct packet){opcode, .cas = opcode == DELETE ? 0 : PACKET_ANY_CAS});
        assert_int_not_equal(later, cas);
    }
    static const struct exchange missing[] = {
        {{SET, NONE, STORED, VALUE("a"), .cas = 5}, {NOT_FOUND}, false},
        {{ADD, NONE, STORED, VALUE("a"), .cas = 5}, {NOT_FOUND}, false},
        {{REPLACE, NONE, STORED, VALUE("a"), .cas = 5}, {NOT_FOUND}, false},
        {{APPEND, NONE, VALUE("a"), .cas = 5}, {NOT_STORED}, false},
        {{DELETE, NONE, .cas = 5}, {NOT_FOUND}, false},
        {{INCREMENT, NONE, EXTRAS(ONE FIVE NEVER), .cas = 5}, {ANY_CAS, VALUE(FIVE)}, false},
    };
    CONVERSE(state, missing);
}

static void arithmetic_counts_and_creates_unless_the_expiry_is_all_ones(void **state) {
    static const struct exchange exchanges[] = {
        {{INCREMENT, KEY, EXTRAS(ONE FIVE NOT_CREATING)}, {NOT_FOUND}, false},
        {{INCREMENTQ, KEY, EXTRAS(ONE FIVE NOT_CREATING)}, {NOT_FOUND}, false},
        {{DECREMENT, KEY, EXTRAS(ONE FIVE NEVER)}, {ANY_CAS, VALUE(FIVE)}, false},
        {{INCREMENT, KEY, EXTRAS("\0\0\1\0\0\0\0\0" FIVE NOT_CREATING)},
         {ANY_CAS, VALUE("\0\0\1\0\0\0\0\5")},
         false},
        {{GET, KEY}, {ANY_CAS, EXTRAS("\0\0\0\0"), VALUE("1099511627781")}, false},
        {{DECREMENT, KEY, EXTRAS("\xff\0\0\0\0\0\0\0" FIVE NEVER)},
         {ANY_CAS, VALUE("\0\0\0\0\0\0\0\0")},
         false},
        {{INCREMENTQ, KEY, EXTRAS(FIVE FIVE NEVER)}, {0}, true},
        {{DECREMENTQ, KEY, EXTRAS(ONE FIVE NEVER)}, {0}, true},
        {{GET, KEY}, {ANY_CAS, EXTRAS("\0\0\0\0"), VALUE("4            ")}, false},
        {{INCREMENT, KEY, EXTRAS("\xff\xff\xff\xff\xff\xff\xff\xff" FIVE NEVER)},
         {ANY_CAS, VALUE("\0\0\0\0\0\0\0\3")},
         false},
        {{SET, KEY, STORED, VALUE("x")}, {ANY_CAS}, false},
        {{INCREMENT, KEY, EXTRAS(ONE FIVE NEVER)}, {NON_NUMERIC}, false},
        {{DECREMENTQ, KEY, EXTRAS(ONE FIVE NEVER)}, {NON_NUMERIC}, false},
    };
    CONVERSE(state, exchanges);
}

static void expiry_counts_from_now_up_to_thirty_days_and_is_a_date_beyond(void **state) {
    struct talk *talk = *state;
    static const struct packet stored = {SET, ANY_CAS};
    static const struct packet missing = {GET, NOT_FOUND};
    static const struct packet get = {GET, KEY};
    static const struct packet hit = {GET, ANY_CAS, EXTRAS("\0\0\0\0"), VALUE("v")};
    static const struct {
        const char *extras;
        uint32_t until_s; /* seconds from now; 0: never */
    } expiries[] = {
        {"\0\0\0\0\0\0\0\0", 0},
        {"\0\0\0\0\0\0\0\x64", 100},
        {"\0\0\0\0\0\x27\x8d\0", 30 * 86400},
        {"\0\0\0\0\xee\x6b\x28\x01", 1}, /* TALK_NOW_S + 1 */
        {"\0\0\0\0\xff\xff\xff\xff", 0}, /* 2106 */
    };
    for (size_t i = 0; i < sizeof expiries / sizeof expiries[0]; i++) {
        talk_restart(talk);
        struct packet set = {SET, KEY, VALUE("v")};
        set.extras = bytes_from(expiries[i].extras, 8);
        packet_ask(talk, &set, &stored);
        uint32_t until_s = expiries[i].until_s;
        talk->later_s = until_s == 0 ? 200000000 : until_s - 1;
        packet_ask(talk, &get, &hit);
        if (until_s != 0) {
            talk->later_s = until_s;
            packet_ask(talk, &get, &missing);
        }
    }
    talk_restart(talk);
    packet_ask(talk, &(struct packet){SET, KEY, EXTRAS("\0\0\0\0\0\x27\x8d\1"), VALUE("v")},
               &stored); /* 1970 */
    packet_ask(talk, &get, &missing);
}

static void touch_and_gat_give_another_expiry_and_keep_the_cas(void **state) {
    struct talk *talk = *state;
    static const uint8_t opcodes[] = {TOUCH, GAT, GATQ, GATK, GATKQ};
    static const struct packet get = {GET, KEY};
    for (size_t i = 0; i < sizeof opcodes; i++) {
        talk_restart(talk);
        uint64_t cas = packet_ask(talk, &(struct packet){SET, KEY, STORED, VALUE("v")},
                                  &(struct packet){SET, ANY_CAS});
        uint8_t opcode = opcodes[i];
        struct packet reply = {opcode, .cas = cas, FLAGS};
        if (opcode == GATK || opcode == GATKQ) {
            reply.key = bytes_from("k", 1);
        }
        if (opcode != TOUCH) {
            reply.value = bytes_from("v", 1);
        }
        packet_ask(talk, &(struct packet){opcode, KEY, SOON}, &reply);
        talk->later_s = 99;
        packet_ask(talk, &get, &(struct packet){GET, .cas = cas, FLAGS, VALUE("v")});
        talk->later_s = 100;
        packet_ask(talk, &get, &(struct packet){GET, NOT_FOUND});
    }
}

static void incr_gives_what_it_creates_its_expiry(void **state) {
    struct talk *talk = *state;
    packet_ask(talk, &(struct packet){INCREMENT, KEY, EXTRAS(ONE FIVE "\0\0\0\x64")},
               &(struct packet){INCREMENT, ANY_CAS, VALUE(FIVE)});
    talk->later_s = 99;
    packet_ask(talk, &(struct packet){GET, KEY},
               &(struct packet){GET, ANY_CAS, EXTRAS("\0\0\0\0"), VALUE("5")});
    talk->later_s = 100;
    packet_ask(talk, &(struct packet){GET, KEY}, &(struct packet){GET, NOT_FOUND});
}

static void flush_forgets_at_once_or_when_it_says(void **state) {
    struct talk *talk = *state;
    static const struct packet set = {SET, KEY, STORED, VALUE("v")};
    static const struct packet stored = {SET, ANY_CAS};
    static const struct packet missing = {GET, NOT_FOUND};
    static const struct packet get = {GET, KEY};
    static const struct packet flushes[] = {
        {.opcode = FLUSH}, {FLUSH, EXTRAS("\0\0\0\0")}, {.opcode = FLUSHQ}};
    for (size_t i = 0; i < sizeof flushes / sizeof flushes[0]; i++) {
        packet_ask(talk, &set, &stored);
        packet_ask(talk, &flushes[i],
                   flushes[i].opcode == FLUSHQ ? NULL : &(struct packet){.opcode = FLUSH});
        packet_ask(talk, &get, &missing);
    }
    packet_ask(talk, &set, &stored);
    packet_ask(talk, &(struct packet){FLUSH, SOON}, &(struct packet){.opcode = FLUSH});
    talk->later_s = 99;
    packet_ask(talk, &get, &(struct packet){GET, ANY_CAS, FLAGS, VALUE("v")});
    talk->later_s = 100;
    packet_ask(talk, &get, &missing);
}

static void the_small_opcodes_answer(void **state) {
    struct talk *talk = *state;
    static const struct exchange exchanges[] = {
        {{.opcode = NOOP}, {0}, false},
        {{.opcode = VERSION}, {VALUE("1.6.18")}, false},
        {{VERBOSITY, EXTRAS("\0\0\0\2")}, {0}, false},
    };
    CONVERSE(state, exchanges);
    assert_int_equal(atomic_load(&talk->server.verbosity), 2);
    packet_ask(talk, &(struct packet){VERBOSITY, EXTRAS("\0\0\0\0")},
               &(struct packet){.opcode = VERBOSITY});
    assert_int_equal(atomic_load(&talk->server.verbosity), 0);
    packet_ask(talk, &(struct packet){.opcode = QUIT}, &(struct packet){.opcode = QUIT});
    assert_true(talk->closed);
    talk_restart(talk);
    packet_ask(talk, &(struct packet){.opcode = QUITQ}, NULL);
    assert_true(talk->closed);
}

static void opaque_comes_back_and_datatype_and_vbucket_are_not_looked_at(void **state) {
    struct talk *talk = *state;
    for (uint32_t opaque = 1; opaque != 0; opaque <<= 1) {
        packet_ask(talk,
                   &(struct packet){SET, KEY, STORED, .opaque = opaque, .datatype = 9, .status = 8},
                   &(struct packet){SET, ANY_CAS, .opaque = opaque});
        packet_ask(talk, &(struct packet){GET, NONE, .opaque = opaque, .datatype = 255},
                   &(struct packet){GET, NOT_FOUND, .opaque = opaque});
    }
}

static void a_key_may_be_any_bytes(void **state) {
    struct talk *talk = *state;
    char all[POOL_KEY_MAX];
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (char)i;
    }
    struct packet set = {SET, STORED, VALUE("v")};
    set.key = bytes_from(all, sizeof all);
    packet_ask(talk, &set, &(struct packet){SET, ANY_CAS});
    struct packet hit = {GETK, ANY_CAS, FLAGS, VALUE("v")};
    hit.key = set.key;
    packet_ask(talk, &(struct packet){GETK, .key = set.key}, &hit);
}

static void an_unknown_opcode_is_refused_and_its_body_thrown_away(void **state) {
    struct talk *talk = *state;
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        bool known = opcode <= GATQ || (opcode >= SASL_LIST && opcode <= GATKQ);
        if (known) {
            continue;
        }
        /* The body is a request, which must not be answered. */
        struct packet request = {(uint8_t)opcode, .extras = BYTES("\x80\x0a\0\0\0\0\0\0\0\0\0\0"),
                                 .key = BYTES("\0\0\0\0\0\0"), VALUE("\0\0\0\0\0\0")};
        packet_ask(talk, &request, &(struct packet){(uint8_t)opcode, UNKNOWN_COMMAND});
        packet_expect_in_step(talk);
    }
}

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

static void expect_refused_and_closed(struct talk *talk, const struct packet *request) {
    static const char zeros[1024];
    talk_restart(talk);
    packet_send(talk, request);
    assert_true(talk->closed);
    packet_expect(talk, &(struct packet){request->opcode, INVALID}, 1);
    talk_send(talk, bytes_from(zeros, sizeof zeros));
    packet_expect(talk, NULL, 0);
}

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

static void a_value_too_large_is_refused_at_its_key_and_thrown_away(void **state) {
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
        packet_expect(talk, &(struct packet){opcodes[i], TOO_LARGE}, 1);
        for (size_t at = head; at < whole.size; at += 10000) {
            size_t size = whole.size - at < 10000 ? whole.size - at : 10000;
            talk_send(talk, bytes_from(whole.data + at, size));
            assert_int_equal(talk->input.size, 0);
        }
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
    if (BRIEF_STEP > 1) { /* as if the others had come */
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

/* All pairs of a group as text says them. */
static void text_of_stats(struct buffer *text, struct bytes responses) {
    size_t at = 0;
    bool ended = false;
    while (at < responses.size) {
        assert_false(ended);
        const unsigned char *header = (const unsigned char *)responses.data + at;
        assert_int_equal(header[1], STAT);
        size_t key = (size_t)header[2] << 8 | header[3];
        size_t body = (size_t)header[8] << 24 | (size_t)header[9] << 16 | (size_t)header[10] << 8 |
                      header[11];
        const char *data = responses.data + at + PACKET_HEADER;
        ended = body == 0;
        if (!ended) {
            assert_true(buffer_append_string(text, "STAT ") && buffer_append(text, data, key) &&
                        buffer_append_string(text, " ") &&
                        buffer_append(text, data + key, body - key) &&
                        buffer_append_string(text, "\r\n"));
        }
        at += PACKET_HEADER + body;
    }
    assert_true(ended);
    assert_true(buffer_append_string(text, "END\r\n"));
}

static void stat_lists_what_the_text_protocol_lists(void **state) {
    static const char *const groups[] = {"settings", "slabs", "items", "sizes"};
    struct talk *talk = *state;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        talk_restart(talk);
        char line[64];
        snprintf(line, sizeof line, "stats %s\r\n", groups[i]);
        talk_send(talk, bytes_from_string(line));
        struct buffer said = talk->replies;
        talk->replies = (struct buffer){0};
        talk_restart(talk);
        packet_send(talk, &(struct packet){STAT, .key = bytes_from_string(groups[i])});
        struct buffer text = {0};
        text_of_stats(&text, bytes_from(talk->replies.data, talk->replies.size));
        assert_true(
            bytes_equal(bytes_from(text.data, text.size), bytes_from(said.data, said.size)));
        buffer_finish(&text);
        buffer_finish(&said);
        talk->replies.size = 0;
        packet_expect_in_step(talk);
    }
}

static void stat_without_a_key_is_general_and_reset_resets(void **state) {
    struct talk *talk = *state;
    packet_ask(talk, &(struct packet){GET, KEY}, &(struct packet){GET, NOT_FOUND});
    for (int round = 0; round < 2; round++) {
        packet_send(talk, &(struct packet){.opcode = STAT});
        struct buffer text = {0};
        text_of_stats(&text, bytes_from(talk->replies.data, talk->replies.size));
        assert_true(buffer_append(&text, "", 1));
        assert_non_null(strstr(text.data, "STAT version " PROTO_VERSION "\r\n"));
        assert_non_null(
            strstr(text.data, round == 0 ? "STAT get_misses 1\r\n" : "STAT get_misses 0\r\n"));
        buffer_finish(&text);
        talk->replies.size = 0;
        packet_ask(talk, &(struct packet){STAT, .key = BYTES("reset")},
                   &(struct packet){.opcode = STAT});
    }
}

static void stat_detail_counts_by_prefix_what_binary_requests_do(void **state) {
    struct talk *talk = *state;
    static const struct packet detail_on = {STAT, .key = BYTES("detail on")};
    static const struct packet dump = {STAT, .key = BYTES("detail dump")};
    static const struct packet end = {.opcode = STAT};
    packet_ask(talk, &(struct packet){SETQ, .key = BYTES("p:a"), STORED}, NULL);
    packet_ask(talk, &detail_on, &end);
    packet_ask(talk, &(struct packet){SETQ, .key = BYTES("p:a"), STORED}, NULL);
    packet_ask(talk, &(struct packet){APPENDQ, .key = BYTES("p:a")}, NULL);
    packet_ask(talk, &(struct packet){GETQ, .key = BYTES("p:b")}, NULL);
    packet_ask(talk, &(struct packet){GAT, SOON, .key = BYTES("p:a")},
               &(struct packet){GAT, ANY_CAS, FLAGS});
    packet_ask(talk, &(struct packet){DELETEQ, .key = BYTES("p:a")}, NULL);
    packet_ask(talk, &(struct packet){STAT, .key = BYTES("detail off")}, &end);
    packet_ask(talk, &(struct packet){GETQ, .key = BYTES("p:b")}, NULL);
    packet_send(talk, &dump);
    const struct packet counted[] = {
        {STAT, .key = BYTES("detailed"), VALUE("PREFIX p get 2 hit 1 set 2 del 1\r\nEND\r\n")},
        end,
    };
    packet_expect(talk, counted, 2);
    packet_ask(talk, &(struct packet){STAT, .key = BYTES("reset")}, &end);
    packet_send(talk, &dump);
    const struct packet none[] = {{STAT, .key = BYTES("detailed"), VALUE("END\r\n")}, end};
    packet_expect(talk, none, 2);
    packet_ask(talk, &(struct packet){STAT, .key = BYTES("detail")},
               &(struct packet){STAT, NOT_FOUND});
}

static void stat_sizes_enable_and_disable_say_what_is_so_now(void **state) {
    struct talk *talk = *state;
    static const struct packet enable = {STAT, .key = BYTES("sizes_enable")};
    static const struct packet disable = {STAT, .key = BYTES("sizes_disable")};
    static const struct packet enabled[] = {
        {STAT, .key = BYTES("sizes_status"), VALUE("enabled")},
        {.opcode = STAT},
    };
    static const struct packet disabled[] = {
        {STAT, .key = BYTES("sizes_status"), VALUE("disabled")},
        {.opcode = STAT},
    };
    packet_send(talk, &enable);
    packet_expect(talk, enabled, 2);
    assert_true(atomic_load(&talk->service.sizes_tracked));
    packet_send(talk, &disable);
    packet_expect(talk, disabled, 2);
    assert_false(atomic_load(&talk->service.sizes_tracked));
}

static void flush_may_be_forbidden(void **state) {
    struct talk *talk = *state;
    packet_ask(talk, &(struct packet){SETQ, KEY, STORED, VALUE("v")}, NULL);
    talk->server.flush_disabled = true;
    static const uint8_t opcodes[] = {FLUSH, FLUSHQ};
    for (size_t i = 0; i < sizeof opcodes; i++) {
        packet_ask(talk, &(struct packet){.opcode = opcodes[i]},
                   &(struct packet){opcodes[i], .status = 0x20, VALUE("Auth failure.")});
    }
    packet_ask(talk, &(struct packet){GET, KEY}, &(struct packet){GET, ANY_CAS, FLAGS, VALUE("v")});
}

static void an_unknown_group_is_not_found(void **state) {
    static const struct exchange exchanges[] = {
        {{STAT, .key = BYTES("foo")}, {NOT_FOUND}, false},
        {{STAT, .key = BYTES("rese")}, {NOT_FOUND}, false},
        {{STAT, .key = BYTES("itemsx")}, {NOT_FOUND}, false},
        {{STAT, .key = BYTES("resetting")}, {0}, false}, /* memcached looks no further */
    };
    CONVERSE(state, exchanges);
    expect_refused_and_closed(*state, &(struct packet){STAT, EXTRAS("x")});
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TALK(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
#define TALK_NO_EVICT(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, talk_setup_no_evict, talk_teardown)
        TALK(retrievals_answer_a_hit_with_flags_and_a_miss_in_their_own_way),
        TALK(quiet_retrievals_say_a_hit_and_nothing_of_a_miss),
        TALK(storage_opcodes_store_under_their_condition_and_say_which_failed),
        TALK(quiet_storage_says_errors_alone),
        TALK(a_cas_in_the_header_must_be_the_items),
        TALK(arithmetic_counts_and_creates_unless_the_expiry_is_all_ones),
        TALK(expiry_counts_from_now_up_to_thirty_days_and_is_a_date_beyond),
        TALK(touch_and_gat_give_another_expiry_and_keep_the_cas),
        TALK(incr_gives_what_it_creates_its_expiry),
        TALK(flush_forgets_at_once_or_when_it_says),
        TALK(the_small_opcodes_answer),
        TALK(opaque_comes_back_and_datatype_and_vbucket_are_not_looked_at),
        TALK(a_key_may_be_any_bytes),
        TALK(an_unknown_opcode_is_refused_and_its_body_thrown_away),
        TALK(a_body_that_the_opcode_cannot_have_is_invalid_and_closes),
        TALK(a_header_that_does_not_add_up_is_refused_before_its_body_comes),
        TALK(a_value_behind_touch_gat_and_stat_is_thrown_away),
        TALK(a_value_too_large_is_refused_at_its_key_and_thrown_away),
        TALK(the_largest_body_is_skipped_and_not_taken_for_a_small_one),
        TALK(a_sum_too_large_is_not_stored),
        TALK(a_set_too_large_forgets_the_old_item),
        TALK_NO_EVICT(a_set_too_large_forgets_nothing_in_a_pool_that_may_not),
        TALK(what_is_no_request_closes_the_connection_without_a_word),
        TALK(a_text_connection_stays_one),
        TALK(requests_in_one_packet_are_answered_in_order),
        TALK(stat_lists_what_the_text_protocol_lists),
        TALK(stat_without_a_key_is_general_and_reset_resets),
        TALK(stat_detail_counts_by_prefix_what_binary_requests_do),
        TALK(stat_sizes_enable_and_disable_say_what_is_so_now),
        TALK(flush_may_be_forbidden),
        TALK(an_unknown_group_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
