/* Which server has which key, compared with the results of libmemcached and pymemcache
 * (tests/unit/vectors). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stayd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX = 512 };

static enum stayd_distribution read_distribution(const char *name) {
    return strcmp(name, "ketama") == 0            ? STAYD_KETAMA
           : strcmp(name, "ketama_weighted") == 0 ? STAYD_KETAMA_WEIGHTED
           : strcmp(name, "ketama_md5") == 0      ? STAYD_KETAMA_MD5
           : strcmp(name, "rendezvous") == 0      ? STAYD_RENDEZVOUS
                                                  : STAYD_MODULA;
}

/* A client for a line such as "= ketama a:11211 b:11212". */
static struct stayd *open_group(char *line) {
    struct stayd_options options;
    struct stayd_error error;
    stayd_options_init(&options);
    char *name = line + 2;
    char *servers = strchr(name, ' ');
    assert_non_null(servers);
    *servers++ = '\0';
    options.distribution = read_distribution(name);
    struct stayd *client = stayd_open(servers, &options, &error);
    assert_non_null(client);
    return client;
}

static void check_file(const char *name, unsigned groups_expected) {
    char path[LINE_MAX];
    char line[LINE_MAX];
    char group[LINE_MAX] = "";
    struct stayd *client = NULL;
    unsigned groups = 0;
    unsigned wrong = 0;
    snprintf(path, sizeof path, "%s/vectors/%s", getenv("STAYD_UNIT_TESTS"), name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '=') {
            stayd_close(client);
            strcpy(group, line);
            client = open_group(line);
            groups++;
            continue;
        }
        char *number = strrchr(line, ' ');
        assert_non_null(number);
        *number++ = '\0';
        unsigned server = stayd_server_of(client, line, strlen(line));
        if (server != strtoul(number, NULL, 10)) {
            print_error("%s: %s is on %u, not on %s\n", group, line, server, number);
            wrong++;
        }
    }
    stayd_close(client);
    fclose(file);
    assert_int_equal(wrong, 0);
    assert_int_equal(groups, groups_expected);
}

static void keys_are_where_libmemcached_looks_for_them(void **state) {
    (void)state;
    check_file("servers-libmemcached.txt", 18);
}

static void keys_are_where_pymemcache_looks_for_them(void **state) {
    (void)state;
    check_file("servers-pymemcache.txt", 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_where_libmemcached_looks_for_them),
        cmocka_unit_test(keys_are_where_pymemcache_looks_for_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
