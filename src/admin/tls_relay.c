#include "admin/tls_relay.h"

#include "admin/clients.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/list.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RELAY_BUFFER_BYTES = 16 << 10,
    RELAY_EVENTS = 64,
    RELAY_ROUNDS = 16,    /* of one connection, before the others have their turn */
    RELAY_ACCEPTS = 16,   /* at a time */
    RELAY_SCAN_MS = 200,  /* the interval of checks for passed deadlines */
    RELAY_LOG_MS = 10000, /* the interval of warnings about failed handshakes */
    RELAY_NICENESS = 5,
    TLS_HANDSHAKE_BYTE = 0x16
};

/* Bytes on their way in one direction. */
struct relay_buffer {
    size_t begin;
    size_t end;
    char data[RELAY_BUFFER_BYTES];
};

struct relay_connection {
    struct list link; /* in tls_relay.active or tls_relay.closed */
    int client_fd;
    int http_fd; /* -1 until the handshake has ended */
    union peer peer;
    struct tls_session *session; /* NULL until the first byte has been checked */
    uint64_t deadline_ms;        /* on the monotonic clock */
    bool unfinished;             /* its turn ended with more to do */
    bool client_has_ended;
    bool http_is_told; /* libmicrohttpd's end of the pair has been told that the client has ended */
    bool http_has_ended;
    struct relay_buffer to_http;
    struct relay_buffer to_client;
};

struct tls_relay {
    struct tls *tls;
    struct proto_tls *counters; /* of `tls` */
    const struct listener *listener;
    struct MHD_Daemon *http;
    pthread_t thread;
    int epoll_fd;
    int wake_fd; /* an eventfd: `stopping` has been set */
    _Atomic bool stopping;

    /* used by the thread only */
    struct list active; /* oldest first */
    struct list closed; /* freed after the current events, some of which may point to them */
    unsigned count;     /* in `active` */
    uint64_t logged_ms; /* the time of the last warning; 0: none yet */
    unsigned unlogged;  /* handshakes that have failed since that warning */
    /* accept has failed, and is not called until then; 0: it has not failed */
    uint64_t paused_until_ms;
};

static bool relay_watch(struct tls_relay *relay, int operation, int fd, uint32_t events,
                        void *pointer) {
    struct epoll_event event = {events, {.ptr = pointer}};
    return epoll_ctl(relay->epoll_fd, operation, fd, &event) == 0;
}

/* Ends the session and closes the sockets. */
static void relay_close(struct tls_relay *relay, struct relay_connection *connection) {
    tls_session_destroy(connection->session);
    connection->session = NULL;
    close(connection->client_fd);
    connection->client_fd = -1;
    if (connection->http_fd >= 0) {
        close(connection->http_fd);
        connection->http_fd = -1;
    }
    list_remove(&connection->link);
    list_append(&relay->closed, &connection->link);
    relay->count--;
}

static void relay_free_closed(struct tls_relay *relay) {
    while (!list_is_empty(&relay->closed)) {
        struct relay_connection *connection =
            list_entry(relay->closed.next, struct relay_connection, link);
        list_remove(&connection->link);
        free(connection);
    }
}

/* Counts a handshake that failed, logs the reason if the last warning is RELAY_LOG_MS ago, and
 * closes the connection. */
static void relay_fail(struct tls_relay *relay, struct relay_connection *connection,
                       const char *reason) {
    atomic_fetch_add(&relay->counters->handshake_errors, 1);
    uint64_t now_ms = clock_monotonic_ms();
    if (relay->logged_ms == 0 || now_ms - relay->logged_ms >= RELAY_LOG_MS) {
        char peer[ADDRESS_TEXT_MAX];
        address_describe_peer(&connection->peer, peer);
        log_warning(
            "admin: closing a connection from %s to %s, which requires TLS: %s (%u more since "
            "the last such line)",
            peer, relay->listener->address.text, reason, relay->unlogged);
        relay->logged_ms = now_ms;
        relay->unlogged = 0;
    } else {
        relay->unlogged++;
    }
    relay_close(relay, connection);
}

/* Tells a client that does not speak TLS. What the client has sent is read first: otherwise close
 * would reset the connection, and the client might lose the reply. */
