/* The daemon as a whole, as the protocols see it (one struct proto_server), and what they know of
 * each pool (a struct proto_service).
 *
 *     server.counters   net/ counts           counters.h
 *     server.limits     net/ keeps account    limits.h
 *     server.rights     stayd/ sets, once     rights.h
 *     server.network    net/ sets, once       what proto/ asks of net/
 */
#ifndef STAYD_PROTO_SERVER_H
#define STAYD_PROTO_SERVER_H

#include "proto/counters.h"
#include "proto/latency.h"
#include "proto/limits.h"
#include "proto/rights.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;
struct proto_service;

/* A connection or a listener, as `stats conns` shows it. The texts are valid during the visit. */
struct proto_peer {
    int fd;
    const char *address;        /* of the client or the listener, such as tcp:127.0.0.1:11211 */
    const char *listen_address; /* where the client has connected to; NULL: this is a listener */
    const char *state;          /* in memcached's words: conn_read, conn_mwrite ... */
    uint32_t idle_s;            /* since bytes were last received or sent */
};

typedef void proto_peer_visitor(void *context, const struct proto_peer *peer);

/* What proto/ asks of net/. Any thread may call these. Zeroed where there is no network. */
struct proto_network {
    void *network; /* the first argument */
    /* How bytes are moved, for `stats settings`: epoll or uring; NULL: no network. */
    const char *io;

    /* Calls `visit` for each listener of the service. */
    void (*visit_listeners)(void *network, const struct proto_service *service,
                            proto_peer_visitor *visit, void *context);

    /* Calls `visit` for each listener of the service, and for each of its connections that was open
     * a moment ago, in the order of their descriptors. False if memory is short: some are missing.
     */
    bool (*visit_peers)(void *network, const struct proto_service *service,
                        proto_peer_visitor *visit, void *context);

    /* Wakes every worker: what a connection waits for may have happened. Call it only while the
     * workers run. */
    void (*wake_workers)(void *network);
};

/* How proto/ asks for a reload: another thread reads all certificates again, one reload at a time.
 * Set before the first connection; any thread may call. */
struct proto_reload {
    void *keeper;
    /* Asks for a reload that begins after this call, and returns the reload's number, which is not
     * 0. All calls before the reload begins get the same number. Does not wait for the reload.
     * `begin` is NULL if neither a pool nor the admin server has a certificate. */
    uint64_t (*begin)(void *keeper);
    /* Whether the reload with this number has ended. If so, sets `*well`, or writes a sentence
     * about the first wrong certificate to `error` (its pool keeps the old one). The workers are
     * woken when a reload ends. */
    bool (*has_ended)(void *keeper, uint64_t number, bool *well, char *error, size_t error_size);
};

struct proto_server {
    uint32_t started_s; /* unix seconds */
    unsigned threads;
    struct proto_counters counters;
    struct proto_limits limits;
    struct proto_rights rights;
    struct proto_network network;
    struct proto_tls tls;
    struct proto_reload reload;

    /* stats detail, as with memcached's -D. Set before the first service. */
    bool detail_enabled;   /* from the start */
    char prefix_delimiter; /* 0: PREFIX_DELIMITER */

    /* Begins the stop of the daemon and returns at once; any thread may call. NULL: there is no
     * daemon to stop. */
    void (*shut_down)(void *context, bool graceful);
    void *shut_down_context;

    /* Grows when a service is cut off: each worker then closes the connections of such services. */
    _Atomic uint32_t cut_offs;

    _Atomic uint32_t verbosity; /* the level that a client has set last */
};

struct prefixes;
struct watch;

/* A pool, as its connections see it. Stays valid until all of them are closed. */
struct proto_service {
    struct pool *pool;
    struct proto_server *server;
    enum proto_allowed protocols;
    enum proto_admin admin_commands;
    bool login_required;            /* no other command is run before a login (proto.h) */
    unsigned socket_mode;           /* of the pool's socket files */
    struct proto_share connections; /* of server.limits.connections; net/ keeps account */
    struct proto_share memory;      /* of server.limits.memory; net/ keeps account */
    unsigned handshakes;            /* active TLS handshakes; used by the handshake thread only */
    _Atomic bool is_cut_off;      /* no client is served: the pool is too far behind its cluster */
    _Atomic uint64_t rejected_ms; /* when a client was last rejected, monotonic; 0: never */

    /* `stayd_map` (map.h). The caller sets these: a function that decides whether the client of a
     * connection may map the pool (NULL: no client may), and the path of a Unix socket of the pool
     * (NULL: the pool has none). */
    bool (*may_map)(const void *readers, int fd);
    const void *readers;
    const char *unix_path;

    struct latency latency; /* proto/ measures */

    /* private to proto/ */
    _Atomic unsigned observed; /* the events that are reported: bits of enum event_kind */
    struct prefixes *prefixes; /* stats detail */
    struct watch *watch;
    _Atomic bool sizes_tracked;   /* stats sizes_enable; the caller may set it first */
    _Atomic bool crawler_stopped; /* lru_crawler disable; the same */
    _Atomic uint32_t crawler_sleep_us;
    _Atomic uint32_t crawler_limit;
    _Atomic uint64_t dump;            /* the number of the dump that runs; 0: none */
    _Atomic uint64_t dump_stepped_ms; /* the time of its last step, on the monotonic clock */
    _Atomic unsigned histograms;      /* of stats sizes, allocated now */
    _Atomic uint64_t dumps_started;
    _Atomic uint64_t crawls;                    /* of lru_crawler: dumps and `crawl` */
    _Atomic uint64_t totals_base[PROTO_TOTALS]; /* at the last `stats reset` (totals.h) */
};

/* The caller sets `protocols`, `login_required` and `admin_commands` afterwards. False if memory is
 * short. */
bool proto_service_init(struct proto_service *service, struct pool *pool,
                        struct proto_server *server);

/* Whether a client was turned away in the last minute, because too many connections were open. */
bool proto_service_turns_away(const struct proto_service *service);

/* Call it when the pool is closed and no connection uses the service any more. Accepts a zeroed
 * service. */
void proto_service_finish(struct proto_service *service);

#endif
