/* Before and after the login, over the binary protocol. The right login is bob with the password
 * "secret word" (proto_support.c checks it). The expected replies are those of memcached -S. */
#include "packet.h"

#include "proto/binary.h"

#define RIGHT BYTES("\0bob\0secret word")
#define AUTH_FAILURE .status = 0x20, .value = BYTES("Auth failure.")
#define ADMITTED .value = BYTES("Authenticated")

static const struct packet version = {.opcode = BINARY_VERSION};
static const struct packet version_reply = {BINARY_VERSION, .value = BYTES(PROTO_VERSION)};

static void restart(struct talk *talk) {
    talk_restart(talk);
    talk->service.login_required = true;
    proto_connection_init(&talk->connection, &talk->service);
}

static void log_in(struct talk *talk, struct bytes value, bool admitted) {
    static const struct packet right = {BINARY_SASL_AUTH, ADMITTED};
    static const struct packet wrong = {BINARY_SASL_AUTH, AUTH_FAILURE};
    packet_ask(talk, &(struct packet){BINARY_SASL_AUTH, .key = BYTES("PLAIN"), .value = value},
               admitted ? &right : &wrong);
}

static void expect_admitted(struct talk *talk) {
    packet_ask(talk,
               &(struct packet){BINARY_SET, .key = BYTES("k"), .extras = BYTES("\0\0\0\0\0\0\0\0")},
               &(struct packet){BINARY_SET, .cas = PACKET_ANY_CAS});
    packet_expect_in_step(talk);
}

/* The connection is still open, and in step, but nothing is done. */
static void expect_not_admitted(struct talk *talk) {
    packet_ask(talk, &version, &version_reply);
    packet_ask(talk, &(struct packet){.opcode = BINARY_NOOP},
               &(struct packet){BINARY_NOOP, AUTH_FAILURE});
    assert_true(talk->closed);
}

static uint64_t counter(struct talk *talk, enum pool_counter which) {
    struct pool_stats stats;
    pool_get_stats(talk->pool, &stats);
    return stats.counters[which];
}

static void a_right_login_opens_the_pool(void **state) {
    struct talk *talk = *state;
    restart(talk);
    packet_ask(talk, &(struct packet){.opcode = BINARY_SASL_LIST},
               &(struct packet){BINARY_SASL_LIST, .value = BYTES("PLAIN")});
    log_in(talk, (struct bytes)RIGHT, true);
    assert_string_equal(talk->login, "bob:secret word");
    expect_admitted(talk);
    assert_int_equal(counter(talk, POOL_AUTH_CMDS), 1);
    assert_int_equal(counter(talk, POOL_AUTH_ERRORS), 0);
}

static void a_wrong_login_may_be_tried_again_and_ends_an_earlier_one(void **state) {
    struct talk *talk = *state;
    static const struct bytes wrong = BYTES("\0bob\0secret");
    restart(talk);
    log_in(talk, wrong, false);
    packet_ask(talk, &version, &version_reply);
    log_in(talk, (struct bytes)RIGHT, true);
    expect_admitted(talk);
    log_in(talk, wrong, false);
    expect_not_admitted(talk);
    assert_int_equal(talk->logins, 3);
    assert_int_equal(counter(talk, POOL_AUTH_CMDS), 3);
    assert_int_equal(counter(talk, POOL_AUTH_ERRORS), 2);
}