static void relay_refuse_plain(struct tls_relay *relay, struct relay_connection *connection) {
    static const char reply[] = "HTTP/1.1 400 Bad Request\r\n"
                                "Content-Type: text/plain; charset=utf-8\r\n"
                                "Connection: close\r\n\r\n"
                                "This address takes https://, and not http://.\n";
    int fd = connection->client_fd;
    ssize_t result = recv(fd, connection->to_http.data, RELAY_BUFFER_BYTES, 0);
    if (result > 0) {
        result = send(fd, reply, sizeof reply - 1, MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
    }
    relay_fail(relay, connection, "the client speaks plain text; use https://");
}

/* Peeks at the first byte, and creates the session if it begins a TLS handshake. False if there is
 * no session. */
static bool relay_check_first_byte(struct tls_relay *relay, struct relay_connection *connection) {
    unsigned char first;
    ssize_t result = recv(connection->client_fd, &first, 1, MSG_PEEK);
    if (result < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (result <= 0) {
        relay_fail(relay, connection, "the client closed it without sending anything");
        return false;
    }
    if (first != TLS_HANDSHAKE_BYTE) {
        relay_refuse_plain(relay, connection);
        return false;
    }
    connection->session = tls_session_create(relay->tls, connection->client_fd);
    if (connection->session == NULL) {
        relay_fail(relay, connection, "no memory");
        return false;
    }
    return true;
}

/* The handshake has ended: connects to libmicrohttpd. False if that fails. */
static bool relay_open(struct tls_relay *relay, struct relay_connection *connection) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        return false;
    }
    connection->http_fd = pair[0];
    if (!relay_watch(relay, EPOLL_CTL_ADD, pair[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                     connection)) {
        close(pair[1]);
        return false;
    }
    socklen_t size = connection->peer.any.sa_family == AF_INET6 ? sizeof connection->peer.ipv6
                                                                : sizeof connection->peer.ipv4;
    /* libmicrohttpd closes the socket, also if this fails. */
    return MHD_add_connection(relay->http, pair[1], &connection->peer.any, size) == MHD_YES;
}

/* Continues the handshake. True if it has ended well. */
static bool relay_shake_hands(struct tls_relay *relay, struct relay_connection *connection) {
    const char *reason = NULL;
    if (connection->session == NULL && !relay_check_first_byte(relay, connection)) {
        return false;
    }
    switch (tls_handshake(connection->session, &reason)) {
    case TLS_WANTS_INPUT:
    case TLS_WANTS_OUTPUT:
        return false; /* epoll reports both */
    case TLS_ENDED:
    case TLS_BROKEN:
        relay_fail(relay, connection, reason);
        return false;
    case TLS_DONE:
        break;
    }
    if (!relay_open(relay, connection)) {
        relay_fail(relay, connection, "no descriptor or memory is free");
        return false;
    }
    return true;
}

enum relay_step {
    RELAY_WAITS, /* nothing can be moved now */
    RELAY_MOVED, /* more may follow */
    RELAY_BROKEN
};

static enum relay_step relay_read_client(struct relay_connection *connection) {
    struct relay_buffer *buffer = &connection->to_http;
    if (connection->client_has_ended || buffer->begin < buffer->end) {
        return RELAY_WAITS;
    }
    size_t received;
    enum tls_result result =
        tls_read(connection->session, buffer->data, sizeof buffer->data, &received);
    buffer->begin = 0;
    buffer->end = received;
    switch (result) {
    case TLS_DONE:
        return RELAY_MOVED;
    case TLS_ENDED:
        connection->client_has_ended = true;
        return RELAY_MOVED;
    case TLS_BROKEN:
        return RELAY_BROKEN;
    case TLS_WANTS_INPUT:
    case TLS_WANTS_OUTPUT:
        break;
    }
    return received > 0 ? RELAY_MOVED : RELAY_WAITS;
}

static enum relay_step relay_write_http(struct relay_connection *connection) {
    struct relay_buffer *buffer = &connection->to_http;
    if (buffer->begin == buffer->end) {
        if (connection->client_has_ended && !connection->http_is_told) {
            connection->http_is_told = true;
            shutdown(connection->http_fd, SHUT_WR);
        }
        return RELAY_WAITS;
    }
    ssize_t sent = send(connection->http_fd, buffer->data + buffer->begin,
                        buffer->end - buffer->begin, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return RELAY_WAITS;
        }
        buffer->begin = buffer->end; /* libmicrohttpd reads no more, but may have replied */
        connection->client_has_ended = true;
        return RELAY_MOVED;
    }
    buffer->begin += (size_t)sent;
    return RELAY_MOVED;
}

