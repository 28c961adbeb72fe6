/* The memcached protocol of one connection, text or binary: bytes in, bytes out, no socket.
 *
 *     input:  | request | request | half a requ         <- the caller keeps what is not consumed
 *     output: | reply | reply |                         <- one buffer, so one write for all
 *
 * The reference is memcached's own doc/protocol.txt; where that is silent, what memcached 1.6.18
 * answers. What is otherwise here, on purpose:
 *
 *   - Keys with control characters are refused, as protocol.txt has it; memcached takes them.
 *   - The value behind a storage line that is refused is thrown away, never read as requests; if
 *     its length is not known, the connection ends. memcached runs the value: whoever can choose a
 *     key that is too long commands the pool.
 *   - Lengths and expiry times beyond 32 bits are refused or capped, never cut off to another
 *     number. A date after 2038 is in the future.
 *   - A line of more than 2048 bytes that is no retrieval ends the connection, with a word.
 *     memcached takes or drops it depending on how the bytes happen to arrive.
 *   - A fault in a multi-key get takes back the items of that get alone, not the replies to
 *     everything that came before it in the same packet.
 *   - A set that fails in a pool with `evict = no` leaves the old item: nobody is logged out
 *     because an update did not fit.
 *   - Meta: E and, for ms in append mode, N work as in later versions (1.6.18 refuses or ignores
 *     them), and k returns the key in the encoding of the request.
 *
 * Where the service asks for a login, nothing else is done for a connection before it. proto reads
 * user and password; whoever calls it says whether they are right, when it knows:
 *
 *     proto_process -> PROTO_LOGIN ... as long as it takes ... proto_finish_login -> proto_process
 *
 * A connection belongs to one pool (the listener decides) and is used by one thread at a time.
 */
#ifndef STAYD_PROTO_PROTO_H
#define STAYD_PROTO_PROTO_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "proto/server.h"
#include "store/pool.h"

/* What `version` says, in both protocols and in `stats`: the memcached whose replies these are.
 * Clients read major.minor.patch and enable what that memcached can do. Three numbers and nothing
 * behind them, as protocol.txt has it: npm's `memcached` throws at anything else, and PHP's and
 * Elasticache clients have been broken by a word behind the numbers. stayd's own version is
 * `stayd_version` in `stats`. */
#define PROTO_VERSION "1.6.18"

/* Replies beyond this are sent before the next key is looked up, so that a client that asks for
 * much and reads little costs a bounded amount of memory (this, and one item). */
enum { PROTO_REPLY_BATCH = 256 << 10 };

