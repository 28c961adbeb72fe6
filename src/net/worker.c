#include "net/worker.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <unistd.h>

enum { WORKER_INPUT_BYTES = 64 << 10, WORKER_STOP_MS = 2000 };

static bool worker_has_ready(const struct worker *worker) {
    return !list_is_empty(&worker->ready) || !list_is_empty(&worker->heavy);
}

/* Takes the new connections from the inbox. */
static void worker_take_incoming(struct worker *worker) {
    struct list incoming;
    inbox_take(&worker->incoming, &incoming);
    while (!list_is_empty(&incoming)) {
        struct connection *connection = list_entry(incoming.next, struct connection, all);
        struct epoll_event event = {worker_wanted_events(false), {.ptr = connection}};
        list_remove(&connection->all);
        worker_note_served(worker, connection);
        connection->added_ms = worker->now_ms;
        worker->end_s = connection->end_s < worker->end_s ? connection->end_s : worker->end_s;
        worker_set_deadline(worker, connection, CONNECTION_IDLE, false);
        pthread_mutex_lock(&worker->connections_lock);
        list_append(&worker->connections, &connection->all);
        pthread_mutex_unlock(&worker->connections_lock);
        if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
            log_warning("closing a new connection: epoll_ctl failed: %m");
            worker_close(worker, connection, "error");
        } else if (atomic_load_explicit(&connection->proto.service->is_cut_off,
                                        memory_order_relaxed)) { /* its handshake took long */
            worker_close(worker, connection, "error");
        } else if (connection->readable) { /* TLS may have read bytes already, which epoll does not
                                            * report */
            worker_make_ready(worker, connection);
        }
    }
}

/* A pool may have synced: the connections whose writes are on the disk are served again. */
static void worker_release_held(struct worker *worker) {
    struct list *next;
    for (struct list *link = worker->held.next; link != &worker->held; link = next) {
        struct connection *connection = list_entry(link, struct connection, ready);
        next = link->next;
        if (connection_may_send(connection)) {
            list_remove(&connection->ready);
            worker_make_ready(worker, connection);
        }
    }
}

/* A pool may have room again: the connections that waited for room are served next, the light ones
 * before all other light ones, and the heavy ones before all other heavy ones. */
static void worker_release_parked(struct worker *worker) {
    struct list light;
    struct list heavy;
    struct list *next;
    list_init(&light);
    list_init(&heavy);
    for (struct list *link = worker->parked.next; link != &worker->parked; link = next) {
        struct connection *connection = list_entry(link, struct connection, ready);
        next = link->next;
        if (connection_may_have_room(connection)) {
            list_remove(&connection->ready);
            list_append(worker_is_heavy(connection) ? &heavy : &light, &connection->ready);
        }
    }
    list_prepend_all(&worker->ready, &light);
    list_prepend_all(&worker->heavy, &heavy);
}

/* Takes the verdicts on logins, and makes their connections ready. */
static void worker_take_verdicts(struct worker *worker) {
    void *owner;
    enum auth_verdict verdict;
    while (auth_mailbox_take(&worker->mailbox, &owner, &verdict)) {
        if (owner != NULL) {
            connection_take_verdict(owner, verdict);
            worker_make_ready(worker, owner);
        }
    }
}

/* Serves the connections that were woken: watchers may have new lines, and a reload that a
 * connection waits for may have ended. */
static void worker_serve_watchers(struct worker *worker) {
    for (struct list *link = worker->watching.next; link != &worker->watching; link = link->next) {
        struct connection *connection = list_entry(link, struct connection, watching);
        if (proto_is_replicating(&connection->proto)) {
            continue; /* another connection's write has ended */
        }
        connection->woken = true;
        worker_make_ready(worker, connection);
    }
}

