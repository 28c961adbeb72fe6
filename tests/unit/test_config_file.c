/* The configuration: what each key sets, the default of each key, and that every fault is reported.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stayd/config_file.h"
#include "stayd/directories.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/stayd-config-XXXXXX";
static struct config *config;
static struct faults faults;

static int prepare(void **state) {
    (void)state;
    setenv("STATE_DIRECTORY", "/var/lib/stayd:/other", 1);
    setenv("RUNTIME_DIRECTORY", "/run/stayd", 1);
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    config = config_create();
    faults_init(&faults, path);
    return fd < 0;
}

static int clear(void **state) {
    (void)state;
    unlink(path);
    config_destroy(config);
    return 0;
}

static void read_bytes(const char *text, size_t size) {
    FILE *stream = fopen(path, "w");
    assert_int_equal(fwrite(text, 1, size, stream), size);
    fclose(stream);
    config_file_read(path, config, &faults);
}

static void read_text(const char *text) {
    read_bytes(text, strlen(text));
}

static void expect_valid(void) {
    if (faults.count > 0) {
        faults_print(&faults, stderr);
    }
    assert_int_equal(faults.count, 0);
}

/* The fault number `place` is on this line, and its message contains `part`. */
static void expect_fault(size_t place, unsigned line, const char *part) {
    assert_true(place < faults.count);
    assert_int_equal(faults.items[place].line, line);
    if (strstr(faults.items[place].text, part) == NULL) {
        print_error("'%s' is not in '%s'\n", part, faults.items[place].text);
        fail();
    }
}

static void expect_one_fault(unsigned line, const char *part) {
    expect_fault(0, line, part);
    assert_int_equal(faults.count, 1);
}

static void without_a_file_there_are_the_two_pools_of_the_design(void **state) {
    (void)state;
    config_add_builtin_pools(config);
    config_check(config, &faults);
    expect_valid();
    assert_int_equal(config->pool_count, 2);
    const struct config_pool *cache = config_find_pool(config, "cache");
    const struct config_pool *sessions = config_find_pool(config, "sessions");
    assert_string_equal(cache->listens[0].address.text, "127.0.0.1:11211");
    assert_string_equal(cache->listens[1].address.text, "unix:/run/stayd/cache.sock");
    assert_true(cache->options.evict && !cache->options.persist);
    assert_string_equal(sessions->listens[0].address.text, "127.0.0.1:11200");
    assert_string_equal(sessions->listens[1].address.text, "unix:/run/stayd/sessions.sock");
    assert_true(!sessions->options.evict && sessions->options.persist);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(config->pools[i].options.memory_bytes, 64 << 20);
        assert_int_equal(config->pools[i].options.item_max_bytes, 1 << 20);
        assert_int_equal(config->pools[i].options.fsync, POOL_FSYNC_EVERYSEC);
    }
}

static void keys_that_are_not_there_have_the_defaults_of_the_design(void **state) {
    (void)state;
    read_text("[pool a]\nlisten = unix:a.sock\n");
    expect_valid();
    assert_true(config->threads >= 1 && config->threads <= 8);
    assert_int_equal(config->max_connections, 4096);
    assert_int_equal(config->send_timeout_s, 30);
    assert_true(config->has_admin);
    assert_string_equal(config->admin.address.text, "127.0.0.1:11280");
    assert_string_equal(config->data_dir, "/var/lib/stayd");
    assert_string_equal(config->run_dir, "/run/stayd");
    assert_int_equal(config->pools[0].options.memory_bytes, 64 << 20);
    assert_int_equal(config->pools[0].options.item_max_bytes, 1 << 20);
    assert_true(config->pools[0].options.evict && !config->pools[0].options.persist);
    assert_false(config->pools[0].insecure);
}

