/* How long a connection may wait, and what happens when that time is over. */
#include "net/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/budget.h"

enum {
    WORKER_LINGER_MS = 2000,
    WORKER_ROOM_MS = 3000,  /* the maximum wait for room: shorter than the timeouts of clients */
    WORKER_LEAST_RATE = 16, /* the minimum rate of a large request, in bytes per millisecond */
    WORKER_RELIEF_MS = 200, /* the minimum age of a large request that may be closed for another */
    WORKER_IDLE_SCAN_MS = 1000, /* the minimum interval of scans for idle connections */
    WORKER_END_SCAN_MS =
        5000 /* the interval of checks whether a client's certificate has expired */
};

/* The time that a connection may stay in this state without progress; 0: no limit. */
static uint32_t worker_get_limit_ms(const struct worker *worker, enum connection_next next) {
    switch (next) {
    case CONNECTION_STALLED:
        return worker->options->send_timeout_ms;
    case CONNECTION_LINGER:
        return WORKER_LINGER_MS;
    case CONNECTION_PARKED:
        return WORKER_ROOM_MS;
    default:
        return 0;
    }
}

/* The time by which a large request must be complete: send_timeout, and more time only while the
 * client sends at the minimum rate. */
static uint64_t worker_get_large_end_ms(const struct worker *worker,
                                        const struct connection *connection) {
    uint64_t bytes = connection->received_bytes;
    return connection->large_ms + worker->options->send_timeout_ms + bytes / WORKER_LEAST_RATE;
}

/* Whether the connection still waits for the same thing as after its last turn. A parked connection
 * that tries again is ready in between. */
static bool worker_waits_on(const struct connection *connection, enum connection_next next) {
    enum connection_next last = worker_get_next(connection);
    return last == next || (next == CONNECTION_PARKED && last == CONNECTION_READY);
}

/* The deadline of the connection in this state; UINT64_MAX: none. Progress (replies were sent, or a
 * request found room) starts the time again. A login must be complete within send_timeout from the
 * start of the connection; no progress extends that. */
static uint64_t worker_get_deadline_ms(const struct worker *worker,
                                       const struct connection *connection,
                                       enum connection_next next, bool progress) {
    uint32_t limit_ms = worker_get_limit_ms(worker, next);
    uint64_t deadline_ms = UINT64_MAX;
    if (next == CONNECTION_READY && connection_needs_room(connection) &&
        !list_is_empty(&connection->waited)) {
        return connection->deadline_ms; /* its request runs again; the deadline stays */
    }
    if (next == CONNECTION_PARTIAL) {
        deadline_ms = worker_get_large_end_ms(worker, connection);
    } else if (limit_ms > 0) {
        bool moves = progress && next != CONNECTION_LINGER;
        bool goes_on = worker_waits_on(connection, next) && !list_is_empty(&connection->waited);
        deadline_ms = goes_on && !moves ? connection->deadline_ms : worker->now_ms + limit_ms;
    }
    if (!proto_is_admitted(&connection->proto)) {
        uint64_t login_ms = connection->added_ms + worker->options->send_timeout_ms;
        return login_ms < deadline_ms ? login_ms : deadline_ms;
    }
    return deadline_ms;
}

void worker_set_deadline(struct worker *worker, struct connection *connection,
                         enum connection_next next, bool progress) {
    connection->deadline_ms = worker_get_deadline_ms(worker, connection, next, progress);
    if (connection->deadline_ms == UINT64_MAX) {
        list_remove(&connection->waited);
    } else if (list_is_empty(&connection->waited)) {
        list_append(&worker->waited, &connection->waited);
    }
}

void worker_note_large(const struct worker *worker, struct connection *connection) {
    if (connection->input.capacity <= BUDGET_SMALL_BYTES) {
        connection->large_ms = 0;
    } else if (connection->large_ms == 0) {
        connection->large_ms = worker->now_ms;
        connection->received_bytes = 0;
    }
}

/* The rate of a large request, in bytes per second; UINT64_MAX: not known yet. */
static uint64_t worker_get_rate(const struct worker *worker, const struct connection *connection) {
    uint64_t age_ms = worker->now_ms - connection->large_ms;
    if (connection->large_ms == 0 || age_ms < WORKER_RELIEF_MS) {
        return UINT64_MAX;
    }
    return UINT64_C(1000) * connection->received_bytes / age_ms;
}

bool worker_relieve(void *context, const struct connection *needy) {
    struct worker *worker = context;
    struct connection *slowest = NULL;
    uint64_t least = worker_get_rate(worker, needy);
    for (struct list *link = worker->waited.next; link != &worker->waited; link = link->next) {
        struct connection *connection = list_entry(link, struct connection, waited);
        uint64_t rate = worker_get_rate(worker, connection);
        if (rate < least && connection != needy &&
            connection->proto.service == needy->proto.service &&
            worker_get_next(connection) == CONNECTION_PARTIAL) {
            slowest = connection;
            least = rate;
        }
    }
    if (slowest == NULL) {
        return false;
    }
    budget_count_refused(&worker->options->server->limits.memory, PROTO_MEMORY_INPUT);
    log_debug("closing a connection that sends a large request slowly: other connections need "
              "its memory");
    worker_close(worker, slowest, "error");
    return true;
}

