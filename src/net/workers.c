#include "net/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/share.h"
#include "net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Room in the copy for connections that are added after they were counted. */
enum { WORKERS_VIEWS_MORE = 64 };

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
 * also the function of proto_network.wake_workers. */
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
    case CONNECTION_SENDING:
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

/* What `stats conns` shows of a connection, copied while the connection cannot be freed. */
struct connection_view {
    int fd;
    union peer peer;
    const struct listener *listener; /* stays valid longer than the workers */
    enum connection_next next;
    uint32_t served_s;
};

/* Copies the service's connections of a worker to `views`, at most `most`. Returns how many there
 * are. Only this is done under the lock, because the worker needs it to open and close connections.
 */
static size_t worker_copy_views(struct worker *worker, const struct proto_service *service,
                                struct connection_view *views, size_t most) {
    size_t count = 0;
    pthread_mutex_lock(&worker->connections_lock);
    for (struct list *link = worker->connections.next; link != &worker->connections;
         link = link->next) {
        const struct connection *connection = list_entry(link, struct connection, all);
        if (connection->listener->service != service) {
            continue;
        }
        if (count < most) {
            views[count] = (struct connection_view){
                .fd = connection->fd,
                .peer = connection->peer,
                .listener = connection->listener,
                .next = worker_get_next(connection),
                .served_s = atomic_load_explicit(&connection->served_s, memory_order_relaxed),
            };
        }
        count++;
    }
    pthread_mutex_unlock(&worker->connections_lock);
    return count;
}

static void worker_visit_view(const struct connection_view *view, proto_peer_visitor *visit,
                              void *context) {
    char address[ADDRESS_TEXT_MAX];
    char listen_address[ADDRESS_TEXT_MAX];
    address_describe_peer(&view->peer, address);
    address_describe(&view->listener->address, listen_address);
    const struct proto_peer peer = {
        .fd = view->fd,
        .address = address,
        .listen_address = listen_address,
        .state = worker_describe_state(view->next),
        .idle_s = (uint32_t)(clock_monotonic_ms() / 1000) - view->served_s,
    };
    visit(context, &peer);
}

/* False if memory is short. */
static bool worker_visit_connections(struct worker *worker, const struct proto_service *service,
                                     proto_peer_visitor *visit, void *context) {
    struct connection_view *views = NULL;
    size_t most = 0;
    size_t count = atomic_load(&worker->connection_count);
    do { /* again if connections have been added meanwhile */
        most = count + WORKERS_VIEWS_MORE;
        free(views);
        views = malloc(most * sizeof *views);
        if (views == NULL) {
            return false;
        }
        count = worker_copy_views(worker, service, views, most);
    } while (count > most);
    for (size_t i = 0; i < count; i++) {
        worker_visit_view(&views[i], visit, context);
    }
    free(views);
    return true;
}

/* The function of proto_network.visit_listeners. */
static void workers_visit_listeners(void *network, const struct proto_service *service,
                                    proto_peer_visitor *visit, void *context) {
    const struct workers *workers = network;
    for (unsigned i = 0; i < workers->options.listener_count; i++) {
        const struct listener *listener = &workers->options.listeners[i];
        char address[ADDRESS_TEXT_MAX];
        if (listener->service != service) {
            continue;
        }
        address_describe(&listener->address, address);
        const struct proto_peer peer = {
            .fd = listener->fd, .address = address, .state = "conn_listening"};
        visit(context, &peer);
    }
}

/* The function of proto_network.visit_connections. */
static bool workers_visit_connections(void *network, const struct proto_service *service,
                                      proto_peer_visitor *visit, void *context) {
    struct workers *workers = network;
    for (unsigned i = 0; i < workers->count; i++) {
        if (!worker_visit_connections(workers->workers[i], service, visit, context)) {
            return false;
        }
    }
    return true;
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
    options->server->network = (struct proto_network){
        .network = workers,
        .io = transfers_names[options->io],
        .visit_listeners = workers_visit_listeners,
        .visit_connections = workers_visit_connections,
        .wake_workers = workers_wake,
    };
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
        share_give(&workers->options.server->limits.connections, &listener->service->connections,
                   1);
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
    connection->proto.is_unix = address_is_unix(&listener->address);
    connection->proto.wake = worker_wake_watchers;
    connection->proto.wake_context = least;
    worker_tell(connection, NULL);
    atomic_fetch_add(&least->connection_count, 1);
    inbox_put(&least->incoming, &connection->all);
    return true;
}

/* Whether the thread is in uninterruptible sleep (state D): it waits for a page from the disk. */
static bool worker_waits_for_disk(const struct worker *worker) {
    char path[64];
    char text[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", atomic_load(&worker->thread_id));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        close(fd);
    }
    const char *name_end = length < 0 ? NULL : strrchr(text, ')'); /* "ID (NAME) STATE ..." */
    return name_end != NULL && strncmp(name_end, ") D", 3) == 0;
}

unsigned workers_probe(struct workers *workers) {
    unsigned hung = 0;
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker *worker = workers->workers[i];
        unsigned batches = atomic_load_explicit(&worker->batches, memory_order_relaxed);
        if (batches == worker->probed_batches && !worker_waits_for_disk(worker)) {
            hung = i + 1;
        }
        worker->probed_batches = batches;
    }
    workers_wake(workers);
    return hung;
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
    /* Only after the workers have ended: until then, their replies wait for syncs. */
    workers_watch_pools(workers, false);
    for (unsigned i = 0; i < workers->count; i++) {
        worker_destroy(workers->workers[i]);
    }
    free(workers);
}
