/* One client's connection: requests that have not been answered, and replies that the client has
 * not read. Belongs to one worker thread.
 *
 *     socket --read--> thread's buffer --proto--> thread's replies --send--> socket
 *                        |       ^                   |        ^
 *                   half a request               what the socket
 *                        v       |               does not take
 *                     input (own)                    v        |
 *                                                  output (own)
 *
 * The worker lends the buffers that requests are read into and replies are written to, so an idle
 * connection owns no buffer. The connection's own buffers hold only incomplete requests and unsent
 * replies, and are freed when they are empty.
 *
 * A turn ends when its work (bytes read, copied, written to the store, searched and sent; grace.h)
 * has reached CONNECTION_TURN_WORK. The last request of the turn may exceed that.
 *
 * Replies that must wait for a sync (pool_take_ticket) become output too, and are sent when the
 * pool reports that the sync has ended. Until then nothing is read, so replies stay in order.
 *
 * A request that finds no room in a full pool is parked: it stays in the input, the replies before
 * it are sent, nothing is read, and it runs again when the pool reports room (store/room.h).
 *
 * While another thread carries out a request (a reload of certificates), the requests behind it
 * stay in the input, the replies before it are sent, and nothing is read.
 *
 * While the verdict on a login is pending (auth.h), the requests behind the login stay in the
 * input, and nothing is read.
 *
 * While a client does not read its replies, nothing is read from it: a connection never owns more
 * than one request of the largest size, and replies of PROTO_REPLY_BATCH bytes and one item. The
 * memory of all connections together is limited (net/budget.h). If a connection gets no more
 * memory, and another connection sends a large request more slowly, the other one is closed to free
 * its memory. Otherwise the first gets an error reply and is closed. A client that stops in the
 * middle of a large request, or sends it very slowly, is closed after a time. */
#ifndef STAYD_NET_CONNECTION_H
#define STAYD_NET_CONNECTION_H

#include "base/buffer.h"
#include "net/auth.h"
#include "net/list.h"
#include "net/listener.h"
#include "net/transfers.h"
#include "proto/proto.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection;

/* What a worker lends to the connection that it serves. Owned by the worker. */
struct connection_loan {
    struct store_thread *store;
    char *input; /* requests are read into this buffer */
    size_t input_bytes;
    struct buffer replies;        /* empty between two connections */
    struct auth_mailbox *mailbox; /* receives the verdicts on logins */
    /* Closes another connection to free memory for the request of `needy`. False if none can be
     * closed. NULL: there is no such function. */
    bool (*relieve)(void *context, const struct connection *needy);
    void *relieve_context;
    /* What the worker has received for the connection already (connection_prepare_receive); NULL:
     * nothing. The connection takes it. */
    const struct transfer *received;
    bool may_defer;      /* connection_serve may return CONNECTION_SENDING */
    uint64_t bytes_read; /* added to; the worker resets these */
    uint64_t bytes_written;
    uint64_t yields;
};

enum {
    CONNECTION_TURN_WORK = 1 << 20,     /* in bytes; less than a millisecond of work */
    CONNECTION_DEFERRED_MAX = 16 << 10, /* in bytes; larger replies get their own system call */
};

enum connection_next {
    CONNECTION_IDLE,    /* serve again when the socket is readable */
    CONNECTION_PARTIAL, /* the same, but the connection owns a part of a large request, which has a
                           deadline */
    CONNECTION_READY,   /* it has more work: serve again after the others */
    CONNECTION_STALLED, /* serve again when the socket is writable */
    CONNECTION_HELD,    /* its replies wait for the disk: serve again after the pool's next sync */
    CONNECTION_PARKED,  /* its next request waits for room in the pool: serve again when the pool
                         * reports room, or after connection_refuse_room */
    CONNECTION_WAITS,   /* another thread carries out its request: serve again when that thread has
                         * woken the worker */
    CONNECTION_LOGIN_PENDING, /* the verdict on its login is pending: serve again when it arrives */
    CONNECTION_SENDING, /* the worker is to send loan.replies, then to call connection_finish_send
                         */
    CONNECTION_LINGER,  /* all replies are sent: serve again when readable, until the client closes
                         * too */
    CONNECTION_END      /* destroy it */
};

struct connection {
    /* used by the worker */
    struct list all;   /* in worker.connections */
    struct list ready; /* in worker.ready, heavy, held or parked */
    /* in worker.watching: its client watches, or it waits for another thread */
    struct list watching;
    struct list waited;   /* in worker.waited, if it has a deadline */
    uint64_t deadline_ms; /* on the monotonic clock */
    uint64_t added_ms;    /* when the worker took it, on the monotonic clock */
    /* the last result of connection_serve; other threads read it */
    _Atomic enum connection_next next;
    _Atomic uint32_t served_s; /* when it was served last, on the monotonic clock */
    uint64_t large_ms;         /* since when it owns a part of a large request; 0: it owns none */
    uint32_t usual_work;       /* moving average of the work of its turns, in bytes (grace.h) */
    union peer peer;           /* the client's address; zeroed: not known */

