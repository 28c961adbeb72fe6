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

/* What `stats conns` shows of a connection or of a listener, copied while the connection cannot be
 * freed. */
struct peer_view {
    int fd;
    union peer peer;
    const struct listener *listener; /* stays valid longer than the workers */
    bool is_listener;
    enum connection_next next;
    enum proto_incoming incoming;
    uint32_t served_s;
};

struct peer_views {
    struct peer_view *views;
    size_t count;
    size_t most; /* there is room for so many */
};

/* In memcached's words. */
static const char *view_describe_incoming(const struct peer_view *view) {
    switch (view->incoming) {
    case PROTO_INCOMING_VALUE:
        return "conn_nread";
    case PROTO_INCOMING_REFUSED:
        return "conn_swallow";
    case PROTO_INCOMING_IGNORED:
        return "conn_watch";
    case PROTO_INCOMING_LINE:
        break;
    }
    return "conn_read";
}

static const char *view_describe_state(const struct peer_view *view) {
    if (view->is_listener) {
        return "conn_listening";
    }
    switch (view->next) {
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
    case CONNECTION_PARTIAL:
    case CONNECTION_IDLE:
        break;
    }
    return view_describe_incoming(view);
}

/* Makes room for `more` views. False if memory is short. */
static bool views_reserve(struct peer_views *views, size_t more) {
    if (views->most - views->count >= more) {
        return true;
    }
    struct peer_view *larger = reallocarray(views->views, views->count + more, sizeof *larger);
    if (larger == NULL) {
        return false;
    }
    views->views = larger;
    views->most = views->count + more;
    return true;
}

/* Copies the service's connections of a worker, as far as there is room. Returns how many there
 * are. Only this is done under the lock, because the worker needs it to open and close connections.
 */
static size_t worker_copy_views(struct worker *worker, const struct proto_service *service,
                                struct peer_views *views) {
    size_t room = views->most - views->count;
    struct peer_view *to = views->views + views->count;
    size_t count = 0;
    pthread_mutex_lock(&worker->connections_lock);
    for (struct list *link = worker->connections.next; link != &worker->connections;
         link = link->next) {
        const struct connection *connection = list_entry(link, struct connection, all);
        if (connection->listener->service != service) {
            continue;
        }
        if (count < room) {
            to[count] = (struct peer_view){
                .fd = connection->fd,
                .peer = connection->peer,
                .listener = connection->listener,
                .next = worker_get_next(connection),
                .incoming = worker_get_incoming(connection),
                .served_s = atomic_load_explicit(&connection->served_s, memory_order_relaxed),
            };
        }
        count++;
    }
    pthread_mutex_unlock(&worker->connections_lock);
    return count;
}

/* Adds the service's connections of a worker. False if memory is short. */
static bool worker_add_views(struct worker *worker, const struct proto_service *service,
                             struct peer_views *views) {
    size_t count = atomic_load(&worker->connection_count);
    size_t room;
    do { /* again if connections have been added meanwhile */
        room = count + WORKERS_VIEWS_MORE;
        if (!views_reserve(views, room)) {
            return false;
        }
        room = views->most - views->count;
        count = worker_copy_views(worker, service, views);
    } while (count > room);
    views->count += count;
    return true;
}

static bool workers_add_listener_views(const struct workers *workers,
                                       const struct proto_service *service,
                                       struct peer_views *views) {
    if (!views_reserve(views, workers->options.listener_count)) {
        return false;
    }
    for (unsigned i = 0; i < workers->options.listener_count; i++) {
        const struct listener *listener = &workers->options.listeners[i];
        if (listener->service == service) {
            views->views[views->count++] =
                (struct peer_view){.fd = listener->fd, .listener = listener, .is_listener = true};
        }
    }
    return true;
}

static void view_visit(const struct peer_view *view, proto_peer_visitor *visit, void *context) {
    char address[ADDRESS_TEXT_MAX];
    char listen_address[ADDRESS_TEXT_MAX];
    struct proto_peer peer = {.fd = view->fd, .state = view_describe_state(view)};
    address_describe(&view->listener->address, listen_address);
    if (view->is_listener) {
        peer.address = listen_address;
    } else {
        address_describe_peer(&view->peer, address);
        peer.address = address;
        peer.listen_address = listen_address;
        peer.idle_s = (uint32_t)(clock_monotonic_ms() / 1000) - view->served_s;
    }
    visit(context, &peer);
}

static int view_compare(const void *left, const void *right) {
    const struct peer_view *one = left;
    const struct peer_view *other = right;
    return (one->fd > other->fd) - (one->fd < other->fd);
}

/* The function of proto_network.visit_peers. */
static bool workers_visit_peers(void *network, const struct proto_service *service,
                                proto_peer_visitor *visit, void *context) {
    struct workers *workers = network;
    struct peer_views views = {0};
    bool whole = workers_add_listener_views(workers, service, &views);
    for (unsigned i = 0; i < workers->count && whole; i++) {
        whole = worker_add_views(workers->workers[i], service, &views);
    }
    if (views.count > 0) {
        qsort(views.views, views.count, sizeof *views.views, view_compare);
    }
    for (size_t i = 0; i < views.count; i++) {
        view_visit(&views.views[i], visit, context);
    }
    free(views.views);
    return whole;
}

/* The function of proto_network.visit_listeners. */
static void workers_visit_listeners(void *network, const struct proto_service *service,
                                    proto_peer_visitor *visit, void *context) {
    const struct workers *workers = network;
    for (unsigned i = 0; i < workers->options.listener_count; i++) {
        const struct listener *listener = &workers->options.listeners[i];
        if (listener->service == service) {
            const struct peer_view view = {
                .fd = listener->fd, .listener = listener, .is_listener = true};
            view_visit(&view, visit, context);
        }
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
    options->server->network = (struct proto_network){
        .network = workers,
        .io = transfers_names[options->io],
        .visit_listeners = workers_visit_listeners,
        .visit_peers = workers_visit_peers,
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
