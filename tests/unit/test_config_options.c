/* The command line, mainly memcached's options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stayd/options.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    return 0;
}

/* Parses the command line "stayd" followed by these words. */
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
    assert_string_equal(options.process.user, "nobody");
    assert_true(options.process.verbosity > 0);
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
        configure("-p 5 -l 127.0.0.1,127.0.0.2:6,::1,[::1]:7,[::1]:8,127.0.0.3");
    static const char *const expected[] = {"127.0.0.1:5", "127.0.0.2:6", "[::1]:5",
                                           "[::1]:7",     "[::1]:8",     "127.0.0.3:5"};
    assert_int_equal(faults.count, 0);
    assert_int_equal(pool->listen_count, 6);
    for (unsigned i = 0; i < 6; i++) {
        assert_string_equal(pool->listens[i].address.text, expected[i]);
    }
}

static bool listens_on(const struct config_pool *pool, const char *text) {
    for (unsigned i = 0; i < pool->listen_count; i++) {
        if (strcmp(pool->listens[i].address.text, text) == 0) {
            return true;
        }
    }
    return false;
}

static void a_name_stands_for_all_of_its_addresses(void **state) {
    (void)state;
    const struct config_pool *pool = configure("-l localhost:9");
    assert_int_equal(faults.count, 0);
    assert_true(listens_on(pool, "127.0.0.1:9"));
    assert_true(pool->listen_count == 1 || listens_on(pool, "[::1]:9"));
    clear(NULL);
    prepare(NULL);
    configure("-l no-such-host.invalid");
    assert_int_equal(faults.count, 2); /* and the pool has no address */
    assert_non_null(strstr(faults.items[0].text, "cannot resolve no-such-host.invalid"));
}

static void an_address_may_have_a_protocol_and_a_tag(void **state) {
    (void)state;
    const struct config_pool *pool = configure(
        "-B ascii -l 127.0.0.1:5,proto[binary]:127.0.0.1:6;proto[negotiating]:tag[web]:[::1]:7,"
        "tag_tools_:127.0.0.1:8");
    assert_int_equal(faults.count, 0);
    assert_int_equal(pool->listen_count, 4);
    assert_int_equal(pool->listens[0].protocols, PROTO_ALLOWED_TEXT);
    assert_int_equal(pool->listens[1].protocols, PROTO_ALLOWED_BINARY);
    assert_int_equal(pool->listens[2].protocols, PROTO_ALLOWED_ALL);
    assert_int_equal(pool->listens[3].protocols, PROTO_ALLOWED_TEXT);
    assert_string_equal(pool->listens[2].address.text, "[::1]:7");
    assert_int_equal(options.notice_count, 2); /* the tags */
}

static void what_is_wrong_in_an_address_is_a_fault(void **state) {
    (void)state;
    static const char *const texts[] = {
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "[::1",
        "[::1]x",
        ":5",
        "proto[x]:127.0.0.1",
        "proto[ascii]127.0.0.1",
        "proto[ascii:::1",
        "tag[]:127.0.0.1",
        "tag[ninechars]:::1",
        "tag[a:127.0.0.1",
        "btls:127.0.0.1",
        "mtls:127.0.0.1",
        "proto[proxy]:::1",
        "proto:127.0.0.1",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, "-l 127.0.0.1:9,%s", texts[i]);
        configure(line);
        if (faults.count != 1) {
            print_error("%s: %u faults\n", texts[i], (unsigned)faults.count);
            fail();
        }
        clear(NULL);
        prepare(NULL);
    }
}

static void tls_may_be_named_for_an_address(void **state) {
    (void)state;
    configure("-Z -o ssl_chain_cert=/c -l btls:127.0.0.1:5,notls:127.0.0.1:6");
    assert_int_equal(faults.count, 0);
    clear(NULL);
    prepare(NULL);
    configure("-Z -o ssl_chain_cert=/c -l mtls:127.0.0.1:5");
    assert_non_null(strstr(faults.items[0].text, "ssl_verify_mode=2"));
    clear(NULL);
    prepare(NULL);
    configure(
        "-Z -o ssl_chain_cert=/c,ssl_verify_mode=2,ssl_ca_cert=/a -l mtls:127.0.0.1:5,btls:::1");
    assert_int_equal(faults.count, 1);
}

