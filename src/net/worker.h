/* One worker thread. worker.c has what the thread does; workers.c starts and stops all workers and
 * passes connections to them (workers.h). Only these two files include this header. */
#ifndef STAYD_NET_WORKER_H
#define STAYD_NET_WORKER_H

#include "net/connection.h"
#include "net/inbox.h"
#include "net/workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

enum { WORKER_EVENTS = 256 };

struct worker {
    const struct workers_options *options;
    pthread_t thread;
    int epoll_fd;
    _Atomic bool stopping;
    _Atomic unsigned connection_count; /* connections that were added and are not closed */

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
    uint32_t end_s;        /* no client's certificate ends before; UINT32_MAX: no client has one */
    struct list ready;     /* to be served in this batch */
    struct list heavy;     /* to be served after `ready`, some in each batch */
    struct list waited;    /* connections with a deadline: stalled, lingering, not logged in ... */
    struct list held;      /* connections that wait for a sync */
    struct list parked;    /* connections with a request that waits for room, oldest first */
    struct list watching;  /* connections to be woken: their clients watch, or wait for the work of
                            * another thread; they may also be in the other lists */
    uint64_t scanned_ms;
    struct connection_loan loan;
    struct epoll_event events[WORKER_EVENTS];
};

/* NULL if memory or file descriptors are short. `options` lives longer. */
struct worker *worker_create(const struct workers_options *options, unsigned index);

/* Accepts NULL, and a partly created worker. Its thread has ended. */
void worker_destroy(struct worker *worker);

/* The thread's main function: runs until worker->stopping is set. */
void *worker_main(void *argument);

/* Reports to watchers that a connection begins (`reason` NULL) or ends (`reason` in memcached's
 * words). */
void worker_tell(const struct connection *connection, const char *reason);

/* The last result of connection_serve. Relaxed: only the connection's thread writes it. */
static inline enum connection_next worker_get_next(const struct connection *connection) {
    return atomic_load_explicit(&connection->next, memory_order_relaxed);
}

static inline void worker_set_next(struct connection *connection, enum connection_next next) {
    atomic_store_explicit(&connection->next, next, memory_order_relaxed); /* as above */
}

#endif
