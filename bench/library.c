#include "library.h"

#include <libmemcached/memcached.h>
#include <stayd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void library_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("stayd-reads: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

/* --- libstayd --- */

static struct stayd *stayd_client;
static struct stayd_value stayd_one;
static struct stayd_item stayd_many[LIBRARY_KEYS_MAX];

static void libstayd_open(const char *server, int sockets_only) {
    struct stayd_options options;
    stayd_options_init(&options);
    options.sockets_only = sockets_only;
    struct stayd_error error;
    stayd_client = stayd_open(server, &options, &error);
    if (stayd_client == NULL || stayd_connect(stayd_client, 0, &error) != STAYD_OK) {
        library_fail("libstayd: %s", error.message);
    }
}

static void libstayd_open_mapped(const char *server) {
    libstayd_open(server, 0);
}

static void libstayd_open_sockets(const char *server) {
    libstayd_open(server, 1);
}

static void libstayd_close(void) {
    stayd_value_free(&stayd_one);
    stayd_items_free(stayd_many, LIBRARY_KEYS_MAX);
    stayd_close(stayd_client);
}

static void libstayd_get(struct library_item *item) {
    struct stayd_error error;
    enum stayd_status status =
        stayd_get(stayd_client, item->key, item->key_size, &stayd_one, &error);
    if (stayd_failed(status)) {
        library_fail("libstayd: %s", error.message);
    }
    item->value = status == STAYD_OK ? stayd_one.data : NULL;
    item->value_size = stayd_one.size;
}

static void libstayd_get_many(struct library_item *items, unsigned count) {
    struct stayd_error error;
    for (unsigned i = 0; i < count; i++) {
        stayd_many[i].key = items[i].key;
        stayd_many[i].key_size = items[i].key_size;
    }
    if (stayd_get_many(stayd_client, stayd_many, count, &error) != STAYD_OK) {
        library_fail("libstayd: %s", error.message);
    }
    for (unsigned i = 0; i < count; i++) {
        items[i].value = stayd_many[i].status == STAYD_OK ? stayd_many[i].value.data : NULL;
        items[i].value_size = stayd_many[i].value.size;
    }
}

static void libstayd_set(const char *key, size_t key_size, const char *value, size_t value_size) {
    struct stayd_error error;
    if (stayd_set(stayd_client, key, key_size, value, value_size, 0, 0, &error) != STAYD_OK) {
        library_fail("libstayd: %s", error.message);
    }
}

/* --- libmemcached --- */

static memcached_st *memcached_client;
static memcached_result_st memcached_results[LIBRARY_KEYS_MAX];

static void memcached_require(memcached_return_t status) {
    if (memcached_failed(status)) {
        library_fail("libmemcached: %s", memcached_last_error_message(memcached_client));
    }
}

static void libmemcached_open(const char *server) {
    static const char tcp[] = "memcached://";
    static const char local[] = "unix://";
    memcached_client = memcached_create(NULL);
    if (memcached_client == NULL) {
        library_fail("out of memory");
    }
    memcached_require(memcached_behavior_set(memcached_client, MEMCACHED_BEHAVIOR_TCP_NODELAY, 1));
    if (strncmp(server, local, sizeof local - 1) == 0) {
        memcached_require(
            memcached_server_add_unix_socket(memcached_client, server + sizeof local - 1));
    } else {
        char host[256];
        int port;
        if (strncmp(server, tcp, sizeof tcp - 1) != 0 ||
            sscanf(server + sizeof tcp - 1, "%255[^:]:%d", host, &port) != 2) {
            library_fail("%s: a server is memcached://HOST:PORT/ or unix:///PATH", server);
        }
        memcached_require(memcached_server_add(memcached_client, host, (in_port_t)port));
    }
    memcached_require(memcached_version(memcached_client));
    for (unsigned i = 0; i < LIBRARY_KEYS_MAX; i++) {
        memcached_result_create(memcached_client, &memcached_results[i]);
    }
}

static void libmemcached_close(void) {
    for (unsigned i = 0; i < LIBRARY_KEYS_MAX; i++) {
        memcached_result_free(&memcached_results[i]);
    }
    memcached_free(memcached_client);
}

/* Each value arrives with its key. The values are in the order of the keys; a missing key has no
 * value, and is left out. */
static void libmemcached_get_many(struct library_item *items, unsigned count) {
    const char *keys[LIBRARY_KEYS_MAX];
    size_t sizes[LIBRARY_KEYS_MAX];
    for (unsigned i = 0; i < count; i++) {
        keys[i] = items[i].key;
        sizes[i] = items[i].key_size;
        items[i].value = NULL;
    }
    memcached_require(memcached_mget(memcached_client, keys, sizes, count));
    for (unsigned i = 0;;) {
        memcached_return_t status;
        memcached_result_st *result =
            memcached_fetch_result(memcached_client, &memcached_results[i], &status);
        if (result == NULL) {
            if (status != MEMCACHED_END && status != MEMCACHED_NOTFOUND) {
                memcached_require(status);
            }
            return;
        }
        while (i < count &&
               (items[i].key_size != memcached_result_key_length(result) ||
                memcmp(items[i].key, memcached_result_key_value(result), items[i].key_size) != 0)) {
            i++;
        }
        if (i == count) {
            library_fail("libmemcached: a value for a key that was not asked for");
        }
        items[i].value = memcached_result_value(result);
        items[i].value_size = memcached_result_length(result);
        i++;
    }
}

static void libmemcached_get(struct library_item *item) {
    libmemcached_get_many(item, 1);
}

static void libmemcached_set(const char *key, size_t key_size, const char *value,
                             size_t value_size) {
    memcached_require(memcached_set(memcached_client, key, key_size, value, value_size, 0, 0));
}

static const struct library libraries[] = {
    {"libstayd", libstayd_open_mapped, libstayd_close, libstayd_get, libstayd_get_many,
     libstayd_set},
    {"libstayd-sockets", libstayd_open_sockets, libstayd_close, libstayd_get, libstayd_get_many,
     libstayd_set},
    {"libmemcached", libmemcached_open, libmemcached_close, libmemcached_get, libmemcached_get_many,
     libmemcached_set},
};

const struct library *library_find(const char *name) {
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        if (strcmp(libraries[i].name, name) == 0) {
            return &libraries[i];
        }
    }
    return NULL;
}
