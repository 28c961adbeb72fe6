/* The memcached protocol of one connection, text or binary: bytes in, bytes out, no socket.
 *
 *     input:  | request | request | half a requ         <- the caller keeps what is not consumed
 *     output: | reply | reply |                         <- one buffer, so one write for all
 *
 * The reference is memcached's own doc/protocol.txt; where that is silent, what memcached 1.6.45
 * answers. Intended differences:
 *
 *   - Keys with control characters are refused, as protocol.txt demands; memcached accepts them.
 *   - The value after a refused storage line is discarded, and never read as requests. If the
 *     length of the value is not known, the connection closes. memcached runs such a value as
 *     requests: a user who can choose a key that is too long could send commands to the pool.
 *   - Lengths and expiry times beyond 32 bits are refused or capped, never cut off to another
 *     number. A date after 2038 is in the future.
 *   - A line of more than 2048 bytes that is not a retrieval closes the connection, after an error
 *     reply. memcached accepts or drops such a line, depending on how the bytes happen to arrive.
 *   - A fault in a multi-key get removes the items of this get from the replies. memcached also
 *     removes the replies to earlier requests of the same packet.
 *   - A set that fails in a pool with `evict = no` leaves the old item: nobody is logged out
 *     because an update did not fit.
 *   - A storage line with a word too many is refused: the word may be a part of the key.
 *   - Meta: k returns the key in the encoding of the request.
 *
 * If the service requires a login, no other command of a connection is run before the login. proto
 * reads user and password. The caller checks them and passes the verdict to proto_finish_login:
 *
 *     proto_process -> PROTO_LOGIN ... as long as it takes ... proto_finish_login -> proto_process
 *
 * A connection belongs to one pool, which the listener decides, and is used by one thread at a
 * time. */
#ifndef STAYD_PROTO_PROTO_H
#define STAYD_PROTO_PROTO_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "proto/server.h"
#include "store/replication.h"

#include <unistd.h>

/* The reply to `version` in both protocols, and the `version` of `stats`: the memcached whose
 * behaviour stayd has. Clients read major.minor.patch and enable what that memcached can do. It
 * must be three numbers and nothing more, as protocol.txt says: npm's `memcached` throws an error
 * at anything else, and a word after the numbers has broken PHP's and Elasticache's clients.
 * stayd's own version is `stayd_version` in `stats`. */
#define PROTO_VERSION "1.6.45"

/* Replies above this size are sent before the next key is looked up, so that a client that requests
 * much and reads little costs a bounded amount of memory (this, and one item). */
enum { PROTO_REPLY_BATCH = 256 << 10 };

/* User and password of a login, as the client sent them. */
struct proto_login {
    struct bytes user;     /* 1 to PROTO_LOGIN_USER_MAX bytes */
    struct bytes password; /* 1 to PROTO_LOGIN_PASSWORD_MAX bytes */
};

enum {
    PROTO_LOGIN_USER_MAX = 128,
    PROTO_LOGIN_PASSWORD_MAX = 511, /* crypt(3)'s limit */
};

struct watcher;

struct proto_connection {
    struct proto_service *service;
    struct pool *pool;  /* the service's */
    uint32_t turn_left; /* requests that may still be answered in this turn */
    bool refuses_room;  /* set by the caller, after PROTO_NEEDS_ROOM: the request must not wait any
                           longer */
    bool asked_hold;    /* private to proto/: the client has asked for a hold (hold.h) */
    bool replicates;    /* private to proto/: the first request of the input waits until the log has
                         * its change */
    uint8_t protocols;  /* enum proto_allowed: those that the client may use; set by the caller */
    uint64_t turn_work; /* the turn ends when the thread's work_bytes (grace.h) reach this */
    struct proto_login login; /* after PROTO_LOGIN; points into the consumed input */

    /* The caller sets these before the first request. `fd` is the connection's number in the lines
     * of `watch`. `wake` tells the caller that there are lines for a watcher: proto_process must be
     * called again, with or without input. Any thread may call `wake`, but not after
     * proto_connection_finish; `wake` must not block. */
    int fd;
    bool is_local; /* the client is on this machine */
    bool is_unix;  /* the client uses a Unix socket, so descriptors can be sent to it */
    /* `handed`: descriptors that the caller must send with the replies and then close
     * (proto_drop_handed). */
    bool sent_mappings; /* private to proto/: stayd_map sends them once */
    uint8_t handed_count;
    int handed[POOL_MAPPINGS];
    void (*wake)(void *context);
    void *wake_context;
    struct watcher *
        watcher; /* private to proto/; not NULL: the client watches, and its requests are ignored */

