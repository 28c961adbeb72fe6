/* Closes a connection of a worker, or makes it ready to be served. */
#include "net/worker.h"

#include "net/share.h"
#include "proto/event.h"

#include <unistd.h>

void worker_tell(const struct connection *connection, const char *reason) {
    struct proto_service *service = connection->proto.service;
    if (event_wanted(service, EVENT_CONNECTIONS)) {
        char address[ADDRESS_TEXT_MAX];
        address_describe_peer(&connection->peer, address);
        event_note_connection(service, connection->fd, address, reason);
    }
}

void worker_close(struct worker *worker, struct connection *connection, const char *reason) {
    struct proto_service *service = connection->proto.service;
    worker_tell(connection, reason);
    pthread_mutex_lock(&worker->connections_lock);
    int fd = connection_release(connection);
    pthread_mutex_unlock(&worker->connections_lock);
    atomic_fetch_sub(&worker->connection_count, 1);
    share_give(&worker->options->server->limits.connections, &service->connections, 1);
    close(fd);
}

void worker_make_ready(struct worker *worker, struct connection *connection) {
    if (list_is_empty(&connection->ready)) {
        list_append(worker_is_heavy(connection) ? &worker->heavy : &worker->ready,
                    &connection->ready);
    }
}