static void worker_note_event(struct worker *worker, const struct epoll_event *event) {
    struct connection *connection = event->data.ptr;
    if (connection == NULL) {
        worker_take_incoming(worker);
        worker->cut_offs_known = atomic_load(&worker->options->server->cut_offs);
        worker_release_held(worker);
        worker_release_parked(worker);
        worker_take_verdicts(worker);
        worker_serve_watchers(worker);
        return;
    }
    uint32_t what = event->events;
    connection->readable = true;
    connection->input_ending |= (what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    connection->writable |= (what & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
    connection->broken |= (what & (EPOLLHUP | EPOLLERR)) != 0;
    connection->failed |= (what & EPOLLERR) != 0;
    worker_make_ready(worker, connection);
}

/* Other threads read these counters, so a batch writes them once. */
static void worker_publish_counters(struct worker *worker) {
    struct connection_loan *loan = &worker->loan;
    struct proto_server *server = worker->options->server;
    if (loan->bytes_read > 0) {
        atomic_fetch_add_explicit(&server->counters.bytes_read, loan->bytes_read,
                                  memory_order_relaxed);
    }
    if (loan->bytes_written > 0) { /* relaxed: counters do not order other memory */
        atomic_fetch_add_explicit(&server->counters.bytes_written, loan->bytes_written,
                                  memory_order_relaxed);
    }
    if (loan->yields > 0) {
        atomic_fetch_add_explicit(&server->counters.yields, loan->yields, memory_order_relaxed);
    }
    loan->yields = 0;
    loan->bytes_read = 0;
    loan->bytes_written = 0;
}

/* Waits for at most `timeout_ms` (-1: without a limit), then serves one batch. */
static void worker_run_batch(struct worker *worker, int timeout_ms) {
    if (timeout_ms != 0) {
        store_thread_leave(&worker->store);
    }
    int count = epoll_wait(worker->epoll_fd, worker->events, WORKER_EVENTS, timeout_ms);
    atomic_fetch_add_explicit(&worker->batches, 1,
                              memory_order_relaxed); /* only the change counts */
    store_thread_refresh(&worker->store);
    worker->now_ms = clock_monotonic_ms();
    for (unsigned i = 0; i < worker->options->pool_count; i++) {
        pool_tick(worker->options->pools[i], &worker->store);
    }
    for (int i = 0; i < count; i++) {
        worker_note_event(worker, &worker->events[i]);
    }
    worker_serve_ready(worker);
    worker_publish_counters(worker);
    if (worker->cut_offs != worker->cut_offs_known) {
        worker_close_cut_off(worker);
    }
    worker_check_deadlines(worker);
}

/* Answers the requests that have been received, and closes each connection when its replies are
 * sent. */
static void worker_finish_connections(struct worker *worker) {
    worker_take_incoming(worker);
    worker_release_held(worker); /* the wake-up may have been for a sync */
    worker_release_parked(worker);
    worker_take_verdicts(worker);
    struct list *next;
    for (struct list *link = worker->connections.next; link != &worker->connections; link = next) {
        struct connection *connection = list_entry(link, struct connection, all);
        next = link->next;
        connection->readable = true;
        worker_make_ready(worker, connection);
    }
    uint64_t deadline_ms = clock_monotonic_ms() + WORKER_STOP_MS;
    while (!list_is_empty(&worker->connections) && clock_monotonic_ms() < deadline_ms) {
        worker_run_batch(worker, worker_has_ready(worker) ? 0 : WORKER_SCAN_MS);
        for (struct list *link = worker->connections.next; link != &worker->connections;
             link = next) {
            struct connection *connection = list_entry(link, struct connection, all);
            next = link->next;
            enum connection_next last = worker_get_next(connection);
            if (last == CONNECTION_IDLE || last == CONNECTION_PARTIAL ||
                last == CONNECTION_LINGER) {
                worker_close(worker, connection, "shutdown");
            }
        }
    }
    while (!list_is_empty(&worker->connections)) {
        worker_close(worker, list_entry(worker->connections.next, struct connection, all),
                     "shutdown");
    }
}

void *worker_main(void *argument) {
    struct worker *worker = argument;
    atomic_store(&worker->thread_id, gettid());
    transfers_begin(worker->transfers);
    while (!atomic_load(&worker->stopping)) {
        worker_run_batch(worker, worker_has_ready(worker) ? 0 : worker_get_check_ms(worker));
    }
    worker_finish_connections(worker);
    store_thread_leave(&worker->store);
    return NULL;
}

void worker_destroy(struct worker *worker) {
    if (worker == NULL) {
        return;
    }
    if (worker->epoll_fd >= 0) {
        close(worker->epoll_fd);
    }
    inbox_finish(&worker->incoming);
    auth_mailbox_finish(&worker->mailbox);
    pthread_mutex_destroy(&worker->connections_lock);
    transfers_destroy(worker->transfers);
    worker_finish_group(worker);
    buffer_finish(&worker->loan.replies);
    free(worker->loan.input);
    free(worker);
}

struct worker *worker_create(const struct workers_options *options, unsigned index) {
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL) {
        return NULL;
    }
    worker->options = options;
    worker->end_s = UINT32_MAX;
    worker->batches = 1; /* so that the first probe does not report this worker */
    list_init(&worker->connections);
    list_init(&worker->ready);
    list_init(&worker->heavy);
    list_init(&worker->waited);
    list_init(&worker->held);
    list_init(&worker->parked);
    list_init(&worker->watching);
    pthread_mutex_init(&worker->connections_lock, NULL);
    store_thread_init(&worker->store, options->grace, index);
    worker->store.room_policy = STORE_PARKS;
    worker->loan.store = &worker->store;
    worker->loan.input_bytes = WORKER_INPUT_BYTES;
    worker->loan.input = malloc(WORKER_INPUT_BYTES);
    worker->transfers = transfers_create(options->io);
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bool has_inbox = inbox_init(&worker->incoming);
    auth_mailbox_init(&worker->mailbox, worker->incoming.wake_fd);
    worker->loan.mailbox = &worker->mailbox;
    worker->loan.relieve = worker_relieve;
    worker->loan.relieve_context = worker;
    struct epoll_event event = {EPOLLIN, {.ptr = NULL}};
    if (worker->loan.input == NULL || worker->transfers == NULL || !worker_init_group(worker) ||
        worker->epoll_fd < 0 || !has_inbox ||
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->incoming.wake_fd, &event) != 0) {
        worker_destroy(worker);
        return NULL;
    }
    return worker;
}
