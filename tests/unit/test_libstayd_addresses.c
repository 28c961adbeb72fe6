/* The URLs of servers: which texts are no URL, and how libstayd shows a URL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stayd.h"

static struct stayd_error error;

static void what_is_no_address_is_an_error(void **state) {
    (void)state;
    static const char *const urls[] = {"",
                                       ":11211",
                                       "localhost:",
                                       "http://localhost:1/",
                                       "memcached://localhost:1/2",
                                       "memcached://localhost:1/?speed=1",
                                       "memcached://localhost:1/?timeout=0",
                                       "memcached://localhost:1/?timeout=1e3",
                                       "memcached://localhost:1/?ca=/etc/ssl/ours.pem",
                                       "memcacheds://localhost:1/?ca=ours.pem",
                                       "memcached://user@localhost:1/",
                                       "memcached://localhost:0/",
                                       "memcached://localhost:99999/",
                                       "memcached://[::1/",
                                       "unix:///",
                                       "unix:"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        memset(&error, 0, sizeof error);
        assert_null(stayd_open(urls[i], NULL, &error));
        assert_int_equal(error.status, STAYD_INVALID);
    }
    stayd_close(NULL);
}

static void an_address_is_shown_without_its_password(void **state) {
    (void)state;
    static const struct {
        const char *given;
        const char *shown;
    } urls[] = {{"localhost", "memcached://localhost:11211/"},
                {"memcached://u:p%20w@[::1]:11200/?timeout=0.5", "memcached://[::1]:11200/"},
                {"memcacheds://example.org", "memcacheds://example.org:11211/"},
                {"unix://web:secret@/run/s.sock", "unix:///run/s.sock"},
                {"unix:/run/s.sock?idle_timeout=9", "unix:///run/s.sock"},
                {" /run/s.sock ", "unix:///run/s.sock"}};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct stayd *opened = stayd_open(urls[i].given, NULL, &error);
        assert_non_null(opened);
        assert_string_equal(stayd_server_url(opened, 0), urls[i].shown);
        stayd_close(opened);
    }
    assert_null(stayd_open("memcached://web:secret@localhost:1/2", NULL, &error));
    assert_null(strstr(error.message, "secret"));
    struct stayd *both = stayd_open("a:1, b:2;c", NULL, &error);
    assert_int_equal(stayd_server_count(both), 3);
    assert_string_equal(stayd_server_url(both, 1), "memcached://b:2/");
    assert_null(stayd_server_url(both, 3));
    stayd_close(both);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_address_is_an_error),
        cmocka_unit_test(an_address_is_shown_without_its_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
