/* What the protocols tell about the daemon as a whole in `stats`, and count on its behalf. One of
 * these exists in a process; net/ keeps it up to date, any thread may read it. */
#ifndef STAYD_PROTO_SERVER_H
#define STAYD_PROTO_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pool;

struct proto_server {
    uint32_t started_s; /* unix seconds */
    unsigned threads;
    unsigned max_connections;
    _Atomic uint64_t connections; /* open now */
    _Atomic uint64_t connections_total;
    _Atomic uint64_t connections_rejected;
    _Atomic uint64_t bytes_read;
    _Atomic uint64_t bytes_written;
};

/* What the connections of one pool are given. One a pool; lives longer than they do. */
struct proto_service {
    struct pool *pool;
    struct proto_server *server;
    bool login_required; /* nothing is done for a connection before its login (proto.h) */
};

#endif
