/* One worker thread, for the files of the workers only:
 *
 *     workers.c              starts and stops all workers, passes connections to them (workers.h)
 *     worker.c               what the thread does
 *     worker_turn.c          serves the connections that are ready
 *     worker_deadlines.c     how long a connection may wait
 *     worker_connections.c   closes a connection, or makes it ready
 */
#ifndef STAYD_NET_WORKER_H
#define STAYD_NET_WORKER_H

#include "net/connection.h"
#include "net/inbox.h"
#include "net/transfers.h"
#include "net/workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

enum {
    WORKER_EVENTS = 256,
    WORKER_SCAN_MS = 500,         /* the interval of checks for passed deadlines */
    WORKER_LIGHT_WORK = 64 << 10, /* in bytes; a connection with more in a usual turn is heavy */
};

struct worker {
    const struct workers_options *options;
    pthread_t thread;
    int epoll_fd;
    _Atomic bool stopping;
    _Atomic unsigned connection_count; /* connections that were added and are not closed */

    /* for workers_probe */
    _Atomic unsigned batches; /* that have begun */
    _Atomic pid_t thread_id;
    unsigned probed_batches; /* main thread only: `batches` at the last probe */

    /* New connections. A wake-up may also mean: a verdict in `mailbox`, a pool's sync, room in a
     * pool, lines for a watcher, the end of a reload, or `stopping`. */
    struct inbox incoming;
    struct auth_mailbox mailbox; /* verdicts on logins of `connections` */

    /* The list is written only by the worker, under the lock. The worker may read it without the
     * lock; other threads must take the lock. Connections are freed under the lock. */
    pthread_mutex_t connections_lock;
    struct list connections;

    /* used by the thread only */
    struct store_thread store;
    uint64_t now_ms;       /* on the monotonic clock, when this batch began */
    uint64_t idle_scan_ms; /* the next scan for idle connections */
    uint32_t end_s; /* no client's certificate expires before this; UINT32_MAX: no client has one */
    struct list ready;    /* to be served in this batch */
    struct list heavy;    /* to be served after `ready`, some in each batch */
    struct list waited;   /* connections with a deadline: stalled, lingering, not logged in ... */
    struct list held;     /* connections that wait for a sync */
    struct list parked;   /* connections with a request that waits for room, oldest first */
    struct list watching; /* connections that other threads wake: their clients watch, or wait for
                             the work of another thread; they may also be in other lists */
    uint64_t scanned_ms;
    uint32_t cut_offs; /* of the server, that have been carried out, and that are known */
    uint32_t cut_offs_known;
    struct connection_loan loan;
    struct transfers *transfers;
    struct worker_group *group; /* worker_turn.c; NULL: transfers gain nothing from groups */
    struct epoll_event events[WORKER_EVENTS];
};

/* NULL if memory or file descriptors are short. `options` lives longer. */
struct worker *worker_create(const struct workers_options *options, unsigned index);

/* Accepts NULL, and a partly created worker. Its thread has ended. */
void worker_destroy(struct worker *worker);

/* The thread's main function: runs until worker->stopping is set. */
void *worker_main(void *argument);

/* worker_turn.c, below */

/* Creates worker->group if worker->transfers makes use of it; loan.input_bytes is set. False if
 * memory is short; worker_finish_group frees what there is. */
bool worker_init_group(struct worker *worker);
void worker_finish_group(struct worker *worker);

/* Serves every ready connection once, and some of the heavy ones. */
void worker_serve_ready(struct worker *worker);

/* worker_connections.c, below */

/* Reports to watchers that a connection begins (`reason` NULL) or ends (`reason` in memcached's
 * words). */
void worker_tell(const struct connection *connection, const char *reason);

/* Closes the connection and frees it; `reason` is in memcached's words. The connection count is
 * decremented after the memory is freed and before the socket is closed: so a client that sees its
 * connection closed can open the next one. */
void worker_close(struct worker *worker, struct connection *connection, const char *reason);

/* Puts the connection into worker.ready or worker.heavy, unless its link `ready` is in a list
 * already. */
void worker_make_ready(struct worker *worker, struct connection *connection);

static inline uint32_t worker_wanted_events(bool output) {
    return EPOLLIN | EPOLLRDHUP | EPOLLET | (output ? EPOLLOUT : 0U);
}

static inline bool worker_is_heavy(const struct connection *connection) {
    return connection->usual_work > WORKER_LIGHT_WORK;
}

/* worker_deadlines.c, below */

/* Sets the deadline of the connection, or clears it, after a turn that ended with `next`.
 * `progress`: bytes were sent or received in it. */
void worker_set_deadline(struct worker *worker, struct connection *connection,
                         enum connection_next next, bool progress);

/* Notes when the connection began to own a part of a large request, or that it owns none. */
void worker_note_large(const struct worker *worker, struct connection *connection);

/* The function of connection_loan.relieve: closes the connection that sends a large request to the
 * same pool at the lowest rate, if that rate is below the rate of `needy`. So slow clients, which
 * keep memory for long, cannot block fast ones. */
bool worker_relieve(void *context, const struct connection *needy);

/* Closes the connections whose time is over. Called once a batch. */
void worker_check_deadlines(struct worker *worker);

/* Closes the connections of services that are cut off. */
void worker_close_cut_off(struct worker *worker);

/* The time until worker_check_deadlines has to be called again; -1: no connection needs it. */
int worker_get_check_ms(const struct worker *worker);

/* Relaxed: other threads read it to show it, and nothing depends on the order. */
static inline void worker_note_served(const struct worker *worker, struct connection *connection) {
    atomic_store_explicit(&connection->served_s, (uint32_t)(worker->now_ms / 1000),
                          memory_order_relaxed);
}

/* The last result of connection_serve. Relaxed: only the connection's thread writes it. */
static inline enum connection_next worker_get_next(const struct connection *connection) {
    return atomic_load_explicit(&connection->next, memory_order_relaxed);
}

static inline enum proto_incoming worker_get_incoming(const struct connection *connection) {
    return (enum proto_incoming)atomic_load_explicit(&connection->incoming,
                                                     memory_order_relaxed); /* as above */
}

static inline void worker_set_incoming(struct connection *connection,
                                       enum proto_incoming incoming) {
    atomic_store_explicit(&connection->incoming, (uint8_t)incoming,
                          memory_order_relaxed); /* as above */
}

static inline void worker_set_next(struct connection *connection, enum connection_next next) {
    atomic_store_explicit(&connection->next, next, memory_order_relaxed); /* as above */
}

#endif
