/* The memcached protocol of one connection: bytes in, bytes out, no socket.
 *
 *     input:  | request | request | half a requ         <- the caller keeps what is not consumed
 *     output: | reply | reply |                         <- one buffer, so one write for all
 *
 * The reference is memcached's own doc/protocol.txt; where that is silent, what memcached 1.6.18
 * answers. A connection belongs to one pool (the listener decides) and is used by one thread at a
 * time.
 */
#ifndef STAYD_PROTO_PROTO_H
#define STAYD_PROTO_PROTO_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "proto/server.h"
#include "store/pool.h"

/* Replies beyond this are sent before the next key is looked up, so that a client that asks for
 * much and reads little costs a bounded amount of memory (this, and one item). */
enum { PROTO_REPLY_BATCH = 256 << 10 };

struct proto_connection {
    struct pool *pool;
    struct proto_server *server;

    /* private to proto/: what is under way between two calls */
    struct proto_progress {
        uint64_t skip_bytes; /* of a refused value, still to be thrown away */
    } progress;
};

void proto_connection_init(struct proto_connection *connection, struct pool *pool,
                           struct proto_server *server);

enum proto_next {
    PROTO_READ,  /* all that is whole has been answered: call again with more input */
    PROTO_FLUSH, /* the replies are many: send them, then call again, without more input if need be */
    PROTO_CLOSE, /* send the replies, then close the connection */
};

/* Answers the requests at the front of `input`; the replies are appended to `replies`. `*consumed`
 * says how many bytes of input are done with. After PROTO_READ, `*wanted` says how many bytes the
 * unconsumed request needs in all before another call can get on with it: at least one more than are
 * there, at most item_max and a request line. Allocates nothing but room in `replies`. */
enum proto_next proto_process(struct proto_connection *connection, struct store_thread *thread,
                              struct bytes input, size_t *consumed, size_t *wanted,
                              struct buffer *replies);

#endif
