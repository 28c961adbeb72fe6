#include "net/acceptor.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/share.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTOR_TURN = 64, /* connections from one listener before the next has its turn */
    ACCEPTOR_PAUSE_MS = 100,
    ACCEPTOR_LOG_MS = 10000 /* between two lines about refused clients */
};

/* Whether a warning may be logged: one per ACCEPTOR_LOG_MS. */
static bool acceptor_may_log(struct acceptor *acceptor, uint64_t now_ms) {
    if (acceptor->rejected_logged_ms != 0 &&
        now_ms - acceptor->rejected_logged_ms < ACCEPTOR_LOG_MS) {
        return false;
    }
    acceptor->rejected_logged_ms = now_ms;
    return true;
}

static void acceptor_reject(struct acceptor *acceptor, int fd, const struct listener *listener) {
    static const char reply[] = "ERROR Too many open connections\r\n";
    uint64_t now_ms = clock_monotonic_ms();
    const char *pool = pool_get_options(listener->service->pool)->name;
    atomic_fetch_add(&acceptor->server->counters.connections_rejected, 1);
    atomic_store(&listener->service->rejected_ms, now_ms);
    if (listener->tls == NULL) { /* a TLS client could not read it */
        ssize_t ignored = send(fd, reply, strlen(reply), MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)ignored; /* if the reply cannot be sent, the client only sees that the connection is
                        * closed */
    }
    close(fd);
    if (!acceptor_may_log(acceptor, now_ms)) {
        return;
    }
    const struct proto_share *share = &listener->service->connections;
    unsigned long long used = atomic_load(&share->used);
    if (share->most != 0 && used >= share->most) {
        log_warning("refusing connections to pool %s: it has %llu of its %llu connections; raise "
                    "the pool's max_connections if it serves more clients than that",
                    pool, used, (unsigned long long)share->most);
    } else {
        log_warning("refusing connections to pool %s: it has %llu connections, and all pools may "
                    "have %llu together; raise max_connections in [server] if the machine serves "
                    "more clients than that",
                    pool, used, (unsigned long long)acceptor->server->limits.connections.limit);
    }
}

/* Handles a failed accept. False if accepting has to pause. */
static bool acceptor_handle_error(struct acceptor *acceptor, int error_number) {
    switch (error_number) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        acceptor->paused_until_ms = clock_monotonic_ms() + ACCEPTOR_PAUSE_MS;
        if (acceptor_may_log(acceptor, clock_monotonic_ms())) {
            log_error("cannot accept connections for now: %s; raise the limit of open files "
                      "(LimitNOFILE= in the systemd unit, or ulimit -n)",
                      strerror(error_number));
        }
        return false;
    default:
        return true; /* the client has closed its connection, or no client is waiting */
    }
}

/* Passes the connection on. The new owner decrements the connection count when it closes the
 * connection. */
static void acceptor_pass_on(struct acceptor *acceptor, int fd, const union peer *peer,
                             const struct listener *listener) {
    atomic_fetch_add(&acceptor->server->counters.connections_total, 1);
    if (listener->tls != NULL) {
        handshakes_add(acceptor->handshakes, fd, peer, listener);
    } else {
        workers_add(acceptor->workers, fd, peer, listener, NULL);
    }
}

/* Accepts the waiting connections, up to ACCEPTOR_TURN. False if accepting has to pause. */
static bool acceptor_take(struct acceptor *acceptor, struct listener *listener) {
    for (unsigned i = 0; i < ACCEPTOR_TURN; i++) {
        union peer peer = {0};
        socklen_t size = sizeof peer;
        int fd = accept4(listener->fd, &peer.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return acceptor_handle_error(acceptor, errno);
        }
        if (listener->is_paused) { /* an adopted one */
            close(fd);
            continue;
        }
        if (share_take(&acceptor->server->limits.connections, &listener->service->connections, 1,
                       false)) {
            acceptor_pass_on(acceptor, fd, &peer, listener);
        } else {
            acceptor_reject(acceptor, fd, listener);
        }
    }
    return true;
}

/* Waits for connections, wake_fd or change_fd. -1 with errno if that fails. */
static int acceptor_wait(struct acceptor *acceptor, struct pollfd *polled) {
    unsigned count = acceptor->listener_count;
    uint64_t now_ms = clock_monotonic_ms();
    if (now_ms < acceptor->paused_until_ms) {
        return poll(polled + count, 2, (int)(acceptor->paused_until_ms - now_ms));
    }
    return poll(polled, count + 2, -1);
}

bool acceptor_run(struct acceptor *acceptor, int wake_fd) {
    unsigned count = acceptor->listener_count;
    struct pollfd *polled = calloc(count + 2, sizeof *polled);
    if (polled == NULL) {
        log_error("cannot accept connections: no memory");
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        const struct listener *listener = &acceptor->listeners[i];
        bool is_shut = listener->is_paused && !listener->is_adopted;
        polled[i] = (struct pollfd){.fd = is_shut ? -1 : listener->fd, .events = POLLIN};
    }
    polled[count] = (struct pollfd){.fd = wake_fd, .events = POLLIN};
    polled[count + 1] = (struct pollfd){.fd = acceptor->change_fd, .events = POLLIN};

    bool well = true;
    while (well && polled[count].revents == 0 && polled[count + 1].revents == 0) {
        for (unsigned i = 0; i < count; i++) {
            polled[i].revents = 0;
        }
        if (acceptor_wait(acceptor, polled) < 0 && errno != EINTR) {
            log_error("cannot wait for connections: %m");
            well = false;
        }
        for (unsigned i = 0; i < count && well; i++) {
            if (polled[i].revents != 0 && !acceptor_take(acceptor, &acceptor->listeners[i])) {
                break;
            }
        }
    }
    free(polled);
    return well;
}