static void what_is_no_login_is_not_asked_about(void **state) {
    struct talk *talk = *state;
    char long_user[PROTO_LOGIN_USER_MAX + 5] = "";
    memset(long_user + 1, 'u', PROTO_LOGIN_USER_MAX + 1);
    long_user[sizeof long_user - 2] = 'p';
    char long_password[PROTO_LOGIN_PASSWORD_MAX + 4] = "\0u";
    memset(long_password + 3, 'p', PROTO_LOGIN_PASSWORD_MAX + 1);
    const struct bytes values[] = {
        BYTES("bob"),
        BYTES("\0"),
        BYTES("\0bob"),
        BYTES("\0bob\0"),
        BYTES("\0\0secret word"),
        BYTES("bob\0secret word"),
        BYTES("alice\0bob\0secret word"),
        bytes_from(long_user, sizeof long_user - 1),
        bytes_from(long_password, sizeof long_password),
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        restart(talk);
        uint64_t errors = counter(talk, POOL_AUTH_ERRORS);
        log_in(talk, values[i], false);
        assert_int_equal(talk->logins, 0);
        assert_int_equal(counter(talk, POOL_AUTH_ERRORS), errors + 1);
        expect_not_admitted(talk);
    }
    restart(talk);
    log_in(talk, (struct bytes)BYTES("bob\0bob\0secret word"), true);
}

static void another_mechanism_is_refused(void **state) {
    struct talk *talk = *state;
    static const struct packet others[] = {
        {BINARY_SASL_AUTH, .key = BYTES("CRAM-MD5"), .value = RIGHT},
        {BINARY_SASL_AUTH, .key = BYTES("plain"), .value = RIGHT},
        {BINARY_SASL_STEP, .key = BYTES("PLAIN"), .value = RIGHT}, /* without an auth before */
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        restart(talk);
        packet_ask(talk, &others[i], &(struct packet){others[i].opcode, AUTH_FAILURE});
        assert_int_equal(talk->logins, 0);
        expect_not_admitted(talk);
    }
    restart(talk);
    packet_ask(
        talk,
        &(struct packet){BINARY_SASL_AUTH, .key = BYTES("a-mechanism-of-33-bytes-xxxxxxxxx"),
                         .value = RIGHT},
        &(struct packet){BINARY_SASL_AUTH, .status = 4, .value = BYTES("Invalid arguments")});
    expect_not_admitted(talk);
}

static void the_value_may_come_in_a_step_once(void **state) {
    struct talk *talk = *state;
    static const struct packet begin = {BINARY_SASL_AUTH, .key = BYTES("PLAIN")};
    static const struct packet go_on = {BINARY_SASL_AUTH, .status = 0x21};
    static const struct packet step = {BINARY_SASL_STEP, .key = BYTES("PLAIN"), .value = RIGHT};
    restart(talk);
    packet_ask(talk, &begin, &go_on);
    packet_ask(talk, &step, &(struct packet){BINARY_SASL_STEP, ADMITTED});
    expect_admitted(talk);
    packet_ask(talk, &step, &(struct packet){BINARY_SASL_STEP, AUTH_FAILURE});
    expect_not_admitted(talk);
}

static void before_the_login_every_other_opcode_closes(void **state) {
    struct talk *talk = *state;
    static const char zeros[20];
    packet_ask(talk,
               &(struct packet){BINARY_SET, .key = BYTES("k"), .extras = BYTES("\0\0\0\0\0\0\0\0")},
               &(struct packet){BINARY_SET, .cas = PACKET_ANY_CAS});
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        bool open = opcode == BINARY_VERSION || opcode == BINARY_SASL_LIST ||
                    opcode == BINARY_SASL_AUTH || opcode == BINARY_SASL_STEP;
        for (size_t extras = 0; !open && extras <= sizeof zeros; extras += 4) {
            talk->closed = false;
            talk->service.login_required = true;
            proto_connection_init(&talk->connection, &talk->service);
            struct packet request = {(uint8_t)opcode, .key = BYTES("k")};
            request.extras = bytes_from(zeros, extras);
            packet_send(talk, &request);
            packet_expect(talk, &(struct packet){(uint8_t)opcode, AUTH_FAILURE}, 1);
            assert_true(talk->closed);
            talk->input.size = 0;
        }
    }
    talk->closed = false;
    proto_connection_init(&talk->connection, &talk->service);
    log_in(talk, (struct bytes)RIGHT, true);
    packet_ask(talk, &(struct packet){BINARY_GET, .key = BYTES("k")},
               &(struct packet){BINARY_GET, .cas = PACKET_ANY_CAS, .extras = BYTES("\0\0\0\0")});
}