static void worker_log_deadline(const struct connection *connection) {
    enum connection_next last = worker_get_next(connection);
    if (!proto_is_admitted(&connection->proto)) {
        log_debug("closing a connection: its client did not log in in time");
    } else if (last == CONNECTION_STALLED) {
        log_debug("closing a connection: its client does not read its replies");
    } else if (last == CONNECTION_PARTIAL) {
        log_debug("closing a connection: its client did not complete a request in time");
    }
}

/* Closes the connections whose deadline has passed; refuses a request that has waited for room for
 * too long. */
static void worker_check_waited(struct worker *worker) {
    if (worker->now_ms - worker->scanned_ms < WORKER_SCAN_MS) {
        return;
    }
    worker->scanned_ms = worker->now_ms;
    struct list *next;
    for (struct list *link = worker->waited.next; link != &worker->waited; link = next) {
        struct connection *connection = list_entry(link, struct connection, waited);
        next = link->next;
        if (worker->now_ms < connection->deadline_ms) {
            continue;
        }
        enum connection_next last = worker_get_next(connection);
        if (last == CONNECTION_LOGIN_PENDING) {
            continue; /* checked again when the verdict arrives */
        }
        if (last == CONNECTION_PARKED ||
            (last == CONNECTION_READY && connection_needs_room(connection))) {
            connection_refuse_room(connection);
            list_remove(&connection->waited);
            list_remove(&connection->ready);
            worker_make_ready(worker, connection);
            continue;
        }
        bool for_login = last != CONNECTION_PARTIAL && worker_get_limit_ms(worker, last) == 0;
        if (for_login && proto_is_admitted(&connection->proto)) {
            list_remove(&connection->waited); /* the client has logged in meanwhile */
            continue;
        }
        worker_log_deadline(connection);
        worker_close(worker, connection, "error");
    }
}

/* Closes the connections whose client has sent nothing for too long. A connection that waits for
 * something other than its client, such as the disk, is not idle. A stalled connection has a
 * deadline instead. */
static void worker_check_idle(struct worker *worker) {
    struct proto_server *server = worker->options->server;
    const uint64_t limit_ms =
        1000 * ((uint64_t)server->limits.connection_idle_s + 1); /* + 1: served_s is rounded down */
    uint64_t oldest_ms = worker->now_ms;
    struct list *next;
    for (struct list *link = worker->connections.next; link != &worker->connections; link = next) {
        struct connection *connection = list_entry(link, struct connection, all);
        next = link->next;
        uint64_t served_ms =
            1000 * (uint64_t)atomic_load_explicit(&connection->served_s, memory_order_relaxed);
        if (worker_get_next(connection) != CONNECTION_IDLE || connection->proto.watcher != NULL) {
            continue;
        }
        if (worker->now_ms - served_ms >= limit_ms) {
            atomic_fetch_add(&server->counters.idle_kicks, 1);
            log_debug("closing a connection: nothing came from its client for %u s",
                      server->limits.connection_idle_s);
            worker_close(worker, connection, "idle_timeout");
        } else if (served_ms < oldest_ms) {
            oldest_ms = served_ms;
        }
    }
    worker->idle_scan_ms = oldest_ms + limit_ms;
    if (worker->idle_scan_ms < worker->now_ms + WORKER_IDLE_SCAN_MS) {
        worker->idle_scan_ms = worker->now_ms + WORKER_IDLE_SCAN_MS;
    }
}

void worker_close_cut_off(struct worker *worker) {
    struct list *next;
    worker->cut_offs = worker->cut_offs_known;
    for (struct list *link = worker->connections.next; link != &worker->connections; link = next) {
        struct connection *connection = list_entry(link, struct connection, all);
        next = link->next;
        if (atomic_load(&connection->proto.service->is_cut_off)) {
            worker_close(worker, connection, "error");
        }
    }
}

/* Closes the connections whose client's certificate has expired. */
static void worker_check_ends(struct worker *worker) {
    uint32_t now_s = worker->store.now_s;
    struct list *next;
    worker->end_s = UINT32_MAX;
    for (struct list *link = worker->connections.next; link != &worker->connections; link = next) {
        struct connection *connection = list_entry(link, struct connection, all);
        next = link->next;
        if (connection->end_s <= now_s) {
            log_debug("closing a connection: its client's certificate has expired");
            worker_close(worker, connection, "error");
        } else if (connection->end_s < worker->end_s) {
            worker->end_s = connection->end_s;
        }
    }
}

void worker_check_deadlines(struct worker *worker) {
    if (!list_is_empty(&worker->waited)) {
        worker_check_waited(worker);
    }
    if (worker->store.now_s >= worker->end_s) {
        worker_check_ends(worker);
    }
    if (worker->options->server->limits.connection_idle_s > 0 &&
        worker->now_ms >= worker->idle_scan_ms) {
        worker_check_idle(worker);
    }
}

int worker_get_check_ms(const struct worker *worker) {
    if (!list_is_empty(&worker->waited)) {
        return WORKER_SCAN_MS;
    }
    if (worker->options->server->limits.connection_idle_s > 0 &&
        !list_is_empty(&worker->connections)) {
        return WORKER_IDLE_SCAN_MS;
    }
    if (worker->end_s == UINT32_MAX) {
        return -1;
    }
    uint32_t now_s = clock_unix_s();
    uint64_t left_ms = worker->end_s > now_s ? UINT64_C(1000) * (worker->end_s - now_s) : 0;
    return left_ms < WORKER_END_SCAN_MS ? (int)left_ms : WORKER_END_SCAN_MS;
}
