#include "net/handshakes.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/inbox.h"
#include "net/share.h"
#include "net/tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HANDSHAKES_EVENTS = 64,
    HANDSHAKES_SCAN_MS = 200,  /* the interval of checks for passed deadlines */
    HANDSHAKES_LOG_MS = 10000, /* the interval of warnings about failed handshakes */
    HANDSHAKES_NICE = 5,       /* a lower priority than the workers */
    TLS_HANDSHAKE_BYTE = 0x16
};

/* A connection whose handshake has not ended. */
struct handshake {
    struct list link; /* in handshakes.incoming, then in handshakes.active */
    int fd;
    union peer peer;
    const struct listener *listener;
    struct tls_session *session; /* NULL until the first byte has been checked */
    uint64_t deadline_ms;        /* on the monotonic clock */
};

struct handshakes {
    struct handshakes_options options;
    pthread_t thread;
    int epoll_fd;
    struct inbox incoming; /* new connections; a wake-up may also mean `stopping` */
    _Atomic bool stopping;

    /* used by the thread only */
    struct list active; /* oldest first, so the first one has the next deadline */
    unsigned count;
    uint64_t logged_ms; /* the time of the last warning; 0: none yet */
    unsigned unlogged;  /* handshakes that have failed since that warning */
};

/* The caller has removed the handshake from its list. The connection count is decremented before
 * the socket is closed, as in worker_close. */
static void handshake_destroy(struct handshakes *handshakes, struct handshake *handshake) {
    share_give(&handshakes->options.server->limits.connections,
               &handshake->listener->service->connections, 1);
    tls_session_destroy(handshake->session);
    close(handshake->fd);
    free(handshake);
}

static void handshakes_remove(struct handshakes *handshakes, struct handshake *handshake) {
    list_remove(&handshake->link);
    handshakes->count--;
    handshake->listener->service->handshakes--;
}

/* Closes the connection, and logs the reason if the last warning is HANDSHAKES_LOG_MS ago. */
static void handshakes_fail(struct handshakes *handshakes, struct handshake *handshake,
                            const char *reason) {
    atomic_fetch_add(&handshakes->options.server->tls.handshake_errors, 1);
    uint64_t now_ms = clock_monotonic_ms();
    if (handshakes->logged_ms == 0 || now_ms - handshakes->logged_ms >= HANDSHAKES_LOG_MS) {
        char peer[ADDRESS_TEXT_MAX];
        address_describe_peer(&handshake->peer, peer);
        log_warning("closing a connection from %s to %s, which requires TLS: %s (%u more since the "
                    "last such line)",
                    peer, handshake->listener->address.text, reason, handshakes->unlogged);
        handshakes->logged_ms = now_ms;
        handshakes->unlogged = 0;
    } else {
        handshakes->unlogged++;
    }
    handshakes_remove(handshakes, handshake);
    handshake_destroy(handshakes, handshake);
}

/* Peeks at the first byte, and creates the session if it begins a TLS handshake. False if the
 * connection was closed, or if no byte has arrived. */
static bool handshakes_check_first_byte(struct handshakes *handshakes,
                                        struct handshake *handshake) {
    unsigned char first;
    ssize_t result = recv(handshake->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (result < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (result <= 0) {
        handshakes_fail(handshakes, handshake, "the client closed it without sending anything");
        return false;
    }
    if (first != TLS_HANDSHAKE_BYTE) {
        handshakes_fail(handshakes, handshake,
                        "the client speaks plain text; configure it to use TLS, or to use a "
                        "Unix socket or a pool without tls_cert");
        return false;
    }
    handshake->session = tls_session_create(handshake->listener->tls, handshake->fd);
    if (handshake->session == NULL) {
        handshakes_fail(handshakes, handshake, "no memory");
        return false;
    }
    return true;
}

/* Continues a handshake with the bytes that have arrived. */
static void handshakes_serve(struct handshakes *handshakes, struct handshake *handshake) {
    const char *reason = NULL;
    if (handshake->session == NULL && !handshakes_check_first_byte(handshakes, handshake)) {
        return;
    }
    switch (tls_handshake(handshake->session, &reason)) {
    case TLS_WANTS_INPUT:
    case TLS_WANTS_OUTPUT:
        return; /* epoll reports both */
    case TLS_ENDED:
    case TLS_BROKEN:
        handshakes_fail(handshakes, handshake, reason);
        return;
    case TLS_DONE:
        break;
    }
    handshakes_remove(handshakes, handshake);
    epoll_ctl(handshakes->epoll_fd, EPOLL_CTL_DEL, handshake->fd, NULL);
    workers_add(handshakes->options.workers, handshake->fd, &handshake->peer, handshake->listener,
                handshake->session);
    free(handshake);
}

/* The maximum of active handshakes of a pool: half of the connections that the pool can have now,
 * so that clients that never finish their handshake do not keep out other clients. */
static unsigned handshakes_get_most(const struct handshakes *handshakes,
                                    const struct proto_service *service) {
    return 1 + (unsigned)(share_get_reach(&handshakes->options.server->limits.connections,
                                          &service->connections) /
                          2);
}

/* Drops the oldest handshakes of a pool that has too many. */
static void handshakes_bound(struct handshakes *handshakes, const struct proto_service *service) {
    struct list *next;
    for (struct list *link = handshakes->active.next;
         link != &handshakes->active &&
         service->handshakes > handshakes_get_most(handshakes, service);
         link = next) {
        struct handshake *handshake = list_entry(link, struct handshake, link);
        next = link->next;
        if (handshake->listener->service == service) {
            handshakes_fail(handshakes, handshake, "too many newer handshakes are active");
        }
    }
}

static void handshakes_take_incoming(struct handshakes *handshakes) {
    struct list incoming;
    inbox_take(&handshakes->incoming, &incoming);
    while (!list_is_empty(&incoming)) {
        struct handshake *handshake = list_entry(incoming.next, struct handshake, link);
        struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.ptr = handshake}};
        list_remove(&handshake->link);
        list_append(&handshakes->active, &handshake->link);
        handshakes->count++;
        handshake->listener->service->handshakes++;
        if (epoll_ctl(handshakes->epoll_fd, EPOLL_CTL_ADD, handshake->fd, &event) != 0) {
            handshakes_fail(handshakes, handshake, "epoll_ctl failed");
            continue;
        }
        handshakes_bound(handshakes, handshake->listener->service);
    }
}

