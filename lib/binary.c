#include "binary.h"

#include "proto/binary_numbers.h"
#include "value.h"

enum {
    BINARY_EXTRAS_MAX = 20,
    BINARY_KEY_MAX = 250,
    BINARY_VALUE_MAX = 1 << 30,
    BINARY_TEXT_MAX = 256,       /* of an error text, with its zero */
    BINARY_STAT_MAX = 8 << 10,   /* of a statistic's value, with its zero */
    BINARY_PAST = 30 * 86400 + 1 /* a date in the past; the protocol has no negative expiry */
};

/* A server with too many connections replies with text, even in the binary protocol. The first 24
 * bytes of this text. */
#define BINARY_TURNED_AWAY "ERROR Too many open conn"

static const struct {
    enum binary_opcode opcode;
    bool stores; /* the extras are flags and expiry */
} binary_commands[] = {
    [VERB_GET] = {BINARY_GET, false},         [VERB_GETS] = {BINARY_GET, false},
    [VERB_GAT] = {BINARY_GAT, false},         [VERB_SET] = {BINARY_SET, true},
    [VERB_ADD] = {BINARY_ADD, true},          [VERB_REPLACE] = {BINARY_REPLACE, true},
    [VERB_APPEND] = {BINARY_APPEND, false},   [VERB_PREPEND] = {BINARY_PREPEND, false},
    [VERB_CAS] = {BINARY_SET, true},          [VERB_INCR] = {BINARY_INCREMENT, false},
    [VERB_DECR] = {BINARY_DECREMENT, false},  [VERB_TOUCH] = {BINARY_TOUCH, false},
    [VERB_DELETE] = {BINARY_DELETE, false},   [VERB_FLUSH] = {BINARY_FLUSH, false},
    [VERB_SET_MANY] = {BINARY_SET, true},     [VERB_DELETE_MANY] = {BINARY_DELETE, false},
    [VERB_VERSION] = {BINARY_VERSION, false}, [VERB_STATS] = {BINARY_STAT, false},
};

struct binary_reply {
    unsigned opcode;
    unsigned code;
    unsigned key_size;
    unsigned extras_size;
    size_t value_size;
    uint64_t cas;
    uint8_t extras[BINARY_EXTRAS_MAX];
    char key[BINARY_KEY_MAX + 1]; /* with a zero */
};

/* --- requests --- */

static void binary_write(uint8_t *at, uint64_t number, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
    }
}

static uint64_t binary_parse(const void *at, unsigned bytes) {
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes; i++) {
        number = number << 8 | ((const uint8_t *)at)[i];
    }
    return number;
}

static void binary_put_command(struct channel *channel, enum binary_opcode opcode, uint64_t cas,
                               const uint8_t *extras, size_t extras_size, struct bytes key,
                               struct bytes value) {
    uint8_t header[BINARY_HEADER_BYTES] = {BINARY_REQUEST_MAGIC, (uint8_t)opcode};
    if (key.size + value.size > INT32_MAX) { /* memcached reads the length as a signed number */
        channel_lack_memory(channel);
        return;
    }
    binary_write(header + 2, key.size, 2);
    binary_write(header + 4, extras_size, 1);
    binary_write(header + 8, extras_size + key.size + value.size, 4);
    binary_write(header + 16, cas, 8);
    channel_put(channel, header, sizeof header);
    channel_put(channel, extras, extras_size);
    channel_put(channel, key.data, key.size);
    channel_put(channel, value.data, value.size);
}

static void binary_put_store(const struct request *request, enum binary_opcode opcode,
                             struct bytes key, struct bytes value, uint32_t flags,
                             struct channel *channel) {
    uint8_t extras[8];
    binary_write(extras, flags, 4);
    binary_write(extras + 4, (uint64_t)request_exptime(request->ttl_s, BINARY_PAST), 4);
    binary_put_command(channel, opcode, request->verb == VERB_CAS ? request->number : 0, extras,
                       sizeof extras, key, value);
}

static void binary_put_many(const struct request *request, struct channel *channel) {
    const struct bytes none = {0};
    for (size_t i = 0; i < request->count; i++) {
        const struct stayd_item *item = request_item(request, i);
        struct bytes key = bytes_from(item->key, item->key_size);
        if (request->verb == VERB_SET_MANY) {
            binary_put_store(request, BINARY_SET, key,
                             bytes_from(item->value.data, item->value.size), item->value.flags,
                             channel);
        } else {
            binary_put_command(channel,
                               request->verb == VERB_GET_MANY ? BINARY_GETKQ : BINARY_DELETE, 0,
                               NULL, 0, key, none);
        }
    }
    if (request->verb == VERB_GET_MANY) {
        binary_put_command(channel, BINARY_NOOP, 0, NULL, 0, none, none);
    }
}