static enum relay_step relay_read_http(struct relay_connection *connection) {
    struct relay_buffer *buffer = &connection->to_client;
    if (connection->http_has_ended || buffer->begin < buffer->end) {
        return RELAY_WAITS;
    }
    ssize_t received = recv(connection->http_fd, buffer->data, sizeof buffer->data, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) {
        return RELAY_WAITS;
    }
    connection->http_has_ended = received <= 0;
    buffer->begin = 0;
    buffer->end = received > 0 ? (size_t)received : 0;
    return RELAY_MOVED;
}

static enum relay_step relay_write_client(struct relay_connection *connection) {
    struct relay_buffer *buffer = &connection->to_client;
    if (buffer->begin == buffer->end) {
        return connection->http_has_ended ? RELAY_BROKEN : RELAY_WAITS; /* all has been sent */
    }
    size_t sent;
    enum tls_result result = tls_write(connection->session, buffer->data + buffer->begin,
                                       buffer->end - buffer->begin, &sent);
    buffer->begin += sent;
    if (result == TLS_BROKEN || result == TLS_ENDED) {
        return RELAY_BROKEN;
    }
    return sent > 0 ? RELAY_MOVED : RELAY_WAITS;
}

/* Moves what can be moved in both directions. */
static void relay_move(struct tls_relay *relay, struct relay_connection *connection) {
    static enum relay_step (*const steps[])(struct relay_connection *) = {
        relay_read_client, relay_write_http, relay_read_http, relay_write_client};
    connection->unfinished = true;
    for (unsigned round = 0; round < RELAY_ROUNDS && connection->unfinished; round++) {
        connection->unfinished = false;
        for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            enum relay_step step = steps[i](connection);
            if (step == RELAY_BROKEN) {
                connection->unfinished = false;
                relay_close(relay, connection);
                return;
            }
            connection->unfinished |= step == RELAY_MOVED;
        }
        if (connection->unfinished) {
            connection->deadline_ms = clock_monotonic_ms() + TLS_RELAY_IDLE_MS;
        }
    }
}

static void relay_serve(struct tls_relay *relay, struct relay_connection *connection) {
    if (connection->client_fd < 0) {
        return; /* closed by an earlier event */
    }
    if (connection->http_fd >= 0 || relay_shake_hands(relay, connection)) {
        relay_move(relay, connection);
    }
}

static void relay_close_oldest(struct tls_relay *relay) {
    struct relay_connection *oldest = list_entry(relay->active.next, struct relay_connection, link);
    if (oldest->http_fd < 0) {
        relay_fail(relay, oldest, "newer connections have taken its place");
    } else {
        relay_close(relay, oldest);
    }
}

static void relay_add(struct tls_relay *relay, int fd, const union peer *peer) {
    struct relay_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        log_warning("closing a new connection to the admin server: no memory");
        close(fd);
        return;
    }
    connection->client_fd = fd;
    connection->http_fd = -1;
    connection->peer = *peer;
    connection->deadline_ms = clock_monotonic_ms() + TLS_RELAY_HANDSHAKE_MS;
    list_append(&relay->active, &connection->link);
    relay->count++;
    if (!relay_watch(relay, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                     connection)) {
        relay_fail(relay, connection, "epoll_ctl failed");
    } else if (relay->count > CLIENTS_KEPT) {
        relay_close_oldest(relay);
    }
}

/* `until_ms` 0: not paused. */
static void relay_pause(struct tls_relay *relay, uint64_t until_ms) {
    relay->paused_until_ms = until_ms;
    relay_watch(relay, EPOLL_CTL_MOD, relay->listener->fd, until_ms > 0 ? 0 : EPOLLIN, relay);
}