static void every_key_is_taken(void **state) {
    (void)state;
    read_text("; comment\n# comment\n\n"
              "[pool early]\n"
              "listen = unix:early.sock , [::1]:5, 0.0.0.0:6 ; the socket is under run_dir\n"
              "memory=1G\n"
              "  item_max : 2m\n"
              "evict = no\npersist = yes\nfsync = no\ninsecure = yes\n"
              "socket_mode = 0606\n"
              "[server]\r\n"
              "threads = 3\r\n"
              "data_dir = /d\nrun_dir = /r\nadmin = [::]:7\ninsecure = yes\n"
              "max_connections = 99\nsend_timeout = 2m\nbacklog = 77\n");
    expect_valid();
    assert_int_equal(config->threads, 3);
    assert_int_equal(config->max_connections, 99);
    assert_int_equal(config->send_timeout_s, 120);
    assert_int_equal(config->backlog, 77);
    assert_string_equal(config->data_dir, "/d");
    assert_string_equal(config->run_dir, "/r");
    assert_string_equal(config->admin.address.text, "[::]:7");
    assert_int_equal(config->pool_count, 1);
    const struct config_pool *pool = &config->pools[0];
    assert_string_equal(pool->options.name, "early");
    assert_int_equal(pool->listen_count, 3);
    assert_string_equal(pool->listens[0].address.text, "unix:/r/early.sock");
    assert_string_equal(pool->listens[1].address.text, "[::1]:5");
    assert_string_equal(pool->listens[2].address.text, "0.0.0.0:6");
    assert_int_equal(pool->options.memory_bytes, 1 << 30);
    assert_int_equal(pool->options.item_max_bytes, 2 << 20);
    assert_true(!pool->options.evict && pool->options.persist);
    assert_int_equal(pool->options.fsync, POOL_FSYNC_NO);
    assert_int_equal(pool->socket_mode, 0606);
    assert_string_equal(pool->options.data_dir, "/d");
    assert_string_equal(pool->options.run_dir, "/r");
}

static void a_pool_with_a_file_does_not_evict_unless_told_to(void **state) {
    (void)state;
    read_text("[pool a]\nlisten = unix:a\npersist = yes\n"
              "[pool b]\nlisten = unix:b\npersist = yes\nevict = yes\n"
              "[pool c]\nlisten = unix:c\nevict = yes\npersist = yes\n"
              "[pool d]\nlisten = unix:d\npersist = no\n");
    expect_valid();
    assert_false(config->pools[0].options.evict);
    assert_true(config->pools[1].options.evict);
    assert_true(config->pools[2].options.evict);
    assert_true(config->pools[3].options.evict);
}

static void the_admin_page_can_be_left_out(void **state) {
    (void)state;
    read_text("[server]\nadmin = no\n[pool a]\nlisten = 127.0.0.1:11280\n");
    expect_valid();
    assert_false(config->has_admin);
}

