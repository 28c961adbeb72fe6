#include "proto/binary_general.h"

#include "proto/binary_reply.h"
#include "proto/expiry.h"
#include "proto/general.h"
#include "proto/lifetime.h"
#include "proto/operator.h"

enum request_end binary_delete_run(struct binary_request *binary) {
    const struct request *request = binary->request;
    const struct pool_delete wish = {
        .compare_cas = binary->header.cas != 0,
        .cas = binary->header.cas,
    };
    enum status status = lifetime_delete(request, binary->key, &wish, false);
    return binary_finish(binary, status, 0);
}

/* Flushes now, or at the time in the extras. */
enum request_end binary_flush_run(struct binary_request *binary) {
    const struct request *request = binary->request;
    uint32_t now_s = request->thread->now_s;
    uint32_t when_s = 0;
    if (request->connection->service->server->rights.flush_disabled) {
        binary_reply_error(binary, BINARY_AUTH_ERROR);
        return REQUEST_DONE;
    }
    if (binary->header.extras_size > 0) {
        when_s = expiry_of_exptime(binary_read_u32(binary->extras), now_s);
    }
    enum status status =
        pool_flush(request->pool, request->thread, when_s > now_s ? when_s : now_s);
    return binary_finish(binary, status, 0);
}

enum request_end binary_noop_run(struct binary_request *binary) {
    binary_reply_ok(binary, 0);
    return REQUEST_DONE;
}

enum request_end binary_version_run(struct binary_request *binary) {
    binary_reply(binary, bytes_from_string(PROTO_VERSION), 0);
    return REQUEST_DONE;
}

enum request_end binary_verbosity_run(struct binary_request *binary) {
    struct proto_connection *connection = binary->request->connection;
    if (!operator_allows(connection, OPERATOR_DAEMON)) {
        binary_reply_error(binary, BINARY_AUTH_ERROR);
        return REQUEST_DONE;
    }
    verbosity_set(connection->service->server, binary_read_u32(binary->extras));
    binary_reply_ok(binary, 0);
    return REQUEST_DONE;
}

enum request_end binary_quit_run(struct binary_request *binary) {
    binary_reply_ok(binary, 0);
    return REQUEST_QUITS;
}