static void the_pool_has_room_for_its_largest_item(void **state) {
    (void)state;
    const struct config_pool *pool = configure("-m 1");
    assert_int_equal(faults.count, 0);
    assert_in_range(pool->options.memory_bytes, 8 << 20, 10 << 20);
    assert_int_equal(options.notice_count, 1);
    assert_non_null(strstr(options.notices[0], "instead of the 1M of -m"));
    clear(NULL);
    prepare(NULL);
    pool = configure("-I 8m");
    assert_int_equal(faults.count, 0);
    assert_in_range(pool->options.memory_bytes, 64 << 20, 80 << 20);
    clear(NULL);
    prepare(NULL);
    pool = configure("-m 64m");
    assert_int_equal(pool->options.memory_bytes, 64 << 20);
    assert_int_equal(options.notice_count, 0);
}

static void a_port_of_minus_1_is_any(void **state) {
    (void)state;
    const struct config_pool *pool = configure("-p -1 -l 127.0.0.1,127.0.0.2:6");
    assert_int_equal(faults.count, 0);
    assert_string_equal(pool->listens[0].address.text, "127.0.0.1:0");
    assert_string_equal(pool->listens[1].address.text, "127.0.0.2:6");
}

static void what_memcached_ignores_is_a_notice(void **state) {
    (void)state;
    const struct config_pool *pool = configure("-D :: -b 0 stray word");
    assert_int_equal(faults.count, 0);
    assert_non_null(pool);
    assert_int_equal(config->prefix_delimiter, ':');
    assert_int_equal(config->backlog, 1);
    assert_int_equal(options.notice_count, 3);
    assert_non_null(strstr(options.notices[1], "the word stray changes nothing"));
    assert_int_equal(parse("-b 4000000 -o relaxed_privileges,ext_io_depth=4,proxy_uring,"
                           "proxy_memprofile,proxy_arg=x,tail_repair_time=20,idle_timeout=90000"),
                     OPTIONS_RUN);
    assert_int_equal(options.notice_count, 6);
    assert_int_equal(options.memcached.idle_timeout_s, 90000);
}

static void a_socket_takes_the_place_of_tcp(void **state) {
    (void)state;
    const struct config_pool *pool = configure("-s /tmp/x.sock -p 0");
    assert_int_equal(faults.count, 0);
    assert_int_equal(pool->listen_count, 1);
    assert_string_equal(pool->listens[0].address.text, "unix:/tmp/x.sock");
}

static void listen_may_be_given_again_and_an_asterisk_is_every_address(void **state) {
    (void)state;
    const struct config_pool *pool =
        configure("-p 5 -l 127.0.0.1:6,::1 -l *:7 --listen=* --insecure");
    static const char *const expected[] = {"127.0.0.1:6", "[::1]:5", "0.0.0.0:7", "0.0.0.0:5"};
    for (unsigned i = 0; i < 4; i++) {
        assert_true(listens_on(pool, expected[i]));
    }
    /* and of IPv6, if the machine has it; [::1]:5 and [::]:5 then overlap */
    assert_int_equal(listens_on(pool, "[::]:7"), pool->listen_count == 6);
}

static void port_0_leaves_the_addresses_that_have_a_port(void **state) {
    (void)state;
    const struct config_pool *pool = configure("-p 0 -l 127.0.0.1:6");
    assert_int_equal(faults.count, 0);
    assert_int_equal(pool->listen_count, 1);
}

static void a_socket_is_for_its_user_alone_unless_a_mask_says_otherwise(void **state) {
    (void)state;
    assert_int_equal(configure("-s /tmp/x.sock")->socket_mode, 0700);
    clear(NULL);
    prepare(NULL);
    assert_int_equal(configure("-s /tmp/x.sock -a 0777")->socket_mode, 0777);
}

static void relative_paths_are_of_the_folder_of_the_start(void **state) {
    (void)state;
    char folder[PATH_MAX];
    char expected[PATH_MAX + 8];
    assert_non_null(getcwd(folder, sizeof folder));
    const struct config_pool *pool = configure("-s x.sock -P run/pid");
    snprintf(expected, sizeof expected, "%s/x.sock", folder);
    assert_string_equal(address_path(&pool->listens[0].address), expected);
    snprintf(expected, sizeof expected, "%s/run/pid", folder);
    assert_string_equal(options.process.pid_file, expected);
}