static void every_fault_is_told_in_the_order_of_lines(void **state) {
    (void)state;
    read_text("x = 1\n"              /* 1 */
              "[server]\n"           /* 2 */
              "threads = 0\n"        /* 3 */
              "threads = 2\n"        /* 4 */
              "bogus = 3\n"          /* 5 */
              "send_timeout = 5x\n"  /* 6 */
              "max_connections\n"    /* 7 */
              "[nothing]\n"          /* 8 */
              "a = b\n"              /* 9: its fault is that of line 8 */
              "[pool a b]\n"         /* 10 */
              "memory = 64Q\n"       /* 11 */
              "[pool c]\n"           /* 12 */
              "listen = , foo:5\n"   /* 13: two */
              "fsync = sometimes\n"  /* 14 */
              "evict = maybe\n"      /* 15 */
              "item_max =\n"         /* 16 */
              "[pool c]\n"           /* 17 */
              "[pool d\n"            /* 18 */
              "[pool e]\n"           /* 19 */
              "listen = 0.0.0.0:1\n" /* 20 */
              "[server]\n");         /* 21 */
    static const struct {
        unsigned line;
        const char *part;
    } expected[] = {
        {1, "outside any section"}, {3, "from 1 to 64"}, {4, "on line 3"},   {5, "'bogus'"},
        {6, "s, m, h or d"},        {7, "no value"},     {8, "[nothing]"},   {10, "name"},
        {11, "K, M or G"},          {13, "comma"},       {13, "foo"},        {14, "everysec"},
        {15, "yes or no"},          {16, "no value"},    {17, "on line 12"}, {18, "]"},
        {20, "insecure = yes"},     {21, "on line 2"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        expect_fault(i, expected[i].line, expected[i].part);
    }
    assert_int_equal(faults.count, sizeof expected / sizeof expected[0]);
}

static void half_of_what_tls_takes_is_a_fault(void **state) {
    (void)state;
    static const struct {
        const char *lines;
        const char *reason;
    } halves[] = {
        {"listen = 127.0.0.1:5\ntls_cert = /a\n", "a tls_cert without a tls_key"},
        {"listen = 127.0.0.1:5\ntls_key = /a\n", "a tls_key without a tls_cert"},
        {"listen = 127.0.0.1:5\ntls_ca = /a\n", "no tls_cert and tls_key of its own"},
        {"listen = unix:a\ntls_cert = /a\ntls_key = /b\n", "listens on Unix sockets only"},
        {"listen = 127.0.0.1:5\ntls_ca = a\n", "absolute path"},
    };
    for (size_t i = 0; i < sizeof halves / sizeof halves[0]; i++) {
        char text[200];
        clear(NULL);
        prepare(NULL);
        snprintf(text, sizeof text, "[pool a]\n%s", halves[i].lines);
        read_text(text);
        expect_one_fault(3, halves[i].reason);
    }
}

static void tls_with_client_certificates_allows_a_pool_to_listen_to_everybody(void **state) {
    (void)state;
    read_text("[pool a]\nlisten = 0.0.0.0:5\ntls_cert = /a\ntls_key = /b\ntls_ca = /c\n");
    expect_valid();
    assert_true(config_pool_has_tls(&config->pools[0]));
    assert_string_equal(config->pools[0].tls_cert, "/a");
    assert_string_equal(config->pools[0].tls_key, "/b");
    assert_string_equal(config->pools[0].tls_ca, "/c");
}

static void tls_alone_does_not_allow_a_pool_to_listen_to_everybody(void **state) {
    (void)state;
    read_text("[pool a]\nlisten = 0.0.0.0:5\ntls_cert = /a\ntls_key = /b\n");
    expect_one_fault(2, "TLS without tls_ca encrypts, but does not authenticate clients");
    clear(NULL);
    prepare(NULL);
    read_text("[pool a]\nlisten = 0.0.0.0:5\ntls_cert = /a\ntls_key = /b\ninsecure = yes\n");
    expect_valid();
}

static void the_operators_commands_are_for_this_machine_unless_told_otherwise(void **state) {
    (void)state;
    read_text("[pool a]\nlisten = unix:a\n[pool b]\nlisten = unix:b\nadmin_commands = yes\n"
              "[pool c]\nlisten = unix:c\nadmin_commands = no\n");
    expect_valid();
    assert_int_equal(config->pools[0].admin_commands, PROTO_ADMIN_LOCAL);
    assert_int_equal(config->pools[1].admin_commands, PROTO_ADMIN_ALL);
    assert_int_equal(config->pools[2].admin_commands, PROTO_ADMIN_NONE);
    clear(NULL);
    prepare(NULL);
    read_text("[pool a]\nlisten = unix:a\nadmin_commands = everybody\n");
    expect_one_fault(3, "yes, no or local");
}

static void an_auth_file_allows_a_pool_to_listen_to_everybody(void **state) {
    (void)state;
    read_text("[pool a]\nlisten = 0.0.0.0:5\nauth_file = /etc/stayd/users\n");
    expect_valid();
    assert_string_equal(config->pools[0].auth_file, "/etc/stayd/users");
    clear(NULL);
    prepare(NULL);
    read_text("[pool a]\nlisten = unix:a\nauth_file = users\n");
    expect_one_fault(3, "absolute path");
}

static void an_address_twice_is_a_fault_that_names_the_other(void **state) {
    (void)state;
    read_text("[pool a]\nlisten = 127.0.0.1:5\n[pool b]\nlisten = unix:b, localhost:5\n");
    expect_one_fault(4, "on line 2");
}

static void an_address_within_another_is_a_fault(void **state) {
    (void)state;
    static const char *const listens[] = {
        "127.0.0.1:5, 0.0.0.0:5",
        "0.0.0.0:5, 127.0.0.1:5",
        "[::]:5, [::1]:5",
        "unix:/tmp/a.sock, unix:/tmp/../tmp/a.sock",
    };
    for (size_t i = 0; i < sizeof listens / sizeof listens[0]; i++) {
        char text[200];
        clear(NULL);
        prepare(NULL);
        snprintf(text, sizeof text, "[pool a]\ninsecure = yes\nlisten = %s\n", listens[i]);
        read_text(text);
        expect_one_fault(3, "cannot both be listened on");
    }
    clear(NULL);
    prepare(NULL);
    read_text("[pool a]\ninsecure = yes\nlisten = 0.0.0.0:5, [::]:5, unix:/tmp/a, unix:/tmp/b\n");
    expect_valid();
}

static void what_does_nothing_is_a_fault(void **state) {
    (void)state;
    static const struct {
        const char *lines;
        unsigned line;
        const char *reason;
    } cases[] = {
        {"[pool a] evict = no\nlisten = unix:a\n", 1, "text after the section's name"},
        {"[pool a]\nlisten = unix:a,\n", 2, "extra comma"},
        {"[pool a]\nlisten = unix:a\nfsync = always\n", 3, "persist = yes"},
        {"[pool a]\nfsync = always\nlisten = unix:a\npersist = no\n", 2, "persist = yes"},
        {"[pool a]\nlisten = 127.0.0.1:5\nsocket_mode = 0600\n", 3, "Unix socket"},
        {"[server]\nadmin_hosts = a.example, b:80\n[pool a]\nlisten = unix:a\n", 2, "host names"},
        {"[server]\nadmin_hosts = a.example,\n[pool a]\nlisten = unix:a\n", 2, "host names"},
        {"[server]\nadmin_tls_key = /k\n[pool a]\nlisten = unix:a\n", 2,
         "without an admin_tls_cert"},
        {"[server]\nadmin_auth_file = /u\nadmin = no\n[pool a]\nlisten = unix:a\n", 2, "no effect"},
        {"[server]\nadmin = [::]:7\nadmin_auth_file = /u\n[pool a]\nlisten = unix:a\n", 2,
         "without TLS"},
        {"[server]\nconnection_memory = 1\n[pool a]\nlisten = unix:a\n", 2, "item_max of pool a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        clear(NULL);
        prepare(NULL);
        read_text(cases[i].lines);
        expect_one_fault(cases[i].line, cases[i].reason);
    }
    clear(NULL);
    prepare(NULL);
    read_text("[pool a] ; evict = no\nlisten = unix:a\nfsync = always\nsocket_mode = 0600\n"
              "persist = yes\n");
    expect_valid();
}

static void a_pool_that_takes_the_address_of_the_admin_page_is_a_fault(void **state) {
    (void)state;
    read_text("[pool a]\nlisten = 127.0.0.1:11280\n");
    expect_one_fault(2, "admin page");
}

static void a_pool_without_an_address_is_a_fault(void **state) {
    (void)state;
    read_text("[server]\n[pool a]\nmemory = 64M\n");
    expect_one_fault(2, "has no address");
}

static void options_that_do_not_go_together_are_a_fault_of_the_pool(void **state) {
    (void)state;
    read_text("[pool a]\nlisten = unix:a\nmemory = 4M\nitem_max = 8M\n");
    expect_one_fault(1, "pool a");
}

static void a_file_without_a_pool_is_a_fault(void **state) {
    (void)state;
    read_text("[server]\nthreads = 1\n");
    expect_one_fault(0, "no pool");
}

static void a_file_that_cannot_be_read_is_a_fault(void **state) {
    (void)state;
    config_file_read("/nonexistent/stayd.conf", config, &faults);
    expect_one_fault(0, "No such file");
}

static void a_line_that_is_too_long_or_binary_is_a_fault_and_the_next_are_read(void **state) {
    (void)state;
    static char text[10000] = "[pool a]\nlisten = unix:a\n";
    memset(text + strlen(text), 'x', 6000);
    strcat(text, "\nbogus = 1\n");
    read_text(text);
    expect_fault(0, 3, "longer than");
    expect_fault(1, 4, "'bogus'");
    assert_int_equal(faults.count, 2);

    clear(NULL);
    prepare(NULL);
    static const char binary[] = "[pool a]\nlisten = unix:a\nev\0ict = no\nbogus = 1\n";
    read_bytes(binary, sizeof binary - 1);
    expect_fault(0, 3, "zero byte");
    expect_fault(1, 4, "'bogus'");
}

static void a_byte_order_mark_and_a_missing_last_newline_are_no_faults(void **state) {
    (void)state;
    read_text("\xEF\xBB\xBF[pool a]\nlisten = unix:a");
    expect_valid();
    assert_int_equal(config->pools[0].listen_count, 1);
}

static void as_many_pools_and_addresses_as_fit_and_no_more(void **state) {
    (void)state;
    char text[8192] = "";
    for (unsigned i = 0; i <= CONFIG_POOLS_MAX; i++) {
        sprintf(text + strlen(text), "[pool p%u]\nlisten = unix:%u\n", i, i);
    }
    read_text(text);
    expect_one_fault(2 * CONFIG_POOLS_MAX + 1, "at most 32 pools");

    clear(NULL);
    prepare(NULL);
    strcpy(text, "[pool a]\nlisten = ");
    for (unsigned i = 0; i <= CONFIG_LISTENS_MAX; i++) {
        sprintf(text + strlen(text), "%sunix:%u", i > 0 ? "," : "", i);
    }
    read_text(text);
    expect_one_fault(2, "at most 16 addresses");
}

static void folders_come_from_systemd_then_xdg_then_home(void **state) {
    (void)state;
    char folder[PATH_MAX];
    setenv("XDG_STATE_HOME", "/xdg/state", 1);
    setenv("XDG_RUNTIME_DIR", "/xdg/run", 1);
    setenv("HOME", "/home/u", 1);
    directories_default_data(folder);
    assert_string_equal(folder, "/var/lib/stayd");
    directories_default_run(folder);
    assert_string_equal(folder, "/run/stayd");

    unsetenv("STATE_DIRECTORY");
    unsetenv("RUNTIME_DIRECTORY");
    directories_default_data(folder);
    assert_string_equal(folder, "/xdg/state/stayd");
    directories_default_run(folder);
    assert_string_equal(folder, "/xdg/run/stayd");

    setenv("XDG_STATE_HOME", "relative", 1);
    unsetenv("XDG_RUNTIME_DIR");
    directories_default_data(folder);
    assert_string_equal(folder, "/home/u/.local/state/stayd");
    directories_default_run(folder);
    assert_non_null(strstr(folder, "/tmp/stayd-"));
}

static void errors_beyond_the_limit_are_counted(void **state) {
    (void)state;
    char text[2000] = "[pool a]\nlisten = unix:a\n";
    for (int i = 0; i < FAULTS_MAX + 3; i++) {
        strcat(text, "bogus\n");
    }
    read_text(text);
    assert_int_equal(faults.count, FAULTS_MAX);
    assert_int_equal(faults.left_out, 3);
    char printed[64] = "";
    char *all = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&all, &size);
    faults_print(&faults, stream);
    fclose(stream);
    snprintf(printed, sizeof printed, "%s: further errors: 3\n", path);
    assert_string_equal(all + size - strlen(printed), printed);
    free(all);
}

int main(void) {
#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, prepare, clear)
    const struct CMUnitTest tests[] = {
        WITH_FILE(without_a_file_there_are_the_two_pools_of_the_design),
        WITH_FILE(keys_that_are_not_there_have_the_defaults_of_the_design),
        WITH_FILE(every_key_is_taken),
        WITH_FILE(a_pool_with_a_file_does_not_evict_unless_told_to),
        WITH_FILE(the_admin_page_can_be_left_out),
        WITH_FILE(every_fault_is_told_in_the_order_of_lines),
        WITH_FILE(errors_beyond_the_limit_are_counted),
        WITH_FILE(half_of_what_tls_takes_is_a_fault),
        WITH_FILE(tls_with_client_certificates_allows_a_pool_to_listen_to_everybody),
        WITH_FILE(tls_alone_does_not_allow_a_pool_to_listen_to_everybody),
        WITH_FILE(the_operators_commands_are_for_this_machine_unless_told_otherwise),
        WITH_FILE(an_auth_file_allows_a_pool_to_listen_to_everybody),
        WITH_FILE(an_address_twice_is_a_fault_that_names_the_other),
        WITH_FILE(an_address_within_another_is_a_fault),
        WITH_FILE(what_does_nothing_is_a_fault),
        WITH_FILE(a_pool_that_takes_the_address_of_the_admin_page_is_a_fault),
        WITH_FILE(a_pool_without_an_address_is_a_fault),
        WITH_FILE(options_that_do_not_go_together_are_a_fault_of_the_pool),
        WITH_FILE(a_file_without_a_pool_is_a_fault),
        WITH_FILE(a_file_that_cannot_be_read_is_a_fault),
        WITH_FILE(a_line_that_is_too_long_or_binary_is_a_fault_and_the_next_are_read),
        WITH_FILE(a_byte_order_mark_and_a_missing_last_newline_are_no_faults),
        WITH_FILE(as_many_pools_and_addresses_as_fit_and_no_more),
        WITH_FILE(folders_come_from_systemd_then_xdg_then_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