void binary_put(const struct request *request, struct channel *channel) {
    if (request->verb >= VERB_GET_MANY) {
        binary_put_many(request, channel);
        return;
    }
    enum binary_opcode opcode = binary_commands[request->verb].opcode;
    if (binary_commands[request->verb].stores) {
        binary_put_store(request, opcode, request->key, request->data, request->flags, channel);
        return;
    }
    uint8_t extras[BINARY_EXTRAS_MAX] = {0};
    size_t extras_size = 0;
    switch (request->verb) {
    case VERB_INCR:
    case VERB_DECR:
        binary_write(extras, request->number, 8);
        binary_write(extras + 16, UINT32_MAX, 4); /* does not create an item */
        extras_size = 20;
        break;
    case VERB_GAT:
    case VERB_TOUCH:
        binary_write(extras, (uint64_t)request_exptime(request->ttl_s, BINARY_PAST), 4);
        extras_size = 4;
        break;
    case VERB_FLUSH:
        binary_write(extras, request->number, 4);
        extras_size = request->number > 0 ? 4 : 0;
        break;
    default:
        break;
    }
    binary_put_command(channel, opcode, 0, extras, extras_size, request->key, request->data);
}

bool binary_has(enum verb verb) {
    return verb != VERB_HOLD && !(verb >= VERB_META_GET && verb <= VERB_META_ARITHMETIC);
}

void binary_put_login(const struct url *url, struct channel *channel) {
    char token[2 + URL_USER_MAX + URL_PASSWORD_MAX] = "";
    size_t user = strlen(url->user);
    size_t password = strlen(url->password);
    memcpy(token + 1, url->user, user);
    memcpy(token + 1 + user + 1, url->password, password);
    binary_put_command(channel, BINARY_SASL_AUTH, 0, NULL, 0, bytes_from_string("PLAIN"),
                       bytes_from(token, user + password + 2));
    explicit_bzero(token, sizeof token);
}

/* --- replies --- */

/* Reads the header, the extras and the key. The value follows. */
static bool binary_read_head(struct channel *channel, struct binary_reply *reply) {
    const char *head;
    if (!channel_take(channel, BINARY_HEADER_BYTES, &head)) {
        return false;
    }
    reply->opcode = (uint8_t)head[1];
    reply->key_size = (unsigned)binary_parse(head + 2, 2);
    reply->extras_size = (uint8_t)head[4];
    reply->code = (unsigned)binary_parse(head + 6, 2);
    reply->cas = binary_parse(head + 16, 8);
    size_t body = (size_t)binary_parse(head + 8, 4);
    if ((uint8_t)head[0] != BINARY_RESPONSE_MAGIC || reply->key_size > BINARY_KEY_MAX ||
        reply->extras_size > BINARY_EXTRAS_MAX || body < reply->key_size + reply->extras_size ||
        body > BINARY_VALUE_MAX) {
        bool is_text = memcmp(head, BINARY_TURNED_AWAY, BINARY_HEADER_BYTES) == 0;
        return channel_refuse(channel, is_text ? "too many open connections"
                                               : "a header that is not of the binary protocol");
    }
    reply->value_size = body - reply->key_size - reply->extras_size;
    reply->key[reply->key_size] = '\0';
    return channel_copy(channel, (char *)reply->extras, reply->extras_size) &&
           channel_copy(channel, reply->key, reply->key_size);
}

/* Reads the head of the reply to this command. A reply to another command is a fault. */
static bool binary_read_head_of(struct channel *channel, struct binary_reply *reply,
                                enum binary_opcode opcode) {
    return binary_read_head(channel, reply) &&
           (reply->opcode == opcode || channel_refuse(channel, "a reply to another command"));
}

/* Reads a value that is a text, and terminates it with a zero. A text that is too long for the room
 * is truncated. */
static bool binary_read_text(struct channel *channel, const struct binary_reply *reply, char *text,
                             size_t room) {
    size_t kept = reply->value_size < room ? reply->value_size : room - 1;
    text[kept] = '\0';
    return channel_copy(channel, text, kept) &&
           channel_copy(channel, NULL, reply->value_size - kept);
}

static enum stayd_status binary_status(const struct request *request, unsigned code) {
    switch (code) {
    case BINARY_OK:
        return STAYD_OK;
    case BINARY_NOT_FOUND:
        return request->verb == VERB_REPLACE ? STAYD_NOT_STORED : STAYD_NOT_FOUND;
    case BINARY_EXISTS:
        return request->verb == VERB_ADD ? STAYD_NOT_STORED : STAYD_EXISTS;
    case BINARY_NOT_STORED:
        return STAYD_NOT_STORED;
    case BINARY_TOO_LARGE:
        return STAYD_TOO_LARGE;
    case BINARY_AUTH_ERROR:
    case BINARY_AUTH_CONTINUE:
        return STAYD_LOGIN_REFUSED;
    case BINARY_INVALID:
    case BINARY_NON_NUMERIC:
    case BINARY_UNKNOWN_COMMAND:
        return STAYD_REFUSED;
    case BINARY_NO_MEMORY:
    case BINARY_TEMPORARY_FAILURE:
        return STAYD_FULL;
    default:
        return STAYD_SERVER_ERROR;
    }
}

