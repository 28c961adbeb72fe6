/* How many wrong passwords an address may try, on a clock that the test sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/login_limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct login_limit *limit;
static uint64_t now_ms;

static int begin(void **state) {
    (void)state;
    limit = login_limit_create();
    now_ms = 1000000;
    return limit == NULL;
}

static int end(void **state) {
    (void)state;
    login_limit_destroy(limit);
    return 0;
}

static struct login_source source(uint32_t number) {
    struct login_source made = {.kind = 1};
    memcpy(made.bytes, &number, sizeof number);
    return made;
}

static unsigned take_all(const struct login_source *from) {
    unsigned taken = 0;
    while (login_limit_take(limit, from, now_ms)) {
        taken++;
    }
    return taken;
}

static void an_address_has_so_many_tries_and_no_more(void **state) {
    (void)state;
    struct login_source a = source(1);
    struct login_source b = source(2);
    assert_int_equal(take_all(&a), LOGIN_LIMIT_BURST);
    assert_false(login_limit_allows(limit, &a, now_ms));
    assert_true(login_limit_allows(limit, &b, now_ms));
    assert_int_equal(take_all(&b), LOGIN_LIMIT_BURST);
}

static void a_try_comes_back_with_time(void **state) {
    (void)state;
    struct login_source a = source(1);
    take_all(&a);
    now_ms += LOGIN_LIMIT_TOKEN_MS - 1;
    assert_int_equal(take_all(&a), 0);
    now_ms += 1;
    assert_int_equal(take_all(&a), 1);
    now_ms += 5 * LOGIN_LIMIT_TOKEN_MS;
    assert_int_equal(take_all(&a), 5);
    now_ms += 1000ULL * LOGIN_LIMIT_TOKEN_MS;
    assert_int_equal(take_all(&a), LOGIN_LIMIT_BURST);
}

static void a_right_password_costs_nothing(void **state) {
    (void)state;
    struct login_source a = source(1);
    for (unsigned i = 0; i < 10 * LOGIN_LIMIT_BURST; i++) {
        assert_true(login_limit_take(limit, &a, now_ms));
        login_limit_trust(limit, &a, now_ms, true);
    }
    assert_int_equal(take_all(&a), LOGIN_LIMIT_BURST);
    login_limit_trust(limit, &a, now_ms, true);
    assert_int_equal(take_all(&a), 1);
}

static void a_trusted_address_may_log_in_while_it_has_no_tries(void **state) {
    (void)state;
    struct login_source a = source(1);
    login_limit_trust(limit, &a, now_ms, false);
    take_all(&a);
    assert_true(login_limit_allows(limit, &a, now_ms));
    assert_false(login_limit_take(limit, &a, now_ms));
    now_ms += LOGIN_LIMIT_TRUST_MS - 1;
    assert_true(login_limit_trusts(limit, &a, now_ms));
    now_ms += 1;
    assert_false(login_limit_trusts(limit, &a, now_ms));
    take_all(&a);
    assert_false(login_limit_allows(limit, &a, now_ms));
}

/* An attacker with a hundred thousand addresses replaces the buckets of other addresses, which are
 * then full again. He uses no more memory, and cannot replace the trusted addresses of a site's web
 * servers. */
static void a_flood_of_addresses_pushes_trusted_ones_out_last(void **state) {
    (void)state;
    struct login_source site[8];
    for (unsigned i = 0; i < 8; i++) {
        site[i] = source(1000000 + i);
        login_limit_trust(limit, &site[i], now_ms, false);
    }
    for (uint32_t i = 0; i < 100000; i++) {
        now_ms += i % 50 == 0;
        struct login_source stranger = source(i);
        assert_true(login_limit_take(limit, &stranger, now_ms));
    }
    unsigned trusted = 0;
    for (unsigned i = 0; i < 8; i++) {
        trusted += login_limit_trusts(limit, &site[i], now_ms);
    }
    assert_true(trusted >= 7); /* a bucket is lost only if five addresses share a set of four */
}

static void one_line_says_how_many_were_refused(void **state) {
    (void)state;
    struct login_source a = source(1);
    assert_int_equal(login_limit_count(limit, &a, now_ms, true), 1);
    for (unsigned i = 0; i < 500; i++) {
        assert_int_equal(login_limit_count(limit, &a, now_ms, true), 0);
    }
    now_ms += LOGIN_LIMIT_LOG_MS;
    assert_int_equal(login_limit_count(limit, &a, now_ms, false), 0);
    assert_int_equal(login_limit_count(limit, &a, now_ms, true), 502);
}

static void expect_text(const struct login_source *from, const char *text) {
    char shown[LOGIN_SOURCE_TEXT_MAX];
    login_source_format(from, shown);
    assert_string_equal(shown, text);
}

static void a_unix_socket_is_known_by_its_user(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct login_source from;
    assert_true(login_source_read(fds[0], &from));
    char expected[64];
    snprintf(expected, sizeof expected, "uid %u", getuid());
    expect_text(&from, expected);
    close(fds[0]);
    close(fds[1]);
}

/* Connects a socket to another one from the address `local`, and reads that address at the other
 * end. */
static struct login_source source_of_tcp(const struct sockaddr *local, socklen_t size) {
    int listener = socket(local->sa_family, SOCK_STREAM, 0);
    int client = socket(local->sa_family, SOCK_STREAM, 0);
    struct sockaddr_storage bound;
    socklen_t bound_size = sizeof bound;
    assert_int_equal(bind(listener, local, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&bound, &bound_size), 0);
    assert_int_equal(bind(client, local, size), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&bound, bound_size), 0);
    int accepted = accept(listener, NULL, NULL);
    struct login_source from;
    assert_true(login_source_read(accepted, &from));
    close(accepted);
    close(client);
    close(listener);
    return from;
}

static void ip_addresses_are_known_by_what_a_site_is_given(void **state) {
    (void)state;
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    inet_pton(AF_INET, "127.0.0.9", &ipv4.sin_addr);
    struct login_source from = source_of_tcp((struct sockaddr *)&ipv4, sizeof ipv4);
    expect_text(&from, "127.0.0.9");

    struct login_source network = {.kind = 1, .bytes = {0x20, 1, 0xd, 0xb8}};
    expect_text(&network, "2001:db8::/64");
    assert_false(login_source_read(-1, &from));

    union peer peer = {.ipv4 = ipv4};
    assert_true(login_source_of_peer(&peer, &from));
    expect_text(&from, "127.0.0.9");
    peer.ipv6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    inet_pton(AF_INET6, "2001:db8::7", &peer.ipv6.sin6_addr);
    assert_true(login_source_of_peer(&peer, &from));
    assert_true(login_source_equal(&from, &network));
    peer.any.sa_family = AF_UNIX;
    assert_false(login_source_of_peer(&peer, &from));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define LIMIT(test) cmocka_unit_test_setup_teardown(test, begin, end)
        LIMIT(an_address_has_so_many_tries_and_no_more),
        LIMIT(a_try_comes_back_with_time),
        LIMIT(a_right_password_costs_nothing),
        LIMIT(a_trusted_address_may_log_in_while_it_has_no_tries),
        LIMIT(a_flood_of_addresses_pushes_trusted_ones_out_last),
        LIMIT(one_line_says_how_many_were_refused),
        LIMIT(a_unix_socket_is_known_by_its_user),
        LIMIT(ip_addresses_are_known_by_what_a_site_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
