#include "channel.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    KEY_MAX = 250,
    VALUE_MAX = 1 << 30,
    TTL_RELATIVE_MAX_S = 30 * 86400 /* the protocol takes a larger number as a unix time */
};

struct stayd {
    struct channel channel;
};

struct stayd *stayd_open(const char *url, unsigned timeout_ms, char error[STAYD_ERROR_MAX]) {
    struct stayd *client = calloc(1, sizeof *client);
    if (client == NULL) {
        snprintf(error, STAYD_ERROR_MAX, "cannot connect to %s: no memory", url);
        return NULL;
    }
    if (!channel_open(&client->channel, url, timeout_ms)) {
        snprintf(error, STAYD_ERROR_MAX, "%s", client->channel.error);
        free(client);
        return NULL;
    }
    return client;
}

void stayd_close(struct stayd *client) {
    if (client != NULL) {
        channel_close(&client->channel);
        free(client);
    }
}

const char *stayd_error(const struct stayd *client) {
    return client->channel.error;
}

static enum stayd_status client_refuse(struct stayd *client, enum stayd_status status,
                                       const char *reason) {
    snprintf(client->channel.error, sizeof client->channel.error, "%s", reason);
    return status;
}

static bool client_key_is_valid(const char *key, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)key[i] <= ' ' || key[i] == 0x7f) {
            return false;
        }
    }
    return size >= 1 && size <= KEY_MAX;
}

static uint64_t client_expiry(uint32_t ttl_s) {
    return ttl_s <= TTL_RELATIVE_MAX_S ? ttl_s : (uint64_t)time(NULL) + ttl_s;
}

/* Converts any reply but the expected one to a status, and sets the error. */
static enum stayd_status client_read_error(struct stayd *client, const char *line) {
    struct channel *channel = &client->channel;
    if (strcmp(line, "NOT_FOUND") == 0 || strcmp(line, "END") == 0) {
        return client_refuse(client, STAYD_NOT_FOUND, "there is no such item");
    }
    if (strcmp(line, "CLIENT_ERROR unauthenticated") == 0) {
        snprintf(channel->error, sizeof channel->error, "%s requires a user and a password",
                 channel->name);
        return STAYD_REFUSED;
    }
    if (strncmp(line, "ERROR", 5) == 0 || strncmp(line, "CLIENT_ERROR", 12) == 0 ||
        strncmp(line, "SERVER_ERROR", 12) == 0 || strcmp(line, "NOT_STORED") == 0) {
        snprintf(channel->error, sizeof channel->error, "%s answers: %.200s", channel->name, line);
        return STAYD_REFUSED;
    }
    channel_break(channel, "%s is not a memcached server: it answers '%.100s'", channel->name,
                  line);
    return STAYD_DISCONNECTED;
}

/* Sends the request, and expects this line as the reply. */
static enum stayd_status client_exchange(struct stayd *client, const char *expected) {
    if (!channel_send(&client->channel)) {
        return STAYD_DISCONNECTED;
    }
    const char *line = channel_receive_line(&client->channel);
    if (line == NULL) {
        return STAYD_DISCONNECTED;
    }
    return strcmp(line, expected) == 0 ? STAYD_OK : client_read_error(client, line);
}

/* Appends the command and its key to the request. */
static enum stayd_status client_begin(struct stayd *client, const char *command, const char *key,
                                      size_t key_size) {
    if (!client_key_is_valid(key, key_size)) {
        return client_refuse(client, STAYD_INVALID,
                             "a key must be 1 to 250 bytes without spaces and control characters");
    }
    channel_put_string(&client->channel, command);
    channel_put(&client->channel, key, key_size);
    return STAYD_OK;
}

enum stayd_status stayd_get(struct stayd *client, const char *key, size_t key_size,
                            struct stayd_value *value) {
    struct channel *channel = &client->channel;
    *value = (struct stayd_value){0};
    enum stayd_status status = client_begin(client, "get ", key, key_size);
    if (status != STAYD_OK) {
        return status;
    }
    channel_put_string(channel, "\r\n");
    const char *line = channel_send(channel) ? channel_receive_line(channel) : NULL;
    if (line == NULL) {
        return STAYD_DISCONNECTED;
    }
    uint32_t flags;
    size_t size;
    if (sscanf(line, "VALUE %*s %" SCNu32 " %zu", &flags, &size) != 2 || size > VALUE_MAX) {
        return client_read_error(client, line);
    }
    /* END is received before the value is returned: each receive may move the buffer. */
    size_t begin = channel->taken;
    if (channel_receive_value(channel, size) == NULL ||
        (line = channel_receive_line(channel)) == NULL) {
        return STAYD_DISCONNECTED;
    }
    if (strcmp(line, "END") != 0) {
        channel_break(channel, "%s sent more than the value that was asked for", channel->name);
        return STAYD_DISCONNECTED;
    }
    *value = (struct stayd_value){channel->input.data + begin, size, flags};
    return STAYD_OK;
}

