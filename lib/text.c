#include "text.h"

#include "base/number.h"
#include "value.h"

#include <stdio.h>

/* The line that comes instead of the first reply when the server has too many connections. */
#define TEXT_TURNED_AWAY "ERROR Too many open connections"
#define TEXT_LOGIN "set stayd-login 0 -1 "

static bool text_is(struct bytes line, const char *word) {
    return bytes_equal(line, bytes_from_string(word));
}

static bool text_begins(struct bytes line, const char *words) {
    size_t size = strlen(words);
    return line.size >= size && memcmp(line.data, words, size) == 0;
}

/* Takes the next word of a line; empty at its end. */
static struct bytes text_take_word(struct bytes *line) {
    size_t begin = 0;
    while (begin < line->size && line->data[begin] == ' ') {
        begin++;
    }
    size_t end = begin;
    while (end < line->size && line->data[end] != ' ') {
        end++;
    }
    struct bytes word = bytes_from(line->data + begin, end - begin);
    *line = bytes_from(line->data + end, line->size - end);
    return word;
}

/* --- requests --- */

static void text_put_key(const struct bytes *key, struct channel *channel) {
    channel_put_string(channel, " ");
    channel_put(channel, key->data, key->size);
}

static void text_put_u64(uint64_t number, struct channel *channel) {
    channel_put_string(channel, " ");
    channel_put_number(channel, number);
}

static void text_put_ttl(int64_t ttl_s, struct channel *channel) {
    int64_t exptime = request_exptime(ttl_s, -1);
    channel_put_string(channel, exptime < 0 ? " -" : " ");
    channel_put_number(channel, (uint64_t)(exptime < 0 ? -exptime : exptime));
}

static void text_put_data(const struct bytes *data, struct channel *channel) {
    channel_put_string(channel, "\r\n");
    channel_put(channel, data->data, data->size);
}

static void text_put_store(const struct request *request, const struct bytes *key,
                           const struct bytes *data, uint32_t flags, struct channel *channel) {
    channel_put_string(channel, request_word(request));
    text_put_key(key, channel);
    text_put_u64(flags, channel);
    text_put_ttl(request->ttl_s, channel);
    text_put_u64(data->size, channel);
    if (request->verb == VERB_CAS) {
        text_put_u64(request->number, channel);
    }
    text_put_data(data, channel);
    channel_put_string(channel, "\r\n");
}

static void text_put_many(const struct request *request, struct channel *channel) {
    if (request->verb == VERB_GET_MANY) {
        channel_put_string(channel, request_word(request));
    }
    for (size_t i = 0; i < request->count; i++) {
        const struct stayd_item *item = request_item(request, i);
        const struct bytes key = bytes_from(item->key, item->key_size);
        if (request->verb == VERB_SET_MANY) {
            const struct bytes data = bytes_from(item->value.data, item->value.size);
            text_put_store(request, &key, &data, item->value.flags, channel);
            continue;
        }
        if (request->verb == VERB_DELETE_MANY) {
            channel_put_string(channel, request_word(request));
        }
        text_put_key(&key, channel);
        if (request->verb == VERB_DELETE_MANY) {
            channel_put_string(channel, "\r\n");
        }
    }
    if (request->verb == VERB_GET_MANY) {
        channel_put_string(channel, "\r\n");
    }
}

static void text_put_meta(const struct request *request, struct channel *channel) {
    if (request->verb == VERB_META_SET) {
        text_put_u64(request->data.size, channel);
    }
    if (request->meta_flags != NULL && request->meta_flags[0] != '\0') {
        channel_put_string(channel, " ");
        channel_put_string(channel, request->meta_flags);
    }
    if (request->verb == VERB_META_SET) {
        text_put_data(&request->data, channel);
    }
}

/* Appends the rest of the line after the command and the key, for the verbs that text_put_store
 * does not handle. */
static void text_put_rest(const struct request *request, struct channel *channel) {
    switch (request->verb) {
    case VERB_INCR:
    case VERB_DECR:
        text_put_u64(request->number, channel);
        break;
    case VERB_TOUCH:
        text_put_ttl(request->ttl_s, channel);
        break;
    case VERB_FLUSH:
        if (request->number > 0) {
            text_put_u64(request->number, channel);
        }
        break;
    case VERB_HOLD:
        text_put_u64(request->lease_s, channel);
        if (request->number != 0) {
            text_put_u64(request->number, channel);
        }
        break;
    case VERB_META_GET:
    case VERB_META_SET:
    case VERB_META_DELETE:
    case VERB_META_ARITHMETIC:
        text_put_meta(request, channel);
        break;
    default:
        break;
    }
}

