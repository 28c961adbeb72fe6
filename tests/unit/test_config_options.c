/* The command line, above all that of memcached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stayd/options.h"

#include <stdlib.h>
#include <string.h>

static struct options options;
static struct config *config;
static struct faults faults;

static int prepare(void **state) {
    (void)state;
    config = config_create();
    faults_init(&faults, "command line");
    return 0;
}

static int clear(void **state) {
    (void)state;
    config_destroy(config);
    faults_finish(&faults);
    return 0;
}

/* Parses "stayd" and these words. */
static enum options_result parse(const char *line) {
    static char words[256];
    char *arguments[20] = {"stayd"};
    int count = 1;
    snprintf(words, sizeof words, "%s", line);
    char *rest = NULL;
    for (char *word = strtok_r(words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        arguments[count++] = word;
    }
    return options_parse(&options, count, arguments);
}

static struct config_pool *configure(const char *line) {
    assert_int_equal(parse(line), OPTIONS_RUN);
    options_configure(&options, config, &faults);
    return &config->pools[0];
}

static void no_options_are_the_built_in_pools(void **state) {
    (void)state;
    configure("");
    assert_int_equal(config->pool_count, 2);
    assert_int_equal(faults.count, 0);
}

static void memcached_options_make_one_volatile_pool_named_cache(void **state) {
    (void)state;
    const struct config_pool *pool =
        configure("-p 11219 -m 128 -c 77 -t 3 -I 2m -U 0 -u nobody -vv");
    assert_int_equal(faults.count, 0);
    assert_int_equal(config->pool_count, 1);
    assert_string_equal(pool->options.name, "cache");
    assert_true(pool->options.evict && !pool->options.persist);
    assert_int_equal(pool->options.memory_bytes, 128 << 20);
    assert_int_equal(pool->options.item_max_bytes, 2 << 20);
    assert_int_equal(pool->listen_count, 1);
    assert_string_equal(pool->listens[0].address.text, "127.0.0.1:11219");
    assert_int_equal(config->max_connections, 77);
    assert_int_equal(config->threads, 3);
    assert_false(config->has_admin);
    assert_false(config_needs_data_dir(config));
    assert_false(config_needs_run_dir(config));
    assert_string_equal(options.user, "nobody");
    assert_true(options.verbose);
}

static void memcached_defaults_are_memcacheds_but_on_loopback(void **state) {
    (void)state;
    const struct config_pool *pool = configure("-U 0");
    assert_string_equal(pool->listens[0].address.text, "127.0.0.1:11211");
    assert_int_equal(pool->options.memory_bytes, 64 << 20);
    assert_int_equal(pool->options.item_max_bytes, 1 << 20);
    assert_int_equal(config->max_connections, 1024);
}

static void addresses_may_have_a_port_of_their_own(void **state) {
    (void)state;
    const struct config_pool *pool =
        configure("-p 5 -l 127.0.0.1,127.0.0.2:6,::1,[::1]:7,[::1]:8,localhost:9");
    static const char *const expected[] = {"127.0.0.1:5", "127.0.0.2:6", "[::1]:5",
                                           "[::1]:7",     "[::1]:8",     "127.0.0.1:9"};
    assert_int_equal(faults.count, 0);
    assert_int_equal(pool->listen_count, 6);
    for (unsigned i = 0; i < 6; i++) {
        assert_string_equal(pool->listens[i].address.text, expected[i]);
    }
}

static void a_socket_takes_the_place_of_tcp(void **state) {
    (void)state;
    const struct config_pool *pool = configure("-s /tmp/x.sock -p 0");
    assert_int_equal(faults.count, 0);
    assert_int_equal(pool->listen_count, 1);
    assert_string_equal(pool->listens[0].address.text, "unix:/tmp/x.sock");
}

static void nowhere_to_listen_is_a_fault(void **state) {
    (void)state;
    configure("-p 0");
    assert_true(faults.count > 0);
    assert_non_null(strstr(faults.items[0].text, "-s PATH"));
}

static void an_address_of_the_network_has_to_be_meant(void **state) {
    (void)state;
    configure("-l 0.0.0.0");
    assert_int_equal(faults.count, 1);
    assert_non_null(strstr(faults.items[0].text, "--insecure"));
    clear(NULL);
    prepare(NULL);
    configure("-l 0.0.0.0 --insecure");
    assert_int_equal(faults.count, 0);
}

static void a_number_after_c_is_memcacheds_and_else_a_file(void **state) {
    (void)state;
    assert_int_equal(parse("-c 100"), OPTIONS_RUN);
    assert_true(options.memcached);
    assert_null(options.config_path);
    assert_int_equal(parse("-c ./100"), OPTIONS_RUN);
    assert_false(options.memcached);
    assert_string_equal(options.config_path, "./100");
    assert_int_equal(parse("--config=100 --check"), OPTIONS_RUN);
    assert_string_equal(options.config_path, "100");
    assert_true(options.check);
}

static void what_is_wrong_is_not_run(void **state) {
    (void)state;
    static const char *const lines[] = {
        "-p",    "-p x",      "-p 65536",  "-p -1",          "-m 0",           "-m 64M",
        "-I 0",  "-I 129m",   "-t 0",      "-t 65",          "-U 11211",       "-d",
        "-M",    "-o modern", "-Q",        "--bogus",        "--port",         "--check=x",
        "stray", "-c f -p 5", "-c 5 -c f", "--conn-limit=x", "--threads=many", "-c",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (parse(lines[i]) != OPTIONS_WRONG) {
            print_error("stayd %s\n", lines[i]);
            fail();
        }
    }
}

int main(void) {
#define WITH_CONFIG(test) cmocka_unit_test_setup_teardown(test, prepare, clear)
    const struct CMUnitTest tests[] = {
        WITH_CONFIG(no_options_are_the_built_in_pools),
        WITH_CONFIG(memcached_options_make_one_volatile_pool_named_cache),
        WITH_CONFIG(memcached_defaults_are_memcacheds_but_on_loopback),
        WITH_CONFIG(addresses_may_have_a_port_of_their_own),
        WITH_CONFIG(a_socket_takes_the_place_of_tcp),
        WITH_CONFIG(nowhere_to_listen_is_a_fault),
        WITH_CONFIG(an_address_of_the_network_has_to_be_meant),
        WITH_CONFIG(a_number_after_c_is_memcacheds_and_else_a_file),
        WITH_CONFIG(what_is_wrong_is_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
