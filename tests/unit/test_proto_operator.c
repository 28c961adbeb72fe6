/* The operator's commands: which clients may use them, and refresh_certs, which another thread
 * carries out. */
#include "packet.h"
#include "proto/binary_reply.h"

#include <stdio.h>

#define NOT_ALLOWED "CLIENT_ERROR not allowed: see admin_commands of the pool\r\n"

/* The rights of the pool, then those of the daemon. */
static const char *const pool_commands[] = {
    "lru_crawler metadump all",
    "lru_crawler mgdump all",
    "lru_crawler disable",
    "stats cachedump 8 1",
    "stats conns",
    "stats sizes",
    "stats detail dump",
    "stats detail on",
    "watch fetchers",
    "hold 5",
    "cache_memlimit 64",
};
static const char *const daemon_commands[] = {"verbosity 0", "refresh_certs", "shutdown"};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* Sends the command on a new connection. Returns whether it was refused because a right is
 * missing. */
static bool is_refused(struct talk *talk, const char *command, bool local) {
    char line[64];
    size_t consumed;
    size_t wanted;
    struct buffer said = {0};
    struct proto_connection connection;
    proto_connection_init(&connection, &talk->service);
    connection.admitted = true;
    connection.is_local = local;
    snprintf(line, sizeof line, "%s\r\n", command);
    proto_process(&connection, &talk->thread, bytes_from_string(line), &consumed, &wanted, &said);
    proto_connection_finish(&connection);
    bool refused = said.size == strlen(NOT_ALLOWED) &&
                   memcmp(said.data, NOT_ALLOWED, strlen(NOT_ALLOWED)) == 0;
    buffer_finish(&said);
    return refused;
}

static void expect_refused(struct talk *talk, const char *const *commands, size_t count, bool local,
                           bool refused) {
    for (size_t i = 0; i < count; i++) {
        if (is_refused(talk, commands[i], local) != refused) {
            fail_msg("%s: expected it %s", commands[i], refused ? "refused" : "done");
        }
    }
}

static void the_setting_decides_whose_commands_are_done(void **state) {
    static const struct {
        enum proto_admin admin;
        bool local;
        bool login; /* this pool needs a login */
        bool other; /* some pool does */
        bool pool_refused;
        bool daemon_refused;
    } cases[] = {
        {PROTO_ADMIN_ALL, false, false, true, false, false},
        {PROTO_ADMIN_LOCAL, true, false, false, false, false},
        {PROTO_ADMIN_LOCAL, true, false, true, false, true},
        {PROTO_ADMIN_LOCAL, true, true, true, false, false},
        {PROTO_ADMIN_LOCAL, false, false, false, true, true},
        {PROTO_ADMIN_LOCAL, false, true, true, true, true},
        {PROTO_ADMIN_NONE, true, true, true, true, true},
    };
    struct talk *talk = *state;
    atomic_store(&talk->service.sizes_tracked, true);
    for (size_t i = 0; i < COUNT(cases); i++) {
        talk->service.admin_commands = cases[i].admin;
        talk->service.login_required = cases[i].login;
        talk->server.rights.has_logins = cases[i].other;
        expect_refused(talk, pool_commands, COUNT(pool_commands), cases[i].local,
                       cases[i].pool_refused);
        expect_refused(talk, daemon_commands, COUNT(daemon_commands), cases[i].local,
                       cases[i].daemon_refused);
        atomic_store(&talk->service.crawler_stopped, false);
    }
}

static void what_is_no_operators_is_done_for_all(void **state) {
    static const char *const commands[] = {"stats",       "stats settings", "stats items",
                                           "stats slabs", "stats reset",    "version",
                                           "flush_all",   "me k",           "mn"};
    struct talk *talk = *state;
    talk->service.admin_commands = PROTO_ADMIN_NONE;
    expect_refused(talk, commands, COUNT(commands), false, false);
}