static void relay_accept(struct tls_relay *relay) {
    for (unsigned i = 0; i < RELAY_ACCEPTS; i++) {
        union peer peer = {0};
        socklen_t size = sizeof peer;
        int fd = accept4(relay->listener->fd, &peer.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            relay_add(relay, fd, &peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_debug("admin: cannot accept connections for now: %m");
            relay_pause(relay, clock_monotonic_ms() + RELAY_SCAN_MS);
        }
        return;
    }
}

/* Closes the connections whose deadline has passed, and ends a pause. */
static void relay_scan(struct tls_relay *relay) {
    uint64_t now_ms = clock_monotonic_ms();
    struct list *next;
    for (struct list *link = relay->active.next; link != &relay->active; link = next) {
        struct relay_connection *connection = list_entry(link, struct relay_connection, link);
        next = link->next;
        if (now_ms < connection->deadline_ms) {
            continue;
        }
        if (connection->http_fd < 0) {
            relay_fail(relay, connection, "the handshake timed out");
        } else {
            relay_close(relay, connection);
        }
    }
    if (relay->paused_until_ms > 0 && now_ms >= relay->paused_until_ms) {
        relay_pause(relay, 0);
    }
}

/* Continues the connections whose turn ended with more to do. True if there still are some. */
static bool relay_continue(struct tls_relay *relay) {
    bool more = false;
    struct list *next;
    for (struct list *link = relay->active.next; link != &relay->active; link = next) {
        struct relay_connection *connection = list_entry(link, struct relay_connection, link);
        next = link->next;
        if (connection->unfinished) {
            relay_move(relay, connection); /* frees nothing */
            more |= connection->unfinished;
        }
    }
    return more;
}

static void *relay_main(void *argument) {
    struct tls_relay *relay = argument;
    struct epoll_event events[RELAY_EVENTS];
    bool more = false;
    setpriority(PRIO_PROCESS, 0, RELAY_NICENESS); /* on Linux: of this thread only */
    while (!atomic_load(&relay->stopping)) {
        bool idle = list_is_empty(&relay->active) && relay->paused_until_ms == 0;
        int timeout_ms = more ? 0 : idle ? -1 : RELAY_SCAN_MS;
        int count = epoll_wait(relay->epoll_fd, events, RELAY_EVENTS, timeout_ms);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == relay) {
                relay_accept(relay);
            } else if (events[i].data.ptr != NULL) {
                relay_serve(relay, events[i].data.ptr);
            }
        }
        more = relay_continue(relay);
        relay_scan(relay);
        relay_free_closed(relay);
    }
    return NULL;
}

/* Accepts a partly created struct. The thread has ended. */
static void relay_destroy(struct tls_relay *relay) {
    while (!list_is_empty(&relay->active)) {
        relay_close(relay, list_entry(relay->active.next, struct relay_connection, link));
    }
    relay_free_closed(relay);
    if (relay->wake_fd >= 0) {
        close(relay->wake_fd);
    }
    if (relay->epoll_fd >= 0) {
        close(relay->epoll_fd);
    }
    free(relay);
}

struct tls_relay *tls_relay_start(struct tls *tls, struct proto_tls *counters,
                                  const struct listener *listener, struct MHD_Daemon *http) {
    struct tls_relay *relay = calloc(1, sizeof *relay);
    if (relay == NULL) {
        return NULL;
    }
    relay->tls = tls;
    relay->counters = counters;
    relay->listener = listener;
    relay->http = http;
    list_init(&relay->active);
    list_init(&relay->closed);
    relay->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    relay->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (relay->epoll_fd < 0 || relay->wake_fd < 0 ||
        !relay_watch(relay, EPOLL_CTL_ADD, relay->wake_fd, EPOLLIN, NULL) ||
        !relay_watch(relay, EPOLL_CTL_ADD, listener->fd, EPOLLIN, relay) ||
        pthread_create(&relay->thread, NULL, relay_main, relay) != 0) {
        relay_destroy(relay);
        return NULL;
    }
    pthread_setname_np(relay->thread, "admin-tls");
    return relay;
}

void tls_relay_stop(struct tls_relay *relay) {
    if (relay == NULL) {
        return;
    }
    const uint64_t one = 1;
    atomic_store(&relay->stopping, true);
    ssize_t ignored = write(relay->wake_fd, &one, sizeof one);
    (void)ignored; /* fails only if the counter is full, and then the thread is awake */
    pthread_join(relay->thread, NULL);
    relay_destroy(relay);
}