static void disabled_evictions_make_a_full_pool_refuse(void **state) {
    (void)state;
    assert_false(configure("-M")->options.evict);
    assert_int_equal(config->backlog, SOMAXCONN);
    clear(NULL);
    prepare(NULL);
    configure("-b 77");
    assert_int_equal(config->backlog, 77);
}

static void what_is_about_the_process_goes_with_a_file_too(void **state) {
    (void)state;
    assert_int_equal(parse("-c ./f -d -u nobody -P /p -k -r -v"), OPTIONS_RUN);
    assert_false(options.memcached.given);
    assert_true(options.process.daemon && options.process.lock_memory &&
                options.process.core_dumps && options.process.verbosity > 0);
    assert_string_equal(options.process.pid_file, "/p");
    /* Without a file, only memcached's pool: nobody who runs memcached -d asks for a sessions pool.
     */
    configure("-d");
    assert_int_equal(config->pool_count, 1);
}

static void what_has_no_equivalent_is_accepted_and_noticed(void **state) {
    (void)state;
    assert_int_equal(
        parse("-f 1.05 -n 96 --disable-cas -L -o no_modern,hashpower=20,slab_automove"),
        OPTIONS_RUN);
    static const char *const expected[] = {
        "-f 1.05 ",      "-n 96 ",        "--disable-cas ",   "-L ",
        "-o no_modern ", "-o hashpower ", "-o slab_automove "};
    assert_int_equal(options.notice_count, 7);
    for (unsigned i = 0; i < 7; i++) {
        assert_ptr_equal(strstr(options.notices[i], expected[i]), options.notices[i]);
    }
    char many[OPTIONS_NOTICES_MAX + 16] = "-"; /* the number of notices has a limit */
    memset(many + 1, 'L', OPTIONS_NOTICES_MAX + 5);
    assert_int_equal(parse(many), OPTIONS_RUN);
    assert_int_equal(options.notice_count, OPTIONS_NOTICES_MAX);
}

static void an_extended_setting_is_checked(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "-o bogus",
        "-o modern,bogus",
        "-o hashpower",
        "-o hashpower=",
        "-o track_sizes=1",
        "-o ext_path=/f:1m",
        "-o proxy_config=/f.lua",
        "-o no_maxconns_fast",
        "-o",
        "-o relaxed_privileges=1",
        "-o ssl_verify_mode=1",
        "-o ssl_min_version=3",
        "-o ssl_keyformat=DER",
        "-o ssl_ciphers=x",
        "-Z",
        "-Z -o ssl_verify_mode=2,ssl_chain_cert=/c",
        "-o idle_timeout=x",
        "-o read_buf_mem_limit=x",
        "-B foo",
        "-R 0",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(parse(wrong[i]), OPTIONS_WRONG);
    }
}

static void what_bounds_and_protects_connections_is_the_pools(void **state) {
    (void)state;
    const struct config_pool *pool =
        configure("-R 20 -o idle_timeout=90,read_buf_mem_limit=20,resp_obj_mem_limit=5 -B ascii -Y "
                  "/users -Z -o ssl_chain_cert=/c,ssl_key=/k "
                  "-o ssl_verify_mode=2,ssl_ca_cert=/a -l notls:127.0.0.1:5,127.0.0.2:6");
    assert_int_equal(faults.count, 0);
    assert_int_equal(config->requests_per_turn, 20);
    assert_int_equal(config->connection_idle_s, 90);
    assert_int_equal(config->connection_memory_bytes, 25 << 20);
    assert_int_equal(pool->protocols, PROTO_ALLOWED_TEXT);
    assert_string_equal(pool->auth_file, "/users");
    assert_string_equal(pool->tls_cert, "/c");
    assert_string_equal(pool->tls_key, "/k");
    assert_string_equal(pool->tls_ca, "/a");
    assert_true(pool->listens[0].plain);
    assert_string_equal(pool->listens[0].address.text, "127.0.0.1:5");
    assert_false(pool->listens[1].plain);
}

static void a_key_may_be_in_the_file_of_its_certificate(void **state) {
    (void)state;
    const struct config_pool *pool = configure("-Z -o ssl_chain_cert=/c,ssl_ca_cert=/a");
    assert_string_equal(pool->tls_key, "/c");
    assert_string_equal(pool->tls_ca, ""); /* memcached asks for none without ssl_verify_mode */
    assert_int_equal(options.notice_count, 1);
}

