/* Shared by the tests of the binary protocol: opcodes, the usual parts of packets by name, and
 * sequences of requests. */
#ifndef STAYD_TESTS_BINARY_TALK_H
#define STAYD_TESTS_BINARY_TALK_H

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

static inline void converse(struct talk *talk, const struct exchange *exchanges, size_t count) {
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

static inline void expect_refused_and_closed(struct talk *talk, const struct packet *request) {
    static const char zeros[1024];
    talk_restart(talk);
    packet_send(talk, request);
    assert_true(talk->closed);
    packet_expect(talk, &(struct packet){request->opcode, INVALID}, 1);
    talk_send(talk, bytes_from(zeros, sizeof zeros));
    packet_expect(talk, NULL, 0);
}

#define TALK(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
#define TALK_NO_EVICT(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, talk_setup_no_evict, talk_teardown)

#endif