/* Reads the rest of a reply whose value is an error text; the head has been read. */
static enum stayd_status binary_read_outcome(struct request *request, struct channel *channel,
                                             const struct binary_reply *reply) {
    char words[BINARY_TEXT_MAX];
    enum stayd_status status = binary_status(request, reply->code);
    if (!binary_read_text(channel, reply, words, sizeof words)) {
        return STAYD_DISCONNECTED;
    }
    if (stayd_failed(status)) {
        request_note(request, words, strlen(words));
    }
    return status;
}

static bool binary_read_value(struct channel *channel, const struct binary_reply *reply,
                              struct stayd_value *value) {
    if (reply->extras_size != 4) {
        return channel_refuse(channel, "a value without flags");
    }
    value->flags = (uint32_t)binary_parse(reply->extras, 4);
    value->cas = reply->cas;
    return value_receive(value, channel, reply->value_size);
}

/* Reads a reply for each item that exists, then the reply to the noop. */
static enum stayd_status binary_read_items(struct request *request, struct channel *channel) {
    struct binary_reply reply;
    request->answered = 0;
    while (binary_read_head(channel, &reply)) {
        if (reply.opcode == BINARY_NOOP) {
            while (request->answered < request->count) {
                request_answer(request, STAYD_NOT_FOUND);
            }
            return binary_read_outcome(request, channel, &reply);
        }
        if (reply.opcode != BINARY_GETKQ) {
            channel_refuse(channel, "a reply to another command");
            break;
        }
        if (reply.code != BINARY_OK) {
            return binary_read_outcome(request, channel, &reply);
        }
        struct stayd_item *item = request_find_item(request, bytes_from(reply.key, reply.key_size));
        if (item == NULL) {
            channel_refuse(channel, "a value that was not asked for");
            break;
        }
        if (!binary_read_value(channel, &reply, &item->value)) {
            break;
        }
        request_answer(request, STAYD_OK);
    }
    return STAYD_DISCONNECTED;
}

static enum stayd_status binary_read_outcomes(struct request *request, struct channel *channel) {
    request->answered = 0;
    while (request->answered < request->count) {
        struct binary_reply reply;
        if (!binary_read_head_of(channel, &reply, binary_commands[request->verb].opcode)) {
            return STAYD_DISCONNECTED;
        }
        enum stayd_status status = binary_read_outcome(request, channel, &reply);
        if (channel->fault != CHANNEL_WELL || status == STAYD_LOGIN_REFUSED) {
            return status;
        }
        request_answer(request, status);
    }
    return STAYD_OK;
}

static enum stayd_status binary_read_stats(struct request *request, struct channel *channel) {
    struct binary_reply reply;
    while (binary_read_head_of(channel, &reply, BINARY_STAT)) {
        if (reply.code != BINARY_OK || reply.key_size == 0) {
            return binary_read_outcome(request, channel, &reply);
        }
        char value[BINARY_STAT_MAX];
        if (!binary_read_text(channel, &reply, value, sizeof value)) {
            break;
        }
        request->answered++;
        request->each(request->user, reply.key, value);
    }
    return STAYD_DISCONNECTED;
}

enum stayd_status binary_read(struct request *request, struct channel *channel) {
    struct binary_reply reply;
    switch (request->verb) {
    case VERB_GET_MANY:
        return binary_read_items(request, channel);
    case VERB_SET_MANY:
    case VERB_DELETE_MANY:
        return binary_read_outcomes(request, channel);
    case VERB_STATS:
        return binary_read_stats(request, channel);
    default:
        break;
    }
    if (!binary_read_head_of(channel, &reply, binary_commands[request->verb].opcode)) {
        return STAYD_DISCONNECTED;
    }
    if (reply.code != BINARY_OK) {
        return binary_read_outcome(request, channel, &reply);
    }
    switch (request->verb) {
    case VERB_GET:
    case VERB_GETS:
    case VERB_GAT:
        return binary_read_value(channel, &reply, request->value) ? STAYD_OK : STAYD_DISCONNECTED;
    case VERB_VERSION:
        return binary_read_text(channel, &reply, request->text, request->text_size)
                   ? STAYD_OK
                   : STAYD_DISCONNECTED;
    case VERB_INCR:
    case VERB_DECR: {
        const char *number;
        if (reply.value_size != 8) {
            channel_refuse(channel, "a number that is not 8 bytes");
            return STAYD_PROTOCOL;
        }
        if (!channel_take(channel, 8, &number)) {
            return STAYD_DISCONNECTED;
        }
        request->result = binary_parse(number, 8);
        return STAYD_OK;
    }
    default:
        return binary_read_outcome(request, channel, &reply);
    }
}

enum stayd_status binary_read_login(struct request *request, struct channel *channel) {
    struct binary_reply reply;
    if (!binary_read_head_of(channel, &reply, BINARY_SASL_AUTH)) {
        return STAYD_DISCONNECTED;
    }
    enum stayd_status status = binary_read_outcome(request, channel, &reply);
    return channel->fault == CHANNEL_WELL && status != STAYD_OK ? STAYD_LOGIN_REFUSED : status;
}
