#include "net/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/share.h"
#include "net/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct workers {
    struct workers_options options;
    unsigned count; /* threads that have been started */
    struct worker *workers[];
};

/* The function of proto_connection.wake. */
static void worker_wake_watchers(void *context) {
    struct worker *worker = context;
    inbox_wake(&worker->incoming);
}

/* Wakes every worker. The pools' threads call it after a sync and when there is room again; it is
 * also the function of proto_server.wake_workers. */
static void workers_wake(void *context) {
    struct workers *workers = context;
    for (unsigned i = 0; i < workers->count; i++) {
        inbox_wake(&workers->workers[i]->incoming);
    }
}

static void workers_watch_pools(struct workers *workers, bool watch) {
    for (unsigned i = 0; i < workers->options.pool_count; i++) {
        struct pool *pool = workers->options.pools[i];
        if (pool_get_options(pool)->persist) {
            pool_set_sync_notify(pool, watch ? workers_wake : NULL, workers);
        }
        pool_set_room_notify(pool, watch ? workers_wake : NULL, workers);
    }
}

static const char *worker_describe_state(enum connection_next next) {
    switch (next) {
    case CONNECTION_PARTIAL:
        return "conn_nread";
    case CONNECTION_READY:
        return "conn_parse_cmd";
    case CONNECTION_STALLED:
        return "conn_mwrite";
    case CONNECTION_HELD:
    case CONNECTION_PARKED:
    case CONNECTION_WAITS:
    case CONNECTION_LOGIN_PENDING:
        return "conn_io_queue";
    case CONNECTION_LINGER:
    case CONNECTION_END:
        return "conn_closing";
    case CONNECTION_IDLE:
        break;
    }
    return "conn_read";
}

static void worker_visit_peers(struct worker *worker, proto_peer_visitor *visit, void *context) {
    char address[ADDRESS_TEXT_MAX];
    char listen_address[ADDRESS_TEXT_MAX];
    uint32_t now_s = (uint32_t)(clock_monotonic_ms() / 1000);
    pthread_mutex_lock(&worker->connections_lock);
    for (struct list *link = worker->connections.next; link != &worker->connections;
         link = link->next) {
        const struct connection *connection = list_entry(link, struct connection, all);
        address_describe_peer(&connection->peer, address);
        address_describe(&connection->listener->address, listen_address);
        const struct proto_peer peer = {
            .fd = connection->fd,
            .service = connection->listener->service,
            .address = address,
            .listen_address = listen_address,
            .state = worker_describe_state(worker_get_next(connection)),
            .idle_s = now_s - atomic_load_explicit(&connection->served_s, memory_order_relaxed),
        };
        visit(context, &peer);
    }
    pthread_mutex_unlock(&worker->connections_lock);
}

/* The function of proto_server.visit_peers. */
static void workers_visit_peers(void *network, proto_peer_visitor *visit, void *context) {
    struct workers *workers = network;
    char address[ADDRESS_TEXT_MAX];
    for (unsigned i = 0; i < workers->options.listener_count; i++) {
        const struct listener *listener = &workers->options.listeners[i];
        address_describe(&listener->address, address);
        const struct proto_peer peer = {
            .fd = listener->fd,
            .service = listener->service,
            .is_listener = true,
            .address = address,
            .state = "conn_listening",
        };
        visit(context, &peer);
    }
    for (unsigned i = 0; i < workers->count; i++) {
        worker_visit_peers(workers->workers[i], visit, context);
    }
}

struct workers *workers_start(const struct workers_options *options,
                              char error[WORKERS_ERROR_MAX]) {
    struct workers *workers =
        calloc(1, sizeof *workers + options->threads * sizeof workers->workers[0]);
    if (workers == NULL) {
        snprintf(error, WORKERS_ERROR_MAX, "cannot start worker threads: %m");
        return NULL;
    }
    workers->options = *options;
    options->server->network = workers;
    options->server->visit_peers = workers_visit_peers;
    options->server->wake_workers = workers_wake;
    for (unsigned i = 0; i < options->threads; i++) {
        struct worker *worker = worker_create(&workers->options, i);
        int result = worker == NULL ? errno : 0;
        if (result == 0) {
            result = pthread_create(&worker->thread, NULL, worker_main, worker);
        }
        if (result != 0) {
            snprintf(error, WORKERS_ERROR_MAX, "cannot start worker thread %u of %u: %s", i + 1,
                     options->threads, strerror(result));
            worker_destroy(worker);
            workers_stop(workers);
            return NULL;
        }
        char name[16];
        snprintf(name, sizeof name, "worker %u", (uint8_t)i);
        pthread_setname_np(worker->thread, name);
        workers->workers[workers->count++] = worker;
    }
    workers_watch_pools(workers, true);
    return workers;
}

bool workers_add(struct workers *workers, int fd, const union peer *peer,
                 const struct listener *listener, struct tls_session *tls) {
    struct connection *connection = connection_create(fd, listener, tls);
    if (connection == NULL) {
        log_warning("closing a new connection: no memory");
        tls_session_destroy(tls);
        share_give(&workers->options.server->connections, &listener->service->connections, 1);
        close(fd);
        return false;
    }
    struct worker *least = workers->workers[0];
    for (unsigned i = 1; i < workers->count; i++) {
        struct worker *worker = workers->workers[i];
        if (atomic_load(&worker->connection_count) < atomic_load(&least->connection_count)) {
            least = worker;
        }
    }
    connection->peer = *peer;
    connection->proto.is_local = address_peer_is_local(peer);
    connection->proto.wake = worker_wake_watchers;
    connection->proto.wake_context = least;
    worker_tell(connection, NULL);
    atomic_fetch_add(&least->connection_count, 1);
    inbox_put(&least->incoming, &connection->all);
    return true;
}

void workers_stop(struct workers *workers) {
    if (workers == NULL) {
        return;
    }
    for (unsigned i = 0; i < workers->count; i++) {
        atomic_store(&workers->workers[i]->stopping, true);
        inbox_wake(&workers->workers[i]->incoming);
    }
    for (unsigned i = 0; i < workers->count; i++) {
        pthread_join(workers->workers[i]->thread, NULL);
    }
    workers_watch_pools(workers,
                        false); /* after the workers have ended: their replies waited for syncs */
    for (unsigned i = 0; i < workers->count; i++) {
        worker_destroy(workers->workers[i]);
    }
    free(workers);
}