void text_put(const struct request *request, struct channel *channel) {
    switch (request->verb) {
    case VERB_GET_MANY:
    case VERB_SET_MANY:
    case VERB_DELETE_MANY:
        text_put_many(request, channel);
        return;
    default:
        break;
    }
    if (request_stores(request)) {
        text_put_store(request, &request->key, &request->data, request->flags, channel);
        return;
    }
    channel_put_string(channel, request_word(request));
    if (request->verb == VERB_GAT) {
        text_put_ttl(request->ttl_s, channel);
    }
    if (request->key.size > 0) {
        text_put_key(&request->key, channel);
    }
    text_put_rest(request, channel);
    channel_put_string(channel, "\r\n");
}

void text_put_login(const struct url *url, struct channel *channel) {
    channel_put_string(channel, TEXT_LOGIN);
    channel_put_number(channel, strlen(url->user) + 1 + strlen(url->password));
    channel_put_string(channel, "\r\n");
    channel_put_string(channel, url->user);
    channel_put_string(channel, " ");
    channel_put_string(channel, url->password);
    channel_put_string(channel, "\r\n");
}

/* --- replies --- */

/* The status for a reply that is none of the expected replies. */
static enum stayd_status text_refusal(struct request *request, struct bytes line,
                                      struct channel *channel) {
    static const struct {
        const char *words;
        enum stayd_status status;
    } lines[] = {
        {TEXT_TURNED_AWAY, STAYD_BUSY},
        {"CLIENT_ERROR unauthenticated", STAYD_LOGIN_REFUSED},
        {"CLIENT_ERROR authentication failure", STAYD_LOGIN_REFUSED},
        {"CLIENT_ERROR bad authentication token format", STAYD_LOGIN_REFUSED},
        {"SERVER_ERROR out of memory", STAYD_FULL},
        {"SERVER_ERROR no room", STAYD_FULL},
        {"SERVER_ERROR object too large", STAYD_TOO_LARGE},
        {"SERVER_ERROR Value too large", STAYD_TOO_LARGE},
        {"SERVER_ERROR replication unavailable", STAYD_OUTCOME_UNKNOWN},
        {"SERVER_ERROR catching up", STAYD_DISCONNECTED},
        {"SERVER_ERROR", STAYD_SERVER_ERROR},
        {"CLIENT_ERROR", STAYD_REFUSED},
        {"ERROR", STAYD_REFUSED},
    };
    request_note(request, line.data, line.size);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (text_begins(line, lines[i].words)) {
            return lines[i].status;
        }
    }
    channel_refuse(channel, request->said);
    return STAYD_PROTOCOL;
}

/* The reply to this command if the server has carried it out. */
static const char *text_done(enum verb verb) {
    switch (verb) {
    case VERB_DELETE:
    case VERB_DELETE_MANY:
        return "DELETED";
    case VERB_TOUCH:
        return "TOUCHED";
    case VERB_FLUSH:
        return "OK";
    default:
        return "STORED";
    }
}

/* Reads a reply of one line, the result of a change. */
static enum stayd_status text_read_outcome(struct request *request, struct channel *channel) {
    const struct {
        const char *line;
        enum stayd_status status;
    } outcomes[] = {
        {text_done(request->verb), STAYD_OK},
        {"EXISTS", STAYD_EXISTS},
        {"NOT_FOUND", STAYD_NOT_FOUND},
        {"NOT_STORED", STAYD_NOT_STORED},
    };
    struct bytes line;
    if (!channel_take_line(channel, &line)) {
        return STAYD_DISCONNECTED;
    }
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        if (text_is(line, outcomes[i].line)) {
            return outcomes[i].status;
        }
    }
    return text_refusal(request, line, channel);
}

/* Reads the value and the line end behind it. */
static bool text_read_data(struct channel *channel, struct stayd_value *value, uint64_t size) {
    const char *end;
    if (!value_receive(value, channel, size) || !channel_take(channel, 2, &end)) {
        return false;
    }
    return memcmp(end, "\r\n", 2) == 0 ||
           channel_refuse(channel, "a value whose length does not match its header");
}