    /* private to proto/: the pool's settings, and the state between two calls */
    uint32_t item_max_bytes;
    bool evict;
    bool admitted;             /* the client is logged in, or needs no login */
    bool login_is_out;         /* the verdict on a login is pending */
    bool needs_room;           /* the first request of the input waits for room */
    uint64_t reload;           /* the number of the reload that a request waits for; 0: none */
    struct proposal *proposal; /* of a replicated pool (store/replication.h), or NULL */
    struct proto_progress {
        enum proto_protocol {
            PROTO_UNDECIDED, /* nothing has arrived yet */
            PROTO_TEXT,
            PROTO_BINARY,
        } protocol;
        struct proto_sasl {
            bool awaits_step; /* an auth without a value has arrived */
            uint8_t opcode;   /* with `opaque`: of the login whose verdict is pending */
            uint32_t opaque;
        } sasl;
        uint8_t requests;    /* a running number, for latency.h */
        uint64_t skip_bytes; /* bytes of a refused value that are still to be discarded */
        /* The refusal of a value that is too large. The reply is sent after the value has arrived,
         * because a proxy, or a client that reads only after it has sent everything, would be out
         * of step with an earlier reply. */
        struct proto_refusal {
            bool is_due;
            uint8_t opcode; /* this field and the next two: for a binary reply */
            uint16_t status;
            uint32_t opaque;
        } refusal;
        enum proto_phase {
            PROTO_PHASE_LINE,      /* at the start of a request */
            PROTO_PHASE_KEYS,      /* the next word is a key of `retrieval` */
            PROTO_PHASE_SKIP_LINE, /* the rest of a line is to be discarded */
            PROTO_PHASE_DUMP,      /* `dump` is running */
        } phase;
        struct proto_retrieval {
            bool with_cas;
            bool touch;
            bool any; /* at least one key has been read */
            uint32_t expiry_s;
        } retrieval;
        struct proto_dump {
            enum proto_dump_kind {
                PROTO_DUMP_METADATA,
                PROTO_DUMP_KEYS,
                PROTO_DUMP_ITEMS,
                PROTO_DUMP_SIZES
            } kind;
            uint64_t number;  /* equals proto_service.dump while this dump runs */
            bool scanned;     /* all items have been visited */
            uint32_t classes; /* a bit for each TTL class whose items are listed */
            uint64_t next_bucket;
            uint64_t left;   /* PROTO_DUMP_ITEMS: how many more items may be listed */
            uint64_t *sizes; /* PROTO_DUMP_SIZES: the number of items of each size; else NULL */
            size_t sizes_count;
            size_t sizes_told;
        } dump;
    } progress;
};

void proto_connection_init(struct proto_connection *connection, struct proto_service *service);

/* Closes the connection's `handed` descriptors, after they were sent. */
static inline void proto_drop_handed(struct proto_connection *connection) {
    while (connection->handed_count > 0) {
        close(connection->handed[--connection->handed_count]);
    }
}

/* The connection ends. */
void proto_connection_finish(struct proto_connection *connection);

enum proto_next {
    PROTO_READ,  /* all complete requests have been answered: call again with more input */
    PROTO_FLUSH, /* there are many replies, or the turn is over: send the replies, then call again,
                  * with or without more input */
    PROTO_LOGIN, /* check `login`, pass the verdict to proto_finish_login, then call again, with or
                  * without more input; the replies so far may be sent before */
    PROTO_NEEDS_ROOM, /* the next request has to wait until its pool has room: call again, with or
                         without more input, once pool_should_retry is true for the thread's
                         room_turn, or with `refuses_room` set; the replies so far may be sent
                         before */
    PROTO_WAITS, /* another thread carries out a request: call again, with or without more input,
                  * when the workers have been woken; the replies so far may be sent before */
    PROTO_CLOSE, /* send the replies, then wait until the client closes its side, and close: if the
                    client still sends, an earlier close would reset the connection and lose the
                    replies */
    PROTO_QUIT,  /* send the replies, then close the connection at once */
    PROTO_ABORT, /* the same, but because of an error */
};

/* Answers the requests at the front of `input` and appends the replies to `replies`. `*consumed` is
 * the number of bytes of input that are no longer needed. After PROTO_READ, another call can
 * continue the unconsumed request when `*wanted` of its bytes have arrived: this is more than have
 * arrived so far, and at most item_max and a request line. Allocates nothing but room in `replies`.
 */
enum proto_next proto_process(struct proto_connection *connection, struct store_thread *thread,
                              struct bytes input, size_t *consumed, size_t *wanted,
                              struct buffer *replies);

/* Whether the first request of the input waits for room (PROTO_NEEDS_ROOM). */
bool proto_needs_room(const struct proto_connection *connection);

/* Whether a request waits for another thread (PROTO_WAITS). */
bool proto_waits(const struct proto_connection *connection);

/* Whether the request waits for the log of a replicated pool, and still has to. */
bool proto_is_replicating(const struct proto_connection *connection);

/* What the client is in the middle of sending; `input` is what proto_process has not consumed. */
enum proto_incoming {
    PROTO_INCOMING_LINE,    /* a part of a line or a header, or nothing */
    PROTO_INCOMING_VALUE,   /* a value: its line or header has arrived */
    PROTO_INCOMING_REFUSED, /* a value that is discarded as it arrives */
    PROTO_INCOMING_IGNORED, /* the client watches: all that it sends is ignored */
};

enum proto_incoming proto_get_incoming(const struct proto_connection *connection,
                                       struct bytes input);

/* Whether the client is logged in or needs no login. */
bool proto_is_admitted(const struct proto_connection *connection);

/* There is no memory for the request that has begun to arrive: appends an error, in the text
 * protocol only, because a binary reply has to name the request. The caller closes the connection.
 * False: no memory for the reply. */
bool proto_refuse_input(const struct proto_connection *connection, struct buffer *replies);

/* Takes the verdict on the login of PROTO_LOGIN and appends its reply. A client that is not
 * admitted may try again, unless the caller closes the connection. Verdicts are counted in the pool
 * (auth_cmds, auth_errors). False: no memory for the reply; nothing has changed. */
bool proto_finish_login(struct proto_connection *connection, struct store_thread *thread,
                        bool admitted, struct buffer *replies);

#endif
