#include "client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENT_KEY_MAX = 250,
    CLIENT_VALUE_MAX = 1 << 30 /* memcached cannot parse a size of 2 GiB or more, and then runs the
                                * data as commands */
};

static const char client_separators[] = ",; \t\r\n";

enum stayd_status client_refuse(struct stayd_error *error, enum stayd_status status,
                                const char *format, ...) {
    if (error != NULL) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        error->timed_out = 0;
        error->system_error = 0;
        error->server = -1;
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}

/* Copies the fields that the caller's version of the struct has. The others stay 0. */
static bool client_take_options(struct stayd_options *own, const struct stayd_options *given) {
    stayd_options_init(own);
    if (given == NULL) {
        return true;
    }
    if (given->size < offsetof(struct stayd_options, timeout_ms) || given->size > sizeof *own) {
        return false;
    }
    memcpy(own, given, given->size);
    return true;
}

/* Only restart_wait_ms has a meaning below 0. */
static bool client_has_times(const struct stayd_options *options) {
    return options->connect_timeout_ms >= 0 && options->timeout_ms >= 0 &&
           options->total_timeout_ms >= 0 && options->idle_timeout_ms >= 0;
}

/* The next URL of a list; empty at its end. */
static struct bytes client_next_url(const char **list) {
    const char *begin = *list + strspn(*list, client_separators);
    size_t size = strcspn(begin, client_separators);
    *list = begin + size;
    return bytes_from(begin, size);
}

static bool client_add_servers(struct stayd *client, struct url *urls, const char *list,
                               const struct stayd_options *options, char message[STAYD_ERROR_MAX]) {
    for (unsigned i = 0; i < client->server_count; i++) {
        if (!url_parse(&urls[i], client_next_url(&list), message)) {
            return false;
        }
    }
    if (!ring_init(&client->ring, options->distribution, urls, client->server_count)) {
        snprintf(message, STAYD_ERROR_MAX, "the client cannot be made: no memory");
        return false;
    }
    for (unsigned i = 0; i < client->server_count; i++) {
        if (!server_init(&client->servers[i], &urls[i], options, message)) {
            return false;
        }
    }
    return true;
}

struct stayd *stayd_open(const char *servers, const struct stayd_options *options,
                         struct stayd_error *error) {
    struct stayd_options own;
    unsigned count = 0;
    if (!client_take_options(&own, options)) {
        client_refuse(error, STAYD_INVALID,
                      "stayd_options.size is not one that this library knows: call "
                      "stayd_options_init, and use a library of the header's version or later");
        return NULL;
    }
    if (!client_has_times(&own)) {
        client_refuse(error, STAYD_INVALID,
                      "a time in stayd_options is below 0: only restart_wait_ms may be");
        return NULL;
    }
    for (const char *list = servers; client_next_url(&list).size > 0;) {
        count++;
    }
    if (count == 0 || count > CLIENT_SERVERS_MAX || (unsigned)own.distribution > STAYD_KETAMA_MD5) {
        client_refuse(error, STAYD_INVALID,
                      "'%.200s' names %u servers: there must be 1 to %d, and the distribution must "
                      "be one that stayd.h lists",
                      servers, count, CLIENT_SERVERS_MAX);
        return NULL;
    }
    struct stayd *client = calloc(1, sizeof *client);
    struct url *urls = calloc(count, sizeof *urls);
    if (client != NULL) {
        client->servers = calloc(count, sizeof *client->servers);
    }
    char message[STAYD_ERROR_MAX];
    bool made = false;
    if (client == NULL || urls == NULL || client->servers == NULL ||
        !process_init(&client->process)) {
        client_refuse(error, STAYD_NO_MEMORY, "the client cannot be made: no memory");
    } else {
        client->server_count = count;
        client->failover = own.failover != 0;
        made = client_add_servers(client, urls, servers, &own, message);
        if (!made) {
            client_refuse(error, STAYD_INVALID, "%s", message);
        }
    }
    for (unsigned i = 0; i < count && urls != NULL; i++) {
        url_finish(&urls[i]);
    }
    free(urls);
    if (!made) {
        stayd_close(client);
        return NULL;
    }
    return client;
}

void stayd_close(struct stayd *client) {
    if (client == NULL) {
        return;
    }
    if (client->process.word != NULL) {
        client_enter(client);
    }
    for (unsigned i = 0; i < client->server_count; i++) {
        server_finish(&client->servers[i]);
    }
    ring_finish(&client->ring);
    process_finish(&client->process);
    free(client->servers);
    free(client);
}

void client_renew(struct stayd *client) {
    if (process_begin_renewal(&client->process)) {
        for (unsigned i = 0; i < client->server_count; i++) {
            server_renew(&client->servers[i]);
        }
        process_end_renewal(&client->process);
    }
}

void stayd_disconnect(struct stayd *client) {
    client_enter(client);
    for (unsigned i = 0; i < client->server_count; i++) {
        server_disconnect(&client->servers[i]);
    }
}

struct server *client_find_server(struct stayd *client, struct bytes key) {
    if (client->server_count == 1) {
        return &client->servers[0];
    }
    bool left_out[CLIENT_SERVERS_MAX];
    bool any = false;
    for (unsigned i = 0; i < client->server_count && client->failover; i++) {
        left_out[i] = availability_is_down(&client->servers[i].availability);
        any = any || left_out[i];
    }
    return &client->servers[ring_find(&client->ring, key, any ? left_out : NULL)];
}

unsigned client_server_number(const struct stayd *client, const struct server *server) {
    return (unsigned)(server - client->servers);
}

/* Has no branch for each byte: branches would take a third of a mapped read's instructions. */
static bool client_key_is_valid(const char *key, size_t size) {
    if (size < 1 || size > CLIENT_KEY_MAX) {
        return false;
    }
    unsigned char wrong = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)key[i];
        wrong |= (unsigned char)((byte <= ' ') | (byte == 0x7f));
    }
    return wrong == 0;
}

enum stayd_status client_check_key(const char *key, size_t key_size, struct stayd_error *error) {
    return client_key_is_valid(key, key_size)
               ? STAYD_OK
               : client_refuse(error, STAYD_INVALID,
                               "a key must be 1 to 250 bytes without spaces and control "
                               "characters");
}

enum stayd_status client_check_value(size_t size, struct stayd_error *error) {
    return size <= CLIENT_VALUE_MAX
               ? STAYD_OK
               : client_refuse(error, STAYD_TOO_LARGE, "a value of more than 1 GiB");
}

unsigned stayd_server_count(const struct stayd *client) {
    return client->server_count;
}

const char *stayd_server_url(const struct stayd *client, unsigned server) {
    return server < client->server_count ? client->servers[server].url.shown : NULL;
}

unsigned stayd_server_of(const struct stayd *client, const char *key, size_t key_size) {
    return ring_find(&client->ring, bytes_from(key, key_size), NULL);
}

const char *stayd_library_version(void) {
    return STAYD_VERSION;
}