/* Reads a VALUE line: the key, the flags, the size, and the item's CAS, if there is one. */
static bool text_parse_value(struct bytes line, struct bytes *key, uint64_t numbers[3]) {
    text_take_word(&line);
    *key = text_take_word(&line);
    unsigned count = 0;
    for (struct bytes word = text_take_word(&line); word.size > 0; word = text_take_word(&line)) {
        if (count == 3 || !number_parse_u64(word, &numbers[count++])) {
            return false;
        }
    }
    numbers[2] = count == 3 ? numbers[2] : 0;
    return count >= 2 && numbers[0] <= UINT32_MAX;
}

static bool text_read_item(struct request *request, struct bytes line, struct channel *channel) {
    struct bytes key;
    uint64_t numbers[3];
    struct stayd_item *item = NULL;
    struct stayd_value *value = request->value;
    if (!text_parse_value(line, &key, numbers)) {
        return channel_refuse(channel, "a VALUE that cannot be read");
    }
    if (request->verb == VERB_GET_MANY) {
        item = request_find_item(request, key);
        value = item != NULL ? &item->value : NULL;
    } else if (!bytes_equal(key, request->key)) {
        value = NULL;
    }
    if (value == NULL) {
        return channel_refuse(channel, "a value that was not asked for");
    }
    if (!text_read_data(channel, value, numbers[1])) {
        return false;
    }
    value->flags = (uint32_t)numbers[0];
    value->cas = numbers[2];
    if (item != NULL) {
        request_answer(request, STAYD_OK);
    }
    return true;
}

static enum stayd_status text_read_items(struct request *request, struct channel *channel) {
    struct bytes line;
    enum stayd_status status = STAYD_NOT_FOUND;
    request->answered = 0;
    while (channel_take_line(channel, &line)) {
        if (text_begins(line, "VALUE ")) {
            if (request->verb != VERB_GET_MANY && status == STAYD_OK) {
                channel_refuse(channel, "a second value");
                break;
            }
            if (!text_read_item(request, line, channel)) {
                break;
            }
            status = STAYD_OK;
        } else if (text_is(line, "END")) {
            while (request->verb == VERB_GET_MANY && request->answered < request->count) {
                request_answer(request, STAYD_NOT_FOUND);
            }
            return request->verb == VERB_GET_MANY ? STAYD_OK : status;
        } else {
            return text_refusal(request, line, channel);
        }
    }
    return STAYD_DISCONNECTED;
}

/* Reads one reply for each item. An error that concerns all items, such as a missing login, ends
 * the reading, and the connection can no longer be used. */
static enum stayd_status text_read_outcomes(struct request *request, struct channel *channel) {
    request->answered = 0;
    while (request->answered < request->count) {
        enum stayd_status status = text_read_outcome(request, channel);
        bool is_last = status == STAYD_LOGIN_REFUSED || status == STAYD_BUSY;
        if (channel->fault != CHANNEL_WELL || is_last) {
            return status;
        }
        request_answer(request, status);
        if (status == STAYD_REFUSED && request_has_data(request)) {
            return status; /* the server may run the data as commands, and answer them next */
        }
    }
    return STAYD_OK;
}

static enum stayd_status text_read_number(struct request *request, struct channel *channel) {
    struct bytes line;
    if (!channel_take_line(channel, &line)) {
        return STAYD_DISCONNECTED;
    }
    struct bytes rest = line;
    if (number_parse_u64(text_take_word(&rest), &request->result)) { /* spaces may follow */
        return STAYD_OK;
    }
    return text_is(line, "NOT_FOUND") ? STAYD_NOT_FOUND : text_refusal(request, line, channel);
}

static enum stayd_status text_read_version(struct request *request, struct channel *channel) {
    struct bytes line;
    if (!channel_take_line(channel, &line)) {
        return STAYD_DISCONNECTED;
    }
    if (!text_begins(line, "VERSION ")) {
        return text_refusal(request, line, channel);
    }
    snprintf(request->text, request->text_size, "%s", line.data + strlen("VERSION "));
    return STAYD_OK;
}