enum stayd_status stayd_set(struct stayd *client, const char *key, size_t key_size,
                            const void *data, size_t size, uint32_t flags, uint32_t ttl_s) {
    struct channel *channel = &client->channel;
    enum stayd_status status = client_begin(client, "set ", key, key_size);
    if (status != STAYD_OK) {
        return status;
    }
    channel_put_string(channel, " ");
    channel_put_number(channel, flags);
    channel_put_string(channel, " ");
    channel_put_number(channel, client_expiry(ttl_s));
    channel_put_string(channel, " ");
    channel_put_number(channel, size);
    channel_put_string(channel, "\r\n");
    channel_put(channel, data, size);
    channel_put_string(channel, "\r\n");
    return client_exchange(client, "STORED");
}

enum stayd_status stayd_touch(struct stayd *client, const char *key, size_t key_size,
                              uint32_t ttl_s) {
    enum stayd_status status = client_begin(client, "touch ", key, key_size);
    if (status != STAYD_OK) {
        return status;
    }
    channel_put_string(&client->channel, " ");
    channel_put_number(&client->channel, client_expiry(ttl_s));
    channel_put_string(&client->channel, "\r\n");
    return client_exchange(client, "TOUCHED");
}

enum stayd_status stayd_delete(struct stayd *client, const char *key, size_t key_size) {
    enum stayd_status status = client_begin(client, "delete ", key, key_size);
    if (status != STAYD_OK) {
        return status;
    }
    channel_put_string(&client->channel, "\r\n");
    return client_exchange(client, "DELETED");
}

enum stayd_status stayd_login(struct stayd *client, const char *user, const char *password) {
    struct channel *channel = &client->channel;
    size_t user_size = strlen(user);
    if (user_size == 0 || password[0] == '\0' || strcspn(user, " \r\n") != user_size) {
        return client_refuse(client, STAYD_INVALID,
                             "a user is one word, and a password is not empty");
    }
    channel_put_string(channel, "set login 0 -1 ");
    channel_put_number(channel, user_size + 1 + strlen(password));
    channel_put_string(channel, "\r\n");
    channel_put_string(channel, user);
    channel_put_string(channel, " ");
    channel_put_string(channel, password);
    channel_put_string(channel, "\r\n");
    return client_exchange(client, "STORED");
}

enum stayd_status stayd_flush(struct stayd *client) {
    channel_put_string(&client->channel, "flush_all\r\n");
    return client_exchange(client, "OK");
}

enum stayd_status stayd_hold(struct stayd *client, unsigned lease_s, uint64_t *number) {
    struct channel *channel = &client->channel;
    channel_put_string(channel, "hold ");
    channel_put_number(channel, lease_s);
    if (*number != 0) {
        channel_put_string(channel, " ");
        channel_put_number(channel, *number);
    }
    channel_put_string(channel, "\r\n");
    const char *line = channel_send(channel) ? channel_receive_line(channel) : NULL;
    if (line == NULL) {
        return STAYD_DISCONNECTED;
    }
    if (strcmp(line, "BUSY") == 0) {
        return client_refuse(client, STAYD_BUSY, "the pool is busy; try again");
    }
    if (sscanf(line, "HOLD %" SCNu64, number) == 1 || (lease_s == 0 && strcmp(line, "OK") == 0)) {
        return STAYD_OK;
    }
    return client_read_error(client, line);
}

enum stayd_status stayd_version(struct stayd *client, char *version, size_t size) {
    channel_put_string(&client->channel, "version\r\n");
    const char *line =
        channel_send(&client->channel) ? channel_receive_line(&client->channel) : NULL;
    if (line == NULL) {
        return STAYD_DISCONNECTED;
    }
    if (strncmp(line, "VERSION ", 8) != 0) {
        return client_read_error(client, line);
    }
    snprintf(version, size, "%s", line + 8);
    return STAYD_OK;
}

enum stayd_status stayd_stats(struct stayd *client, const char *group, stayd_stat *each,
                              void *user) {
    struct channel *channel = &client->channel;
    channel_put_string(channel, "stats");
    if (group != NULL) {
        if (!client_key_is_valid(group, strlen(group))) {
            channel->output.size = 0;
            return client_refuse(client, STAYD_INVALID, "a group of statistics is one word");
        }
        channel_put_string(channel, " ");
        channel_put_string(channel, group);
    }
    channel_put_string(channel, "\r\n");
    if (!channel_send(channel)) {
        return STAYD_DISCONNECTED;
    }
    for (;;) {
        char *line = channel_receive_line(channel);
        if (line == NULL) {
            return STAYD_DISCONNECTED;
        }
        if (strcmp(line, "END") == 0) {
            return STAYD_OK;
        }
        char *value = strncmp(line, "STAT ", 5) == 0 ? strchr(line + 5, ' ') : NULL;
        if (value == NULL) {
            return client_read_error(client, line);
        }
        *value = '\0';
        each(user, line + 5, value + 1);
    }
}
