/* Writes which server libmemcached chooses for each key: servers-libmemcached.txt. Debian's
 * libmemcached-dev has what it needs:
 *
 *     cc libmemcached.c -lmemcached -o /tmp/vectors && /tmp/vectors > servers-libmemcached.txt */
#include <libmemcached/memcached.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_keys(memcached_st *client) {
    static const char *const keys[] = {"k",        "session:1", ":1:django.contrib.sessions.cache",
                                       "\xc3\xa9", "a-b_c.d/e", "0123456789abcdef0123456789abcdef"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        printf("%s %u\n", keys[i], memcached_generate_hash(client, keys[i], strlen(keys[i])));
    }
    for (unsigned i = 0; i < 150; i++) {
        char key[32];
        snprintf(key, sizeof key, "key:%u", i * i * 7919);
        printf("%s %u\n", key, memcached_generate_hash(client, key, strlen(key)));
    }
}

/* `servers`: HOST:PORT[:WEIGHT] or /PATH, with spaces between them. */
static void write_group(const char *distribution, const char *servers) {
    memcached_st *client = memcached_create(NULL);
    if (strncmp(distribution, "ketama", 6) == 0) {
        memcached_behavior_set(client,
                               strcmp(distribution, "ketama_weighted") == 0
                                   ? MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED
                                   : MEMCACHED_BEHAVIOR_KETAMA,
                               1);
    }
    if (strcmp(distribution, "ketama_md5") == 0) {
        memcached_behavior_set(client, MEMCACHED_BEHAVIOR_HASH, MEMCACHED_HASH_MD5);
    }
    char *list = strdup(servers);
    printf("= %s", distribution);
    for (char *server = strtok(list, " "); server != NULL; server = strtok(NULL, " ")) {
        unsigned port = 0;
        unsigned weight = 1;
        char host[200];
        if (server[0] == '/') {
            memcached_server_add_unix_socket(client, server);
            printf(" unix://%s", server);
        } else {
            int fields = sscanf(server, "%199[^:]:%u:%u", host, &port, &weight);
            memcached_server_add_with_weight(client, host, (in_port_t)port, weight);
            printf(" %s:%u", host, port);
            if (fields == 3) {
                printf("?weight=%u", weight);
            }
        }
    }
    putchar('\n');
    write_keys(client);
    memcached_free(client);
    free(list);
}

int main(void) {
    static const char *const groups[] = {
        "10.0.0.1:11211 10.0.0.2:11211 10.0.0.3:11211", "cache1.example:11211 cache2.example:11212",
        "localhost:11211 localhost:11212 localhost:11213 localhost:11214 localhost:11215",
        "10.0.0.1:11211 /run/stayd/cache.sock"};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        write_group("modula", groups[i]);
        write_group("ketama", groups[i]);
        write_group("ketama_md5", groups[i]);
        write_group("ketama_weighted", groups[i]);
    }
    write_group("ketama_weighted", "10.0.0.1:11211:1 10.0.0.2:11211:2 10.0.0.3:11211:5");
    write_group("ketama_weighted", "a:11211:3 b:11211:3 c:11211:7 d:11299:100 e:1:1");
    return 0;
}