static void sasl_needs_users(void **state) {
    (void)state;
    unsetenv("MEMCACHED_SASL_PWDB");
    assert_int_equal(parse("-S"), OPTIONS_WRONG);
    assert_int_equal(parse("-S -Y /users -B ascii"), OPTIONS_WRONG);
    assert_string_equal(configure("-S -Y /users")->auth_file, "/users");
    setenv("MEMCACHED_SASL_PWDB", "/passwords", 1);
    clear(NULL);
    prepare(NULL);
    assert_string_equal(configure("-S")->auth_file, "/passwords");
    unsetenv("MEMCACHED_SASL_PWDB");
}

static void an_address_without_client_certificates_has_to_be_meant(void **state) {
    (void)state;
    configure("-Z -o ssl_chain_cert=/c,ssl_verify_mode=2,ssl_ca_cert=/a -l 0.0.0.0");
    assert_int_equal(faults.count, 0);
    clear(NULL);
    prepare(NULL);
    configure("-Z -o ssl_chain_cert=/c,ssl_verify_mode=2,ssl_ca_cert=/a -l notls:0.0.0.0");
    assert_int_equal(faults.count, 1);
    clear(NULL);
    prepare(NULL);
    configure("-Z -o ssl_chain_cert=/c -l 0.0.0.0"); /* encrypted, and open to everybody */
    assert_int_equal(faults.count, 1);
    assert_non_null(strstr(faults.items[0].text, "does not authenticate clients"));
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
    assert_true(options.memcached.given);
    assert_null(options.config_path);
    assert_int_equal(parse("-c ./100"), OPTIONS_RUN);
    assert_false(options.memcached.given);
    assert_string_equal(options.config_path, "./100");
    assert_int_equal(parse("--config=100 --check"), OPTIONS_RUN);
    assert_string_equal(options.config_path, "100");
    assert_true(options.check);
}

static void what_is_wrong_is_not_run(void **state) {
    (void)state;
    static const char *const lines[] = {
        "-p",
        "-p x",
        "-p 65536",
        "-p -2",
        "-m 0",
        "-m 64G",
        "-m m",
        "-I 0",
        "-I 129m",
        "-t 0",
        "-t 65",
        "-U 11211",
        "-I 1023",
        "-a 9",
        "-a 1000",
        "-a 0x7",
        "-b x",
        "-b -1",
        "-P",
        "-u",
        "-e f",
        "-o x",
        "-Q",
        "--bogus",
        "--port",
        "--check=x",
        "stray",
        "-c f -p 5",
        "-c 5 -c f",
        "--conn-limit=x",
        "--threads=many",
        "-c",
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
        WITH_CONFIG(what_memcached_ignores_is_a_notice),
        WITH_CONFIG(a_port_of_minus_1_is_any),
        WITH_CONFIG(the_pool_has_room_for_its_largest_item),
        WITH_CONFIG(tls_may_be_named_for_an_address),
        WITH_CONFIG(what_is_wrong_in_an_address_is_a_fault),
        WITH_CONFIG(an_address_may_have_a_protocol_and_a_tag),
        WITH_CONFIG(a_name_stands_for_all_of_its_addresses),
        WITH_CONFIG(listen_may_be_given_again_and_an_asterisk_is_every_address),
        WITH_CONFIG(port_0_leaves_the_addresses_that_have_a_port),
        WITH_CONFIG(a_socket_is_for_its_user_alone_unless_a_mask_says_otherwise),
        WITH_CONFIG(relative_paths_are_of_the_folder_of_the_start),
        WITH_CONFIG(disabled_evictions_make_a_full_pool_refuse),
        WITH_CONFIG(what_is_about_the_process_goes_with_a_file_too),
        WITH_CONFIG(what_has_no_equivalent_is_accepted_and_noticed),
        WITH_CONFIG(an_extended_setting_is_checked),
        WITH_CONFIG(what_bounds_and_protects_connections_is_the_pools),
        WITH_CONFIG(a_key_may_be_in_the_file_of_its_certificate),
        WITH_CONFIG(sasl_needs_users),
        WITH_CONFIG(an_address_without_client_certificates_has_to_be_meant),
        WITH_CONFIG(nowhere_to_listen_is_a_fault),
        WITH_CONFIG(an_address_of_the_network_has_to_be_meant),
        WITH_CONFIG(a_number_after_c_is_memcacheds_and_else_a_file),
        WITH_CONFIG(what_is_wrong_is_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