/* What a login says of itself, as it came. */
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
    uint32_t turn_left; /* requests that may still be answered before others have their turn */
    bool refuses_room; /* the caller's to set after PROTO_NEEDS_ROOM: the request waits no longer */
    bool asked_hold;   /* private to proto/: of its pool (hold.h), under its fd */
    uint64_t turn_work;       /* the thread's work_bytes (grace.h) at which they have it as well */
    struct proto_login login; /* after PROTO_LOGIN: in the consumed input, until it is gone */

    /* The caller's to set before the first request, for `watch`; may be left out. `fd`: the
     * connection's number in the lines that tell of it. `wake`: there is something for the watcher,
     * call proto_process again, without input if need be. Called by any thread, and not after
     * proto_connection_finish; must not block. */
    int fd;
    bool is_local; /* the caller's to set as well: the client is on this machine */
    void (*wake)(void *context);
    void *wake_context;
    struct watcher *watcher; /* private to proto/; not NULL: the client only listens from now on */

    /* private to proto/: what the pool allows, and what is under way between two calls */
    uint32_t item_max_bytes;
    bool evict;
    bool admitted;     /* logged in, or no login is needed */
    bool login_is_out; /* a verdict is awaited */
    bool needs_room;   /* the request that begins the input has been parked */
    uint64_t reload;   /* the number of the reload whose end is awaited; 0: none is */
    struct proto_progress {
        enum proto_protocol {
            PROTO_UNDECIDED, /* nothing has come yet */
            PROTO_TEXT,
            PROTO_BINARY,
        } protocol;
        struct proto_sasl {
            bool awaits_step; /* an auth without a value has come */
            uint8_t opcode;   /* of the login that is out, and below */
            uint32_t opaque;
        } sasl;
        uint64_t skip_bytes; /* of a refused value, still to be thrown away */
        /* A value that is too large: said once it has come, because a proxy, and a client that
         * reads before it has sent all, would be out of step with an earlier reply. */
        struct proto_refusal {
            bool is_due;
            uint8_t opcode; /* of the binary protocol, and below */
            uint16_t status;
            uint32_t opaque;
        } refusal;
        enum proto_phase {
            PROTO_PHASE_LINE,      /* a request begins */
            PROTO_PHASE_KEYS,      /* the next word is a key of the retrieval below */
            PROTO_PHASE_SKIP_LINE, /* the rest of a line is still to be thrown away */
            PROTO_PHASE_DUMP,      /* the walk through all items below */
        } phase;
        struct proto_retrieval {
            bool with_cas;
            bool touch;
            bool any; /* a key has been read */
            uint32_t expiry_s;
        } retrieval;
        struct proto_dump {
            enum proto_dump_kind {
                PROTO_DUMP_METADATA,
                PROTO_DUMP_KEYS,
                PROTO_DUMP_ITEMS,
                PROTO_DUMP_SIZES
            } kind;
            uint64_t number;  /* proto_service.dump while this is the one that runs */
            bool scanned;     /* all items have been visited */
            uint32_t classes; /* a bit for each TTL class whose items are asked for */
            uint64_t next_bucket;
            uint64_t left;   /* of PROTO_DUMP_ITEMS: so many more are told */
            uint64_t *sizes; /* of PROTO_DUMP_SIZES: how many items of each size; else NULL */
            size_t sizes_count;
            size_t sizes_told;
        } dump;
    } progress;
};

void proto_connection_init(struct proto_connection *connection, struct proto_service *service);

/* The connection ends. */
void proto_connection_finish(struct proto_connection *connection);

enum proto_next {
    PROTO_READ,  /* all that is whole has been answered: call again with more input */
    PROTO_FLUSH, /* the replies are many, or the turn is over: send them, then call again, without
                  * more input if need be */
    PROTO_LOGIN, /* find out whether `login` is right, say so to proto_finish_login, then call
                  * again, without more input if need be; the replies so far may go out before */
    PROTO_NEEDS_ROOM, /* the next request has to wait until its pool has room: call again, without
                       * more input if need be, once pool_should_retry since the thread's room_turn,
                       * or with `refuses_room` set; the replies so far may go out before */
    PROTO_WAITS,      /* another thread does what the client has asked for: call again, without more
                       * input if need be, when the workers have been woken; the replies so far may
                       * go out before */
    PROTO_CLOSE,      /* send the replies, then close the connection */
};

/* Answers the requests at the front of `input`; the replies are appended to `replies`. `*consumed`
 * says how many bytes of input are done with. After PROTO_READ, `*wanted` says how many bytes the
 * unconsumed request needs in all before another call can get on with it: at least one more than
 * are there, at most item_max and a request line. Allocates nothing but room in `replies`. */
enum proto_next proto_process(struct proto_connection *connection, struct store_thread *thread,
                              struct bytes input, size_t *consumed, size_t *wanted,
                              struct buffer *replies);

/* Whether the request that begins the input waits for room (PROTO_NEEDS_ROOM). */
bool proto_needs_room(const struct proto_connection *connection);

/* Whether the client is logged in, or need not be. */
bool proto_is_admitted(const struct proto_connection *connection);

/* There is no memory for the request that has begun to come: says so, in the text protocol; a
 * binary reply would have to know which request it was. The caller closes. False: no memory for
 * that. */
bool proto_refuse_input(const struct proto_connection *connection, struct buffer *replies);

/* The verdict on the login that PROTO_LOGIN asked about: appends its reply. Not admitted, a client
 * may try again; the caller may as well close the connection. The verdicts are counted in the pool
 * (auth_cmds, auth_errors). False: no memory for the reply; nothing has changed. */
bool proto_finish_login(struct proto_connection *connection, struct store_thread *thread,
                        bool admitted, struct buffer *replies);

#endif
