#include "net/greeter.h"

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
    GREETER_EVENTS = 64,
    GREETER_SCAN_MS = 200,  /* between two looks at the deadlines, while there are any */
    GREETER_LOG_MS = 10000, /* between two lines about failed handshakes */
    GREETER_NICE = 5,       /* workers go first */
    TLS_HANDSHAKE_BYTE = 0x16
};

/* A client that has not finished its handshake. */
struct guest {
    struct list link; /* in greeter.given, then in greeter.guests */
    int fd;
    union peer peer;
    const struct listener *listener;
    struct tls_session *session; /* NULL until it is known to speak TLS */
    uint64_t deadline_ms;        /* on the monotonic clock */
};

struct greeter {
    struct greeter_options options;
    pthread_t thread;
    int epoll_fd;
    struct inbox given; /* guests; a wake-up may mean `stopping` as well */
    _Atomic bool stopping;

    /* the thread's own */
    struct list guests; /* in the order in which they came, which is that of their deadlines */
    unsigned guest_count;
    uint64_t logged_ms; /* when the last line about a failed handshake was written; 0: never */
    unsigned unlogged;  /* failed since, without a line */
};

/* The guest is in no list any more. Counted out before its socket is closed, as in worker_close. */
static void guest_destroy(struct greeter *greeter, struct guest *guest) {
    share_give(&greeter->options.server->connections, &guest->listener->service->connections, 1);
    tls_session_destroy(guest->session);
    close(guest->fd);
    free(guest);
}

static void greeter_forget(struct greeter *greeter, struct guest *guest) {
    list_remove(&guest->link);
    greeter->guest_count--;
    guest->listener->service->handshakes--;
}

/* Says why, now and then, and closes. */
static void greeter_refuse(struct greeter *greeter, struct guest *guest, const char *reason) {
    atomic_fetch_add(&greeter->options.server->tls.handshake_errors, 1);
    uint64_t now_ms = clock_monotonic_ms();
    if (greeter->logged_ms == 0 || now_ms - greeter->logged_ms >= GREETER_LOG_MS) {
        char peer[ADDRESS_TEXT_MAX];
        address_describe_peer(&guest->peer, peer);
        log_warning("closing a connection from %s to %s, which takes TLS: %s (%u more since the "
                    "last such line)",
                    peer, guest->listener->address.text, reason, greeter->unlogged);
        greeter->logged_ms = now_ms;
        greeter->unlogged = 0;
    } else {
        greeter->unlogged++;
    }
    greeter_forget(greeter, guest);
    guest_destroy(greeter, guest);
}

/* Looks at the first byte without taking it. False if the guest is gone, or only waits. */
static bool greeter_meet(struct greeter *greeter, struct guest *guest) {
    unsigned char first;
    ssize_t result = recv(guest->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (result < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (result <= 0) {
        greeter_refuse(greeter, guest, "the client has gone without a word");
        return false;
    }
    if (first != TLS_HANDSHAKE_BYTE) {
        greeter_refuse(greeter, guest,
                       "the client speaks plain text; it has to be told to use TLS, or to use a "
                       "Unix socket or a pool without tls_cert");
        return false;
    }
    guest->session = tls_session_create(guest->listener->tls, guest->fd);
    if (guest->session == NULL) {
        greeter_refuse(greeter, guest, "no memory");
        return false;
    }
    return true;
}

/* Goes on with a handshake as far as the client's bytes go. */
static void greeter_serve(struct greeter *greeter, struct guest *guest) {
    const char *reason = NULL;
    if (guest->session == NULL && !greeter_meet(greeter, guest)) {
        return;
    }
    switch (tls_handshake(guest->session, &reason)) {
    case TLS_WANTS_INPUT:
    case TLS_WANTS_OUTPUT:
        return; /* epoll tells of both */
    case TLS_ENDED:
    case TLS_BROKEN:
        greeter_refuse(greeter, guest, reason);
        return;
    case TLS_DONE:
        break;
    }
    greeter_forget(greeter, guest);
    epoll_ctl(greeter->epoll_fd, EPOLL_CTL_DEL, guest->fd, NULL);
    workers_give(greeter->options.workers, guest->fd, &guest->peer, guest->listener,
                 guest->session);
    free(guest);
}

/* How many connections of a pool may be at their handshake: half of what the pool can have at this
 * moment, so that clients that never finish do not keep out those that would. */
static unsigned greeter_most_of(const struct greeter *greeter,
                                const struct proto_service *service) {
    return 1 + (unsigned)(share_get_reach(&greeter->options.server->connections,
                                          &service->connections) /
                          2);
}

/* Drops the first who came to a pool at which too many are. */
static void greeter_bound(struct greeter *greeter, const struct proto_service *service) {
    struct list *next;
    for (struct list *link = greeter->guests.next;
         link != &greeter->guests && service->handshakes > greeter_most_of(greeter, service);
         link = next) {
        struct guest *guest = list_entry(link, struct guest, link);
        next = link->next;
        if (guest->listener->service == service) {
            greeter_refuse(greeter, guest, "too many others have begun theirs since");
        }
    }
}

static void greeter_take_given(struct greeter *greeter) {
    struct list given;
    inbox_take(&greeter->given, &given);
    while (!list_is_empty(&given)) {
        struct guest *guest = list_entry(given.next, struct guest, link);
        struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.ptr = guest}};
        list_remove(&guest->link);
        list_append(&greeter->guests, &guest->link);
        greeter->guest_count++;
        guest->listener->service->handshakes++;
        if (epoll_ctl(greeter->epoll_fd, EPOLL_CTL_ADD, guest->fd, &event) != 0) {
            greeter_refuse(greeter, guest, "epoll does not take it");
            continue;
        }
        greeter_bound(greeter, guest->listener->service);
    }
}