static enum stayd_status text_read_stats(struct request *request, struct channel *channel) {
    struct bytes line;
    while (channel_take_line(channel, &line)) {
        if (text_is(line, "END") || text_is(line, "RESET") || text_is(line, "OK")) {
            return STAYD_OK;
        }
        char *name = (char *)line.data + strlen("STAT ");
        if (!text_begins(line, "STAT ")) {
            return text_refusal(request, line, channel);
        }
        char *value = strchr(name, ' ');
        if (value != NULL) {
            *value++ = '\0';
        }
        request->answered++;
        request->each(request->user, name, value != NULL ? value : "");
    }
    return STAYD_DISCONNECTED;
}

static enum stayd_status text_read_hold(struct request *request, struct channel *channel) {
    struct bytes line;
    if (!channel_take_line(channel, &line)) {
        return STAYD_DISCONNECTED;
    }
    if (text_begins(line, "HOLD ") &&
        number_parse_u64(bytes_from(line.data + 5, line.size - 5), &request->result)) {
        return STAYD_OK;
    }
    if (text_is(line, "BUSY")) {
        request_note(request, line.data, line.size);
        return STAYD_BUSY;
    }
    if (text_is(line, "OK") && request->lease_s == 0) {
        return STAYD_OK;
    }
    return text_is(line, "NOT_FOUND") ? STAYD_NOT_FOUND : text_refusal(request, line, channel);
}

static enum stayd_status text_read_meta(struct request *request, struct channel *channel) {
    static const struct {
        const char *code;
        enum stayd_status status;
    } codes[] = {
        {"HD", STAYD_OK},        {"VA", STAYD_OK},         {"EN", STAYD_NOT_FOUND},
        {"NF", STAYD_NOT_FOUND}, {"NS", STAYD_NOT_STORED}, {"EX", STAYD_EXISTS},
    };
    struct bytes line;
    if (!channel_take_line(channel, &line)) {
        return STAYD_DISCONNECTED;
    }
    struct bytes rest = line;
    struct bytes code = text_take_word(&rest);
    size_t i = 0;
    while (i < sizeof codes / sizeof codes[0] && !text_is(code, codes[i].code)) {
        i++;
    }
    if (i == sizeof codes / sizeof codes[0]) {
        return text_refusal(request, line, channel);
    }
    uint64_t size = 0;
    bool has_value = text_is(code, "VA");
    if (has_value && !number_parse_u64(text_take_word(&rest), &size)) {
        channel_refuse(channel, "a VA without a size");
        return STAYD_PROTOCOL;
    }
    if (rest.size > 0 && rest.data[0] == ' ') {
        rest = bytes_from(rest.data + 1, rest.size - 1);
    }
    if (rest.size >= STAYD_META_FLAGS_MAX) {
        channel_refuse(channel, "flags of more than 511 bytes");
        return STAYD_PROTOCOL;
    }
    struct stayd_meta *meta = request->meta;
    if (meta != NULL) {
        memcpy(meta->code, codes[i].code, 3);
        memcpy(meta->flags, rest.data, rest.size);
        meta->flags[rest.size] = '\0';
    }
    if (has_value) {
        struct stayd_value none = {0};
        text_read_data(channel, meta != NULL ? &meta->value : &none, size);
        stayd_value_free(&none);
    }
    return codes[i].status;
}

enum stayd_status text_read(struct request *request, struct channel *channel) {
    switch (request->verb) {
    case VERB_GET:
    case VERB_GETS:
    case VERB_GAT:
    case VERB_GET_MANY:
        return text_read_items(request, channel);
    case VERB_SET_MANY:
    case VERB_DELETE_MANY:
        return text_read_outcomes(request, channel);
    case VERB_INCR:
    case VERB_DECR:
        return text_read_number(request, channel);
    case VERB_VERSION:
        return text_read_version(request, channel);
    case VERB_STATS:
        return text_read_stats(request, channel);
    case VERB_HOLD:
        return text_read_hold(request, channel);
    case VERB_META_GET:
    case VERB_META_SET:
    case VERB_META_DELETE:
    case VERB_META_ARITHMETIC:
        return text_read_meta(request, channel);
    default:
        return text_read_outcome(request, channel);
    }
}

enum stayd_status text_read_login(struct request *request, struct channel *channel) {
    enum stayd_status status = text_read_outcome(request, channel);
    if (channel->fault == CHANNEL_WELL && status != STAYD_OK && status != STAYD_LOGIN_REFUSED &&
        status != STAYD_BUSY) {
        return STAYD_LOGIN_REFUSED;
    }
    return status;
}
