#include "proto/map.h"

#include "proto/reply.h"

/* This reply and those below are stayd's own. */
#define MAP_REFUSED "CLIENT_ERROR not allowed: see readers of the pool\r\n"
#define MAP_NO_SOCKET "CLIENT_ERROR no mapping: it needs a Unix socket, and the pool has none\r\n"
#define MAP_REMOTE "CLIENT_ERROR no mapping: the client is on another machine\r\n"
#define MAP_AGAIN "CLIENT_ERROR no mapping: this connection has had one\r\n"

/* Tells a client on loopback TCP the path of the Unix socket, where it can ask again, and the
 * pool's index_id. The client compares the index_id with that of the mappings: if it is connected
 * through a tunnel, the path on its machine may belong to another daemon. */
static void map_tell_path(struct request *request) {
    const char *path = request->connection->service->unix_path;
    char index_id[NUMBER_DIGITS_MAX + 1];
    if (path == NULL) {
        reply_text(request, MAP_NO_SOCKET);
        return;
    }
    index_id[number_format_u64(pool_get_index_id(request->pool), index_id)] = '\0';
    reply_text(request, "PATH ");
    reply_text(request, index_id);
    reply_text(request, " ");
    reply_text(request, path);
    reply_text(request, "\r\n");
}

/* The reply that refuses a client; NULL if the client may map. Called before any descriptor is
 * opened. */
static const char *map_refusal(const struct proto_connection *connection) {
    const struct proto_service *service = connection->service;
    if (service->may_map == NULL || !service->may_map(service->readers, connection->fd)) {
        return MAP_REFUSED;
    }
    return connection->sent_mappings ? MAP_AGAIN
                                     : NULL; /* each descriptor that the client has not received
                                                counts against the daemon's limit */
}

enum request_end map_run(struct request *request, unsigned variant) {
    (void)variant;
    struct proto_connection *connection = request->connection;
    struct bytes word;
    if (line_next(&request->line, &word)) {
        reply_text(request, REPLY_ERROR);
        return REQUEST_DONE;
    }
    if (!connection->is_unix) {
        if (connection->is_local) {
            map_tell_path(request);
        } else {
            reply_text(request, MAP_REMOTE);
        }
        return REQUEST_DONE;
    }
    const char *refusal = map_refusal(connection);
    if (refusal != NULL) {
        reply_text(request, refusal);
        return REQUEST_DONE;
    }
    if (pool_open_mappings(request->pool, connection->handed) != STATUS_OK) {
        reply_text(request, "SERVER_ERROR cannot open the mappings\r\n");
        return REQUEST_DONE;
    }
    connection->handed_count = POOL_MAPPINGS;
    connection->sent_mappings = true;
    reply_text(request, "MAP\r\n");
    return REQUEST_PAUSED; /* the descriptors are sent with this reply, before the next request runs
                            */
}