/* Drops the handshakes whose deadline has passed, and the oldest ones if there are too many. */
static void handshakes_drop(struct handshakes *handshakes) {
    uint64_t now_ms = clock_monotonic_ms();
    while (!list_is_empty(&handshakes->active)) {
        struct handshake *oldest = list_entry(handshakes->active.next, struct handshake, link);
        if (now_ms >= oldest->deadline_ms) {
            handshakes_fail(handshakes, oldest, "the handshake timed out");
        } else if (handshakes->count > handshakes->options.most) {
            handshakes_fail(handshakes, oldest, "too many newer handshakes are active");
        } else {
            return;
        }
    }
}

static void *handshakes_main(void *argument) {
    struct handshakes *handshakes = argument;
    struct epoll_event events[HANDSHAKES_EVENTS];
    setpriority(PRIO_PROCESS, 0, HANDSHAKES_NICE); /* on Linux: of this thread only */
    while (!atomic_load(&handshakes->stopping)) {
        int timeout_ms = list_is_empty(&handshakes->active) ? -1 : HANDSHAKES_SCAN_MS;
        int count = epoll_wait(handshakes->epoll_fd, events, HANDSHAKES_EVENTS, timeout_ms);
        bool woken = false;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) {
                woken = true;
            } else {
                handshakes_serve(handshakes, events[i].data.ptr);
            }
        }
        if (woken) {
            handshakes_take_incoming(handshakes);
        }
        handshakes_drop(handshakes);
    }
    return NULL;
}

/* Accepts NULL, and a partly created struct. The thread has ended. */
static void handshakes_destroy(struct handshakes *handshakes) {
    if (handshakes == NULL) {
        return;
    }
    struct list incoming;
    inbox_take(&handshakes->incoming, &incoming);
    list_move_all(&handshakes->active, &incoming);
    while (!list_is_empty(&handshakes->active)) {
        struct handshake *handshake = list_entry(handshakes->active.next, struct handshake, link);
        list_remove(&handshake->link);
        handshake_destroy(handshakes, handshake);
    }
    if (handshakes->epoll_fd >= 0) {
        close(handshakes->epoll_fd);
    }
    inbox_finish(&handshakes->incoming);
    free(handshakes);
}

struct handshakes *handshakes_start(const struct handshakes_options *options) {
    struct handshakes *handshakes = calloc(1, sizeof *handshakes);
    if (handshakes == NULL) {
        return NULL;
    }
    handshakes->options = *options;
    list_init(&handshakes->active);
    handshakes->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bool has_inbox = inbox_init(&handshakes->incoming);
    struct epoll_event event = {EPOLLIN, {.ptr = NULL}};
    int result = 0;
    if (handshakes->epoll_fd < 0 || !has_inbox ||
        epoll_ctl(handshakes->epoll_fd, EPOLL_CTL_ADD, handshakes->incoming.wake_fd, &event) != 0) {
        result = errno;
    } else {
        result = pthread_create(&handshakes->thread, NULL, handshakes_main, handshakes);
    }
    if (result != 0) {
        handshakes_destroy(handshakes);
        errno = result;
        return NULL;
    }
    pthread_setname_np(handshakes->thread, "handshakes");
    return handshakes;
}

void handshakes_add(struct handshakes *handshakes, int fd, const union peer *peer,
                    const struct listener *listener) {
    struct handshake *handshake = malloc(sizeof *handshake);
    if (handshake == NULL) {
        log_warning("closing a new connection: no memory");
        share_give(&handshakes->options.server->limits.connections, &listener->service->connections,
                   1);
        close(fd);
        return;
    }
    *handshake = (struct handshake){
        .fd = fd,
        .peer = *peer,
        .listener = listener,
        .deadline_ms = clock_monotonic_ms() + handshakes->options.timeout_ms,
    };
    list_init(&handshake->link);
    inbox_put(&handshakes->incoming, &handshake->link);
}

void handshakes_stop(struct handshakes *handshakes) {
    if (handshakes == NULL) {
        return;
    }
    atomic_store(&handshakes->stopping, true);
    inbox_wake(&handshakes->incoming);
    pthread_join(handshakes->thread, NULL);
    handshakes_destroy(handshakes);
}