static void a_value_too_large_is_no_login_and_thrown_away(void **state) {
    struct talk *talk = *state;
    struct bytes large = talk_text("", '\x80', 100000, "");
    restart(talk);
    struct buffer auth = {0};
    packet_put(&auth, &(struct packet){BINARY_SASL_AUTH, .key = BYTES("PLAIN"), .value = large});
    for (size_t at = 0; at < auth.size; at += 5000) {
        size_t size = auth.size - at < 5000 ? auth.size - at : 5000;
        talk_send(talk, bytes_from(auth.data + at, size));
        assert_int_equal(talk->input.size, 0);
    }
    packet_expect(talk, &(struct packet){BINARY_SASL_AUTH, AUTH_FAILURE}, 1);
    expect_not_admitted(talk);
    buffer_finish(&auth);
    free((char *)large.data);
}

static void a_login_that_comes_byte_by_byte_is_the_same(void **state) {
    struct talk *talk = *state;
    struct buffer auth = {0};
    packet_put(&auth, &(struct packet){BINARY_SASL_AUTH, .key = BYTES("PLAIN"), .value = RIGHT,
                                       .opaque = 5});
    packet_put(&auth, &(struct packet){.opcode = BINARY_NOOP});
    restart(talk);
    for (size_t i = 0; i < auth.size; i++) {
        talk_send(talk, bytes_from(auth.data + i, 1));
    }
    const struct packet replies[] = {
        {BINARY_SASL_AUTH, ADMITTED, .opaque = 5},
        {.opcode = BINARY_NOOP},
    };
    packet_expect(talk, replies, 2);
    buffer_finish(&auth);
}

static void without_a_login_asked_for_there_is_none(void **state) {
    struct talk *talk = *state;
    static const uint8_t opcodes[] = {BINARY_SASL_AUTH, BINARY_SASL_STEP};
    static const struct bytes unknown = BYTES("Unknown command");
    packet_ask(talk, &(struct packet){.opcode = BINARY_SASL_LIST},
               &(struct packet){BINARY_SASL_LIST, .status = 0x81, .value = unknown});
    for (size_t i = 0; i < sizeof opcodes; i++) {
        packet_ask(talk, &(struct packet){opcodes[i], .key = BYTES("PLAIN"), .value = RIGHT},
                   &(struct packet){opcodes[i], .status = 0x81, .value = unknown});
    }
    expect_admitted(talk);
    assert_int_equal(talk->logins, 0);
}

static void a_login_of_the_wrong_shape_closes(void **state) {
    struct talk *talk = *state;
    static const struct packet wrong[] = {
        {BINARY_SASL_LIST, .value = BYTES("x")},
        {BINARY_SASL_LIST, .key = BYTES("x")},
        {BINARY_SASL_AUTH, .value = RIGHT},
        {BINARY_SASL_AUTH, .key = BYTES("PLAIN"), .extras = BYTES("x"), .value = RIGHT},
        {BINARY_SASL_STEP, .value = RIGHT},
    };
    for (unsigned login_required = 0; login_required < 2; login_required++) {
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
            talk_restart(talk);
            talk->service.login_required = login_required;
            proto_connection_init(&talk->connection, &talk->service);
            packet_send(talk, &wrong[i]);
            packet_expect(
                talk,
                &(struct packet){wrong[i].opcode, .status = 4, .value = BYTES("Invalid arguments")},
                1);
            assert_true(talk->closed);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TALK(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
        TALK(a_right_login_opens_the_pool),
        TALK(a_wrong_login_may_be_tried_again_and_ends_an_earlier_one),
        TALK(what_is_no_login_is_not_asked_about),
        TALK(another_mechanism_is_refused),
        TALK(the_value_may_come_in_a_step_once),
        TALK(before_the_login_every_other_opcode_closes),
        TALK(a_value_too_large_is_no_login_and_thrown_away),
        TALK(a_login_that_comes_byte_by_byte_is_the_same),
        TALK(without_a_login_asked_for_there_is_none),
        TALK(a_login_of_the_wrong_shape_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
