#include "proto/login.h"

#include "proto/reply.h"
#include "proto/value.h"

/* A user's name, a space before and after it, and a password. */
enum { LOGIN_VALUE_MAX = PROTO_LOGIN_USER_MAX + PROTO_LOGIN_PASSWORD_MAX + 2 };

/* This reply and those below are memcached's. */
#define LOGIN_BAD_FORMAT "CLIENT_ERROR bad authentication token format\r\n"

/* The length of the value; VALUE_LENGTH_UNKNOWN unless the line is a valid set. Key, flags and
 * exptime do not matter. */
static uint32_t login_read_line(struct request *request) {
    struct bytes word;
    uint32_t length;
    for (unsigned i = 0; i < 3; i++) {
        if (!line_next(&request->line, &word)) {
            return VALUE_LENGTH_UNKNOWN;
        }
    }
    if (!line_next(&request->line, &word) || !word_length(word, &length) ||
        !request_read_rest(request, word)) {
        return VALUE_LENGTH_UNKNOWN;
    }
    request->noreply = false; /* a login is always answered */
    return length;
}

static bool login_read_value(struct bytes value, struct proto_login *login) {
    const char *user = value.data;
    const char *end = value.data + value.size;
    while (user < end && *user == ' ') {
        user++;
    }
    const char *space = memchr(user, ' ', (size_t)(end - user));
    if (space == NULL) {
        return false;
    }
    login->user = bytes_from(user, (size_t)(space - user));
    login->password = bytes_from(space + 1, (size_t)(end - space - 1));
    return login->user.size <= PROTO_LOGIN_USER_MAX && login->password.size > 0 &&
           login->password.size <= PROTO_LOGIN_PASSWORD_MAX;
}

enum request_end login_run(struct request *request, unsigned variant) {
    (void)variant;
    uint32_t length = login_read_line(request);
    if (length == VALUE_LENGTH_UNKNOWN) {
        return value_refuse(request, REPLY_UNAUTHENTICATED, length);
    }
    if (length > LOGIN_VALUE_MAX) {
        return value_refuse(request, LOGIN_BAD_FORMAT, length);
    }
    struct bytes value;
    switch (value_take(request, length, &value)) {
    case VALUE_WAITS:
        return REQUEST_WAITS;
    case VALUE_BAD:
        reply_text(request, "CLIENT_ERROR bad command line termination\r\n");
        return REQUEST_DONE;
    case VALUE_WHOLE:
        break;
    }
    if (!login_read_value(value, &request->connection->login)) {
        request->connection->login = (struct proto_login){0};
        reply_text(request, LOGIN_BAD_FORMAT);
        return REQUEST_DONE;
    }
    return REQUEST_LOGIN;
}

void login_reply(struct buffer *replies, bool admitted) {
    const char *reply = admitted ? "STORED\r\n" : "CLIENT_ERROR authentication failure\r\n";
    reply_bytes(replies, reply, strlen(reply));
}
