#include "proto/binary_sasl.h"

#include "proto/binary_reply.h"

enum {
    /* authzid, user and password, and the two zero bytes between them. */
    SASL_VALUE_MAX = 2 * PROTO_LOGIN_USER_MAX + PROTO_LOGIN_PASSWORD_MAX + 2,
    /* memcached's limit: a longer name is an invalid request, not a failed login */
    SASL_MECHANISM_MAX = 32,
};

#define SASL_MECHANISM "PLAIN"

enum request_end binary_sasl_list_run(struct binary_request *binary) {
    if (!binary->request->connection->service->login_required) {
        binary_reply_error(binary, BINARY_UNKNOWN_COMMAND);
        return REQUEST_DONE;
    }
    binary_reply(binary, bytes_from_string(SASL_MECHANISM), 0);
    return REQUEST_DONE;
}

/* Splits authzid \0 user \0 password. The authzid must be empty or the user: no user may act for
 * another one. */
static bool sasl_read_plain(struct bytes value, struct proto_login *login) {
    const char *end = value.data + value.size;
    const char *first = memchr(value.data, 0, value.size);
    if (first == NULL) {
        return false;
    }
    const char *user = first + 1;
    const char *second = memchr(user, 0, (size_t)(end - user));
    if (second == NULL) {
        return false;
    }
    struct bytes authzid = bytes_from(value.data, (size_t)(first - value.data));
    login->user = bytes_from(user, (size_t)(second - user));
    login->password = bytes_from(second + 1, (size_t)(end - second - 1));
    return login->user.size > 0 && login->user.size <= PROTO_LOGIN_USER_MAX &&
           login->password.size > 0 && login->password.size <= PROTO_LOGIN_PASSWORD_MAX &&
           (authzid.size == 0 || bytes_equal(authzid, login->user));
}

static enum request_end sasl_refuse(struct binary_request *binary) {
    struct request *request = binary->request;
    request->connection->login = (struct proto_login){0};
    request->connection->admitted = false;
    pool_count(request->pool, request->thread, POOL_AUTH_CMDS);
    pool_count(request->pool, request->thread, POOL_AUTH_ERRORS);
    binary_reply_error(binary, BINARY_AUTH_ERROR);
    return REQUEST_DONE;
}

/* Answers without reading the value, which is discarded. */
static enum request_end sasl_skip(struct binary_request *binary, enum binary_status status) {
    binary->request->progress->skip_bytes = binary->value_size;
    binary_reply_error(binary, status);
    return REQUEST_DONE;
}

/* Runs an auth or a step whose value is complete. */
static enum request_end sasl_take(struct binary_request *binary, struct bytes value) {
    struct proto_connection *connection = binary->request->connection;
    struct proto_sasl *sasl = &connection->progress.sasl;
    bool is_step = binary->header.opcode == BINARY_SASL_STEP;
    bool in_turn = !is_step || sasl->awaits_step;
    sasl->awaits_step = false;
    if (!in_turn || !bytes_equal(binary->key, bytes_from_string(SASL_MECHANISM))) {
        return sasl_refuse(binary);
    }
    if (value.size == 0 && !is_step) {
        sasl->awaits_step = true;
        binary_reply_error(binary, BINARY_AUTH_CONTINUE);
        return REQUEST_DONE;
    }
    if (!sasl_read_plain(value, &connection->login)) {
        return sasl_refuse(binary);
    }
    sasl->opcode = binary->header.opcode;
    sasl->opaque = binary->header.opaque;
    return REQUEST_LOGIN;
}

enum request_end binary_sasl_auth_run(struct binary_request *binary) {
    struct request *request = binary->request;
    if (!request->connection->service->login_required) {
        return sasl_skip(binary, BINARY_UNKNOWN_COMMAND);
    }
    if (binary->key.size > SASL_MECHANISM_MAX) {
        return sasl_skip(binary, BINARY_INVALID);
    }
    if (binary->value_size > SASL_VALUE_MAX) {
        request->progress->skip_bytes = binary->value_size;
        return sasl_refuse(binary);
    }
    if ((size_t)(request->end - request->next) < binary->value_size) {
        request->wanted = (size_t)(request->next - request->start) + binary->value_size;
        return REQUEST_WAITS;
    }
    struct bytes value = bytes_from(request->next, binary->value_size);
    request->next += value.size;
    return sasl_take(binary, value);
}

void binary_sasl_reply(struct proto_connection *connection, struct buffer *replies, bool admitted) {
    const struct proto_sasl *sasl = &connection->progress.sasl;
    struct request request = {.connection = connection, .replies = replies};
    struct binary_request binary = {
        .request = &request,
        .header = {.opcode = sasl->opcode, .opaque = sasl->opaque},
    };
    if (admitted) {
        binary_reply(&binary, bytes_from_string("Authenticated"), 0);
    } else {
        binary_reply_error(&binary, BINARY_AUTH_ERROR);
    }
}
