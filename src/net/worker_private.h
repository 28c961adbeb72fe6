/* One worker thread, between worker.c, which is what the thread does, and workers.c, which starts,
 * feeds and stops all of them (worker.h). */
#ifndef STAYD_NET_WORKER_PRIVATE_H
#define STAYD_NET_WORKER_PRIVATE_H

#include "net/connection.h"
#include "net/inbox.h"
#include "net/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

enum { WORKER_EVENTS = 256 };

struct worker {
    const struct worker_options *options;
    pthread_t thread;
    int epoll_fd;
    _Atomic bool stopping;
    _Atomic unsigned connection_count; /* given and not yet closed */

    struct inbox given; /* new connections; a wake-up may mean `mailbox`, a pool's sync, lines for a
                         * watcher or `stopping` as well */
    struct auth_mailbox mailbox; /* verdicts on logins of `connections` */

    /* Changed by the thread alone, under the lock; so it reads it without, and others with it. A
     * connection is closed under it. */
    pthread_mutex_t connections_lock;
    struct list connections;

    /* the thread's own */
    struct store_thread store;
    uint64_t now_ms;       /* on the monotonic clock, when this batch began */
    uint64_t idle_scan_ms; /* no connection can have been idle for too long before */
    uint32_t end_s;        /* before that no client's certificate ends; UINT32_MAX: there is none */
    struct list ready;     /* to be served in this batch */
    struct list heavy;     /* to be served behind those, some in each batch */
    struct list waited;   /* whose clients have a deadline: stalled, lingering, not logged in ... */
    struct list held;     /* waiting for a sync */
    struct list parked;   /* with a request that waits for room, longest first */
    struct list watching; /* to be woken: their clients watch, or wait for what another thread does;
                           * may be in the others as well */
    uint64_t scanned_ms;
    struct connection_loan loan;
    struct epoll_event events[WORKER_EVENTS];
};

/* NULL if memory or file descriptors are short. `options` lives longer. */
struct worker *worker_create(const struct worker_options *options, unsigned index);

/* Accepts NULL, and a worker that was made in part. Its thread has ended. */
void worker_destroy(struct worker *worker);

/* What the thread runs, until worker->stopping. */
void *worker_main(void *argument);

/* Tells watchers of a connection that begins (no reason) or ends (memcached's word for why). */
void worker_tell(const struct connection *connection, const char *reason);

/* What connection_serve said last. Relaxed: only the connection's thread writes it. */
static inline enum connection_next worker_get_next(const struct connection *connection) {
    return atomic_load_explicit(&connection->next, memory_order_relaxed);
}

#endif
