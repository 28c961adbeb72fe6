#include "proto/operator.h"

#include "proto/reply.h"

bool operator_allows(const struct proto_connection *connection, enum operator_scope scope) {
    if (scope == OPERATOR_NONE) {
        return true;
    }
    const struct proto_service *service = connection->service;
    switch (service->admin_commands) {
    case PROTO_ADMIN_ALL:
        return true;
    case PROTO_ADMIN_LOCAL:
        return connection->is_local && (scope == OPERATOR_POOL || service->login_required ||
                                        !service->server->rights.has_logins);
    case PROTO_ADMIN_NONE:
        break;
    }
    return false;
}

bool operator_refuses(struct request *request, enum operator_scope scope) {
    if (operator_allows(request->connection, scope)) {
        return false;
    }
    request->noreply = word_is(line_last(&request->line, (struct bytes){0}), "noreply");
    reply_text(request, REPLY_NOT_ALLOWED);
    return true;
}
