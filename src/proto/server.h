/* What the protocols tell about the daemon as a whole in `stats`, and count on its behalf. One of
 * these exists in a process; net/ keeps it up to date, any thread may read it. */
#ifndef STAYD_PROTO_SERVER_H
#define STAYD_PROTO_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;
struct proto_service;

/* Something that the clients of all pools have together, and what those of one pool have of it.
 * net/share.h counts. */
struct proto_whole {
    uint64_t limit;
    uint64_t part;           /* of it, kept for each pool */
    uint64_t common;         /* of it, kept for none */
    _Atomic uint64_t used;   /* by all pools */
    _Atomic uint64_t beyond; /* of that, beyond what is kept for each */
};

struct proto_share {
    uint64_t kept;
    uint64_t most; /* 0: as much as there is */
    _Atomic uint64_t used;
};

/* What connections own of requests that have not wholly arrived and of replies that their clients
 * have not taken. net/budget.h keeps it. */
enum { PROTO_MEMORY_INPUT, PROTO_MEMORY_OUTPUT, PROTO_MEMORY_KINDS };

struct proto_memory {
    struct proto_whole bytes;   /* of all kinds and connections */
    _Atomic uint64_t warned_ms; /* when the log last told of a refusal; 0: never */
    struct {
        _Atomic uint64_t bytes;
        _Atomic uint64_t buffers;
        _Atomic uint64_t refused; /* connections that were closed because there was no more */
    } kinds[PROTO_MEMORY_KINDS];
};

/* One connection, or one listener, as `stats conns` shows it. The texts are the visit's. */
struct proto_peer {
    int fd;
    const struct proto_service *service;
    bool is_listener;
    const char *address; /* of the client; of a listener: where it listens: tcp:127.0.0.1:11211 */
    const char *listen_address; /* where the client has connected to */
    const char *state;          /* in memcached's words: conn_read, conn_mwrite ... */
    uint32_t idle_s;            /* since bytes were taken from it or sent to it */
};

typedef void proto_peer_visitor(void *context, const struct proto_peer *peer);

/* What TLS has done, over all pools. net/tls.h counts. */
struct proto_tls {
    bool is_enabled;                   /* some pool has a certificate */
    _Atomic uint64_t handshake_errors; /* plain clients, vanished ones and late ones included */
    _Atomic uint64_t new_sessions;     /* full handshakes */
    _Atomic uint64_t resumed_sessions; /* short ones */
    _Atomic uint32_t loaded_s;         /* when certificates were read last, in unix seconds */
};

/* Reads all certificates again, on a thread of its own, one reload at a time. Set before the first
 * connection; any thread may call. */
struct proto_reload {
    void *keeper;
    /* Asks for a reload that begins from now on, and returns its number, which is not 0. All who
     * ask until it begins share it. Does not wait. NULL: there are no certificates. */
    uint64_t (*begin)(void *keeper);
    /* Whether the reload with this number has ended: then `*well`, or a sentence in `error` about
     * the first certificate that is not right (its pool keeps what it had). The workers are woken
     * when one ends. */
    bool (*has_ended)(void *keeper, uint64_t number, bool *well, char *error, size_t error_size);
};

struct proto_server {
    uint32_t started_s; /* unix seconds */
    unsigned threads;
    struct proto_whole connections; /* open now */
    _Atomic uint64_t connections_total;
    _Atomic uint64_t connections_rejected;
    _Atomic uint64_t bytes_read;
    _Atomic uint64_t bytes_written;

    uint32_t requests_per_turn; /* of one connection, before the others have their turn */
    uint32_t connection_idle_s; /* a client that says nothing for so long is dropped; 0: never */
    _Atomic uint64_t idle_kicks;
    _Atomic uint64_t yields; /* times that a connection had more requests than one turn takes */
    struct proto_memory memory;

    /* Calls `visit` for each listener and each connection. Any thread may call it; connections come
     * and go meanwhile, but not while they are visited. Set by net/; NULL where there is none. */
    void (*visit_peers)(void *network, proto_peer_visitor *visit, void *context);
    void *network;

    /* Wakes every worker: what a connection waits for may be there. Any thread may call it while
     * the workers run. Set by net/. */
    void (*wake_workers)(void *network);

    struct proto_tls tls;
    struct proto_reload reload;
    bool has_logins; /* some pool asks for one. Set before the first connection */

    /* What an operator allows, as memcached's -A, -F, -X and -W have it. Set before the first
     * connection. */
    bool shutdown_enabled;
    bool flush_disabled;
    bool dump_disabled; /* of keys: lru_crawler metadump and mgdump, stats cachedump */
    bool watch_disabled;

    /* stats detail, as memcached's -D has it. Set before the first service. */
    bool detail_enabled;   /* from the start */
    char prefix_delimiter; /* 0: PREFIX_DELIMITER */
    /* Begins the end of the daemon and returns at once; any thread may call it. NULL: there is
     * none to end. */
    void (*shut_down)(void *context, bool graceful);
    void *shut_down_context;
    _Atomic uint32_t verbosity; /* as a client has set it */
};

struct prefixes;
struct watch;

/* Which protocols a pool's clients may speak. */
enum proto_allowed { PROTO_ALLOWED_ALL, PROTO_ALLOWED_TEXT, PROTO_ALLOWED_BINARY };

/* Whose operator's commands are carried out (proto/operator.h). */
enum proto_admin { PROTO_ADMIN_ALL, PROTO_ADMIN_LOCAL, PROTO_ADMIN_NONE };

/* What the connections of one pool are given. One a pool; lives longer than they do. */
struct proto_service {
    struct pool *pool;
    struct proto_server *server;
    enum proto_allowed protocols;
    struct proto_share connections; /* of the server's; net/ counts */
    struct proto_share memory;      /* the same */
    unsigned handshakes; /* of those connections, at their TLS handshake; that thread's alone */
    _Atomic uint64_t rejected_ms; /* when a client was turned away last, monotonic; 0: never */
    bool login_required;          /* nothing is done for a connection before its login (proto.h) */
    enum proto_admin admin_commands;

    /* private to proto/ */
    _Atomic unsigned observed; /* events somebody wants to know of: enum event_kind's bits */
    struct prefixes *prefixes; /* stats detail */
    struct watch *watch;
    _Atomic bool sizes_tracked;   /* stats sizes_enable */
    _Atomic bool crawler_stopped; /* lru_crawler disable */
    _Atomic uint32_t crawler_sleep_us;
    _Atomic uint32_t crawler_limit;
    _Atomic uint64_t dump;            /* the number of the one that runs; 0: none */
    _Atomic uint64_t dump_stepped_ms; /* when it took its last step, on the monotonic clock */
    _Atomic unsigned histograms;      /* of all that are not freed: stats sizes */
    _Atomic uint64_t dumps_started;
};

/* `protocols`, `login_required` and `admin_commands` are the caller's to set. False if memory is
 * short. */
bool proto_service_init(struct proto_service *service, struct pool *pool,
                        struct proto_server *server);

/* Once no connection has it any more, and its pool is closed. Accepts a zeroed one. */
void proto_service_finish(struct proto_service *service);

#endif