    /* state of the socket: the worker sets it from epoll's events, connection_serve updates it */
    bool woken; /* another thread has woken it: its watcher has lines, or the work that it waits for
                   has ended */
    bool readable;           /* there may be bytes, the end of the stream, or an error */
    bool input_ending;       /* the client has shut its side down: the end follows the bytes
                              */
    bool writable;           /* cleared when the socket did not accept all bytes of a send */
    uint32_t received_bytes; /* since the worker has last set this to 0 */
    bool broken;             /* nothing can be sent, and nothing arrives */
    bool failed; /* it ends because of an error, not because its client or the protocol ends it */
    bool watches_output; /* epoll reports when the socket is writable; set by the worker */
    /* enum proto_incoming, after the last turn; set by the worker, other threads read it */
    _Atomic uint8_t incoming;

    uint32_t end_s; /* when the client's certificate expires, in unix seconds; UINT32_MAX: never */

    /* private to connection.c */
    bool input_ended;
    bool input_runnable; /* proto can continue with `input` before more is read */
    bool closing;        /* no more requests are answered: send the output, then close */
    bool quitting;       /* with closing: closes as soon as the output is sent */
    int fd;              /* constant; other threads may ask for its peer */
    const struct listener *listener; /* the listener that accepted it */
    struct tls_session *tls;         /* owned; NULL: plain text */
    struct proto_connection proto;
    struct buffer input;
    size_t input_wanted; /* the request in `input` needs at least this many bytes to continue */
    struct buffer output;
    size_t output_sent;        /* bytes of `output` that have been sent */
    struct auth_check *check;  /* the login whose verdict is pending; NULL: none */
    enum auth_verdict verdict; /* the verdict on a login that has not been answered yet */
    bool read_waits_to_write;  /* TLS must send something before it can read on */
    bool write_waits_to_read;  /* TLS must read something before it can write on */
    bool draining;             /* all is sent; bytes that still arrive are discarded */
    uint64_t room_turn;        /* the pool's turn when the request was parked (pool.h) */
    uint64_t ticket; /* the output may be sent when this ticket is done (pool.h); 0: at once */
};

/* Takes ownership of the non-blocking socket that the listener has accepted, and of its TLS session
 * (handshake done; NULL: plain text). NULL if memory is short; then the caller keeps both. */
struct connection *connection_create(int fd, const struct listener *listener,
                                     struct tls_session *tls);

/* What the client is in the middle of sending, between two turns. */
enum proto_incoming connection_get_incoming(const struct connection *connection);

/* Whether a request waits for the work of another thread (CONNECTION_WAITS). */
bool connection_waits(const struct connection *connection);

/* Whether a held connection is to be served again: its pool's sync has ended, so the output may be
 * sent; or the sync has failed. */
bool connection_may_send(const struct connection *connection);

/* Takes the verdict that the connection waits for. */
void connection_take_verdict(struct connection *connection, enum auth_verdict verdict);

/* Whether the first request of its input waits for room in the pool. */
bool connection_needs_room(const struct connection *connection);

/* Whether the pool has reported room since the connection was parked. */
bool connection_may_have_room(const struct connection *connection);

/* The parked request has waited too long: it is refused when the connection is served next. */
void connection_refuse_room(struct connection *connection);

/* Removes the connection from all lists and frees it. Returns the socket, which the caller closes.
 */
int connection_release(struct connection *connection);

/* Frees the connection and closes the socket. Accepts NULL. */
void connection_destroy(struct connection *connection);

/* Reads at most once, answers the complete requests, and sends the replies: a bounded amount of
 * work. `*progress` says whether bytes were sent or received. */
enum connection_next connection_serve(struct connection *connection, struct connection_loan *loan,
                                      bool *progress);

/* For a worker that receives and sends for a group of connections at a time (transfers.h):
 *
 *     connection_can_receive_ahead, connection_prepare_receive     of each; then the transfers
 *     connection_serve      of each, with loan.received; CONNECTION_SENDING: more transfers
 *     connection_finish_send
 *
 * Between these calls, the connection is in no list but `all`, `waited` and `watching`, it owns no
 * part of a large request, and no other connection's turn closes it. */

/* Whether connection_serve would read next, into the worker's buffer, from a plain socket. */
bool connection_can_receive_ahead(const struct connection *connection,
                                  const struct connection_loan *loan);

/* Copies the connection's input to `data`, a buffer of loan.input_bytes, and makes the transfer
 * that receives behind the copy. */
void connection_prepare_receive(const struct connection *connection,
                                const struct connection_loan *loan, char *data,
                                struct transfer *transfer);

/* Continues the turn after the worker has sent `replies`. `result`: the bytes sent, or a negative
 * error number. */
enum connection_next connection_finish_send(struct connection *connection,
                                            struct connection_loan *loan, struct buffer *replies,
                                            ssize_t result, bool *progress);

#endif