/* Drops who is late, and who came first where there are too many. */
static void greeter_drop(struct greeter *greeter) {
    uint64_t now_ms = clock_monotonic_ms();
    while (!list_is_empty(&greeter->guests)) {
        struct guest *oldest = list_entry(greeter->guests.next, struct guest, link);
        if (now_ms >= oldest->deadline_ms) {
            greeter_refuse(greeter, oldest, "its handshake takes too long");
        } else if (greeter->guest_count > greeter->options.most) {
            greeter_refuse(greeter, oldest, "too many others have begun theirs since");
        } else {
            return;
        }
    }
}

static void *greeter_main(void *argument) {
    struct greeter *greeter = argument;
    struct epoll_event events[GREETER_EVENTS];
    setpriority(PRIO_PROCESS, 0, GREETER_NICE); /* on Linux: of this thread */
    while (!atomic_load(&greeter->stopping)) {
        int timeout_ms = list_is_empty(&greeter->guests) ? -1 : GREETER_SCAN_MS;
        int count = epoll_wait(greeter->epoll_fd, events, GREETER_EVENTS, timeout_ms);
        bool woken = false;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) {
                woken = true;
            } else {
                greeter_serve(greeter, events[i].data.ptr);
            }
        }
        if (woken) {
            greeter_take_given(greeter);
        }
        greeter_drop(greeter);
    }
    return NULL;
}

/* Accepts NULL, and a greeter that was made in part. Its thread has ended. */
static void greeter_destroy(struct greeter *greeter) {
    if (greeter == NULL) {
        return;
    }
    struct list given;
    inbox_take(&greeter->given, &given);
    list_move_all(&greeter->guests, &given);
    while (!list_is_empty(&greeter->guests)) {
        struct guest *guest = list_entry(greeter->guests.next, struct guest, link);
        list_remove(&guest->link);
        guest_destroy(greeter, guest);
    }
    if (greeter->epoll_fd >= 0) {
        close(greeter->epoll_fd);
    }
    inbox_finish(&greeter->given);
    free(greeter);
}

struct greeter *greeter_start(const struct greeter_options *options) {
    struct greeter *greeter = calloc(1, sizeof *greeter);
    if (greeter == NULL) {
        return NULL;
    }
    greeter->options = *options;
    list_init(&greeter->guests);
    greeter->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bool has_inbox = inbox_init(&greeter->given);
    struct epoll_event event = {EPOLLIN, {.ptr = NULL}};
    int result = 0;
    if (greeter->epoll_fd < 0 || !has_inbox ||
        epoll_ctl(greeter->epoll_fd, EPOLL_CTL_ADD, greeter->given.wake_fd, &event) != 0) {
        result = errno;
    } else {
        result = pthread_create(&greeter->thread, NULL, greeter_main, greeter);
    }
    if (result != 0) {
        greeter_destroy(greeter);
        errno = result;
        return NULL;
    }
    pthread_setname_np(greeter->thread, "greeter");
    return greeter;
}

void greeter_give(struct greeter *greeter, int fd, const union peer *peer,
                  const struct listener *listener) {
    struct guest *guest = malloc(sizeof *guest);
    if (guest == NULL) {
        log_warning("closing a new connection: no memory");
        share_give(&greeter->options.server->connections, &listener->service->connections, 1);
        close(fd);
        return;
    }
    *guest = (struct guest){
        .fd = fd,
        .peer = *peer,
        .listener = listener,
        .deadline_ms = clock_monotonic_ms() + greeter->options.timeout_ms,
    };
    list_init(&guest->link);
    inbox_put(&greeter->given, &guest->link);
}

void greeter_stop(struct greeter *greeter) {
    if (greeter == NULL) {
        return;
    }
    atomic_store(&greeter->stopping, true);
    inbox_wake(&greeter->given);
    pthread_join(greeter->thread, NULL);
    greeter_destroy(greeter);
}
