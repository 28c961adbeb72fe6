/* One client's connection: what it has sent and not been answered yet, and what it has been
 * answered and not taken yet. Belongs to one worker thread.
 *
 *     socket --read--> thread's buffer --proto--> thread's replies --send--> socket
 *                        |       ^                   |        ^
 *                   half a request               what the socket
 *                        v       |               does not take
 *                     input (own)                    v        |
 *                                                  output (own)
 *
 * Requests are read into and answered from buffers that the thread lends, so that an idle
 * connection owns none. Its own buffers hold the rest only, and are freed when they are empty.
 *
 * A turn is as long as the work that is done in it: bytes read, copied, written to the store,
 * searched and sent (grace.h), up to CONNECTION_TURN_WORK and one request.
 *
 * With `fsync = always` the replies to a batch that wrote something are output too, until the pool
 * says that it is on the disk. Meanwhile nothing is read, so replies stay in order.
 *
 * A request that finds no room in a full pool is parked: it stays in the input, the replies before
 * it go out, nothing is read, and it is run again when the pool tells (store/room.h).
 *
 * While another thread does what a client has asked for (a reload of certificates), the same holds
 * of what follows.
 *
 * While a verdict on a login is awaited (auth.h), what follows the login stays in the input, and
 * nothing is read.
 *
 * While a client does not take its replies, nothing is read from it: a connection never owns more
 * than one request of the largest size, and PROTO_REPLY_BATCH and one item of replies. What all of
 * them own together is bounded by the server's memory (net/budget.h); one that gets no more is told
 * so and closed, unless another gives way that sends a large request more slowly. A client that
 * stops in the middle of a large request, or hardly goes on, is not waited for for ever.
 */
#ifndef STAYD_NET_CONNECTION_H
#define STAYD_NET_CONNECTION_H

#include "base/buffer.h"
#include "net/auth.h"
#include "net/list.h"
#include "net/listener.h"
#include "proto/proto.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection;

/* What a thread lends to the connection that it serves. Owned by the worker. */
struct connection_loan {
    struct store_thread *store;
    char *input; /* read into */
    size_t input_bytes;
    struct buffer replies;        /* empty between two connections */
    struct auth_mailbox *mailbox; /* where verdicts on logins come back */
    /* Makes other connections give up memory for this one's request; false if there is none to be
     * had. NULL: there is none in any case. */
    bool (*relieve)(void *context, const struct connection *needy);
    void *relieve_context;
    uint64_t bytes_read; /* counted up */
    uint64_t bytes_written;
    uint64_t yields;
};

enum { CONNECTION_TURN_WORK = 1 << 20 /* in bytes: what less than a millisecond is enough for */ };

enum connection_next {
    CONNECTION_IDLE,    /* serve again when the socket is readable */
    CONNECTION_PARTIAL, /* the same, and it owns half a large request: not for ever */
    CONNECTION_READY,   /* there is more to do: serve again after the others */
    CONNECTION_STALLED, /* serve again when the socket is writable */
    CONNECTION_HELD,    /* its replies wait for the disk: serve again after the pool's next sync */
    CONNECTION_PARKED,  /* its next request waits for room in the pool: serve again when that has
                         * told,  or once connection_refuse_room has been called */
    CONNECTION_WAITS, /* another thread does what its client has asked for: serve again when it has
                       * woken the worker */
    CONNECTION_LOGIN_PENDING, /* a verdict on its login is awaited: serve again when it is there */
    CONNECTION_LINGER, /* all is said: serve again when readable, until the client closes too */
    CONNECTION_END     /* destroy it */
};

struct connection {
    /* of the worker */
    struct list all;                   /* in worker.connections */
    struct list ready;                 /* in worker.ready */
    struct list watching;              /* in worker.watching: its client watches */
    struct list waited;                /* in worker.waited: until deadline_ms */
    uint64_t deadline_ms;              /* on the monotonic clock */
    uint64_t added_ms;                 /* when it came to the worker, on the same */
    _Atomic enum connection_next next; /* as connection_serve said last; others look at it */
    _Atomic uint32_t served_s;         /* when it was served last, on the monotonic clock */
    bool watches_output;               /* epoll tells when the socket takes more */
    uint64_t large_ms;   /* since when it owns a part of a large request; 0: not now */
    uint32_t usual_work; /* of its last turns, in bytes (grace.h) */
    union peer peer;     /* the client; zeroed: not known */

    /* what epoll told, set by the worker, and connection_serve found out since */
    bool woken;              /* there may be something for its watcher */
    bool readable;           /* there may be bytes, the end, or an error */
    bool input_ending;       /* the client has shut its side down: the end follows the bytes */
    bool writable;           /* as far as is known */
    uint32_t received_bytes; /* since the worker has set it to 0 */
    bool broken;             /* it takes nothing more, and nothing comes */
    bool failed;             /* and that was not how its client, or the protocol, ends it */

    uint32_t end_s; /* when the client's certificate ends, in unix seconds; UINT32_MAX: never */

    /* private to connection.c */
    bool input_ended;
    bool input_runnable; /* proto can go on with what is in `input`, before more is read */
    bool closing;        /* nothing more is answered: send the output, then close */
    bool draining;       /* all is sent; what still arrives is thrown away */
    int fd;              /* to the end; others may ask who is behind it */
    const struct listener *listener; /* that accepted it */
    struct tls_session *tls;         /* owned; NULL: the client speaks in the clear */
    bool read_waits_to_write;        /* TLS has something of its own to say before it reads on */
    bool write_waits_to_read;        /* ... and the other way round */
    struct proto_connection proto;
    struct buffer input;
    size_t input_wanted; /* the request in `input` is of no use until it has so many bytes */
    struct buffer output;
    size_t output_sent;        /* of output's bytes */
    struct auth_check *check;  /* a verdict is awaited; NULL: none */
    enum auth_verdict verdict; /* is there, and its login not yet answered */
    bool waits;                /* proto waits until it is woken (PROTO_WAITS) */
    uint64_t room_turn;        /* of the pool when it was (pool.h) */
    uint64_t ticket;           /* the output must not go before this is done (pool.h); 0: it may */
};

/* Takes the socket, which does not block and which the listener has accepted, and what is spoken
 * over it (its handshake done; NULL: plain text). NULL if memory is short. */
struct connection *connection_create(int fd, const struct listener *listener,
                                     struct tls_session *tls);

/* The verdict that was awaited is there. */
void connection_take_verdict(struct connection *connection, enum auth_verdict verdict);

/* Whether the request that begins its input waits for room in the pool. */
bool connection_needs_room(const struct connection *connection);

/* Whether the pool has told since the connection was parked. */
bool connection_may_have_room(const struct connection *connection);

/* The request that is parked has waited for long enough: it is refused when it is served next. */
void connection_refuse_room(struct connection *connection);

/* Frees all but the socket, which it returns for the caller to close. In no list any more. */
int connection_release(struct connection *connection);

/* Frees all and closes the socket. Accepts NULL. */
void connection_destroy(struct connection *connection);

/* Reads once at most, answers what is whole, and sends the replies: a bounded amount of work.
 * `*progress` says whether bytes were sent or received. */
enum connection_next connection_serve(struct connection *connection, struct connection_loan *loan,
                                      bool *progress);

#endif
