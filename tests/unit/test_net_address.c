/* Addresses as written in the configuration, and which of them only this machine can reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/address.h"

#include <string.h>

static void expect_text(const char *text, const char *normal) {
    struct address address;
    char error[ADDRESS_ERROR_MAX] = "";
    assert_true(address_parse(text, "/run/stayd", &address, error));
    assert_string_equal(address.text, normal);
}

static void expect_error(const char *text, const char *part) {
    struct address address;
    char error[ADDRESS_ERROR_MAX] = "";
    assert_false(address_parse(text, "/run/stayd", &address, error));
    assert_non_null(strstr(error, part));
}

static void an_address_has_one_spelling(void **state) {
    (void)state;
    expect_text("127.0.0.1:11211", "127.0.0.1:11211");
    expect_text("localhost:1", "127.0.0.1:1");
    expect_text("0.0.0.0:65535", "0.0.0.0:65535");
    expect_text("[::1]:11211", "[::1]:11211");
    expect_text("[0:0:0:0:0:0:0:1]:11211", "[::1]:11211");
}

static void a_relative_socket_path_is_under_run_dir(void **state) {
    (void)state;
    expect_text("unix:cache.sock", "unix:/run/stayd/cache.sock");
    expect_text("unix:a/b.sock", "unix:/run/stayd/a/b.sock");
    expect_text("unix:/tmp/x.sock", "unix:/tmp/x.sock");
}

static void what_is_no_address_is_an_error_that_says_what_to_write(void **state) {
    (void)state;
    expect_error("", "127.0.0.1:11211");
    expect_error("127.0.0.1", "port");
    expect_error(":11211", "ADDRESS:PORT");
    expect_error("127.0.0.1:", "port");
    expect_error("127.0.0.1:0", "1 to 65535");
    expect_error("127.0.0.1:65536", "1 to 65535");
    expect_error("127.0.0.1:18446744073709551617", "port");
    expect_error("127.0.0.1:+1", "port");
    expect_error("::1:11211", "brackets");
    expect_error("[::1:11211", "brackets");
    expect_error("example.com:11211", "not an IP address");
    expect_error("127.0.0:11211", "not an IP address");
    expect_error("[]:11211", "not an IP address");
    expect_error("unix:", "unix:cache.sock");
}

static void a_socket_path_that_the_system_cannot_hold_is_an_error(void **state) {
    (void)state;
    char text[ADDRESS_TEXT_MAX * 2] = "unix:/";
    memset(text + 6, 'x', 106);
    expect_text(text, text); /* 107 bytes: the most */
    text[6 + 106] = 'x';
    expect_error(text, "108 bytes");
    memset(text, 'x', sizeof text - 1);
    memcpy(text + sizeof text - 7, ":11211", 6);
    expect_error(text, "too long");
}

static void loopback_and_sockets_are_local_and_nothing_else(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool local;
    } cases[] = {
        {"127.0.0.1:1", true}, {"127.255.0.3:1", true}, {"[::1]:1", true},
        {"unix:x", true},      {"0.0.0.0:1", false},    {"128.0.0.1:1", false},
        {"10.0.0.1:1", false}, {"[::]:1", false},       {"[fe80::1]:1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address address;
        char error[ADDRESS_ERROR_MAX];
        assert_true(address_parse(cases[i].text, "/run", &address, error));
        assert_int_equal(address_is_local(&address), cases[i].local);
    }
}

static void clients_on_loopback_and_sockets_are_local_and_no_others(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool local;
    } cases[] = {
        {"127.0.0.1:1", true},  {"127.255.0.3:1", true},
        {"[::1]:1", true},      {"[::ffff:127.0.0.1]:1", true},
        {"unix:/x", true},      {"128.0.0.1:1", false},
        {"10.0.0.1:1", false},  {"[::ffff:10.0.0.1]:1", false},
        {"[fe80::1]:1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address address;
        char error[ADDRESS_ERROR_MAX];
        union peer peer = {0};
        assert_true(address_parse(cases[i].text, "/run", &address, error));
        memcpy(&peer, &address.socket, sizeof peer);
        assert_int_equal(address_peer_is_local(&peer), cases[i].local);
    }
    assert_false(address_peer_is_local(&(union peer){0})); /* not known */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_one_spelling),
        cmocka_unit_test(a_relative_socket_path_is_under_run_dir),
        cmocka_unit_test(what_is_no_address_is_an_error_that_says_what_to_write),
        cmocka_unit_test(a_socket_path_that_the_system_cannot_hold_is_an_error),
        cmocka_unit_test(loopback_and_sockets_are_local_and_nothing_else),
        cmocka_unit_test(clients_on_loopback_and_sockets_are_local_and_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