static void a_refused_command_changes_nothing_and_may_be_silent(void **state) {
    struct talk *talk = *state;
    atomic_store(&talk->server.verbosity, 0);
    talk->service.admin_commands = PROTO_ADMIN_NONE;
    talk_ask(talk, "verbosity 2 noreply\r\nmn\r\n", "MN\r\n");
    assert_int_equal(atomic_load(&talk->server.verbosity), 0);
    talk_ask(talk, "lru_crawler disable\r\n", NOT_ALLOWED);
    assert_false(atomic_load(&talk->service.crawler_stopped));
}

static void the_binary_protocol_has_the_same_rights(void **state) {
    struct talk *talk = *state;
    talk->service.admin_commands = PROTO_ADMIN_NONE;
    const struct packet refused[] = {
        {.opcode = BINARY_VERBOSITY, .extras = BYTES("\0\0\0\2")},
        {.opcode = BINARY_STAT, .key = BYTES("conns")},
        {.opcode = BINARY_STAT, .key = BYTES("detail dump")},
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        packet_ask(talk, &refused[i],
                   &(struct packet){.opcode = refused[i].opcode,
                                    .status = BINARY_AUTH_ERROR,
                                    .value = BYTES("Auth failure.")});
    }
}

/* A reload that ends when the test ends it. */
static struct {
    uint64_t begun;
    uint64_t ended;
    bool well;
} reload;

static uint64_t begin_reload(void *keeper) {
    (void)keeper;
    return ++reload.begun;
}

static bool reload_has_ended(void *keeper, uint64_t number, bool *well, char *error, size_t size) {
    (void)keeper;
    *well = reload.well;
    snprintf(error, size, "no such file");
    return reload.ended >= number;
}

static enum proto_next process(struct talk *talk, const char *input, size_t *consumed) {
    size_t wanted;
    return proto_process(&talk->connection, &talk->thread, bytes_from_string(input), consumed,
                         &wanted, &talk->replies);
}

static void a_reload_of_certificates_is_waited_for_and_what_follows_waits_too(void **state) {
    struct talk *talk = *state;
    size_t consumed;
    memset(&reload, 0, sizeof reload);
    talk->server.tls.is_enabled = true;
    talk->server.reload = (struct proto_reload){NULL, begin_reload, reload_has_ended};
    assert_int_equal(process(talk, "mn\r\nrefresh_certs\r\nmn\r\n", &consumed), PROTO_WAITS);
    assert_int_equal(consumed, strlen("mn\r\nrefresh_certs\r\n"));
    talk_expect(talk, bytes_from_string("MN\r\n"));
    assert_int_equal(process(talk, "mn\r\n", &consumed), PROTO_WAITS);
    assert_int_equal(consumed, 0);
    reload.ended = 1;
    assert_int_equal(process(talk, "mn\r\n", &consumed), PROTO_READ); /* it did not go well */
    talk_expect(talk, bytes_from_string("SERVER_ERROR no such file\r\nMN\r\n"));
    reload.well = true;
    assert_int_equal(process(talk, "refresh_certs\r\n", &consumed), PROTO_WAITS);
    reload.ended = 2;
    assert_int_equal(process(talk, "", &consumed), PROTO_READ);
    talk_expect(talk, bytes_from_string("OK\r\n"));
    assert_int_equal(process(talk, "refresh_certs noreply\r\n", &consumed), PROTO_READ);
    assert_int_equal(reload.begun, 3);
    talk_expect(talk, bytes_from_string(""));
}

int main(void) {
#define WITH_TALK(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
    const struct CMUnitTest tests[] = {
        WITH_TALK(the_setting_decides_whose_commands_are_done),
        WITH_TALK(what_is_no_operators_is_done_for_all),
        WITH_TALK(a_refused_command_changes_nothing_and_may_be_silent),
        WITH_TALK(the_binary_protocol_has_the_same_rights),
        WITH_TALK(a_reload_of_certificates_is_waited_for_and_what_follows_waits_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
