/* The daemon's configuration: its pools, their addresses, and the settings of the whole server. The
 * configuration comes from a file (stayd/config_file.h), from memcached's command line
 * (stayd/memcached_options.h), or is built in. The main thread fills it in before any other thread
 * starts; it does not change afterwards. */
#ifndef STAYD_STAYD_CONFIG_H
#define STAYD_STAYD_CONFIG_H

#include "net/address.h"
#include "net/readers.h"
#include "net/transfers.h"
#include "proto/server.h"
#include "stayd/faults.h"
#include "store/pool.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    CONFIG_POOLS_MAX = 32,
    CONFIG_KEYS_MAX = 32,    /* in one section */
    CONFIG_LISTENS_MAX = 16, /* of one pool */
    CONFIG_THREADS_MAX = 64,
    CONFIG_CONNECTIONS_MAX = 1000000,
    CONFIG_REQUESTS_PER_TURN_MAX = 1000000,
    CONFIG_BACKLOG_MAX = 65535,
    CONFIG_HOSTS_MAX = 1024,   /* bytes, with the zero */
    CONFIG_READERS_MAX = 512,  /* the same */
    CONFIG_CLUSTER_MAX = 1024, /* the same, of the addresses of an engine */
    CONFIG_PREFIX_MAX = 33,    /* the same */
    CONFIG_REPLICAS_MAX = 5,
    CONFIG_MAX_LAG_LEAST_S = 15, /* an election takes up to 9 s */
    CONFIG_SOCKET_MODE = 0660    /* the default mode of a socket file */
};

struct config_listen {
    struct address address;
    unsigned line;                /* in the file; 0: the address is not from the file */
    bool plain;                   /* no TLS on this address, even if the pool has TLS */
    enum proto_allowed protocols; /* what clients of this address may use */
};

struct config_pool {
    struct pool_options options;
    struct config_listen listens[CONFIG_LISTENS_MAX];
    unsigned listen_count;
    unsigned socket_mode;       /* of its socket files */
    char auth_file[PATH_MAX];   /* users and passwords (net/credentials.h); empty: no login */
    bool auth_file_is_readable; /* others may read auth_file */
    char tls_cert[PATH_MAX]; /* the certificate of its TCP listeners (net/tls.h); empty: plain text
                              */
    char tls_key[PATH_MAX];
    char tls_ca[PATH_MAX];    /* the CA of the clients' certificates; empty: clients need none */
    unsigned tls_line;        /* of the first of these three keys */
    unsigned max_connections; /* of its clients; 0: only the limit of all pools */
    unsigned max_connections_line;
    enum proto_allowed protocols; /* the protocols that clients may use, unless an address says
                                     otherwise */
    enum proto_admin admin_commands;
    bool sizes_tracked;                    /* `stats sizes_enable` from the start */
    bool crawler_stopped;                  /* `lru_crawler disable` from the start */
    struct readers readers;                /* who may map the pool and read it (net/readers.h) */
    char readers_text[CONFIG_READERS_MAX]; /* `readers` as the configuration spells it; empty: the
                                              default */
    /* A clustered pool (cluster/cluster.h): the addresses of the engine's nodes, separated by
     * commas; empty: the pool is not clustered. */
    char cluster[CONFIG_CLUSTER_MAX];
    char cluster_prefix[CONFIG_PREFIX_MAX]; /* of the streams' names */
    unsigned cluster_replicas;
    char cluster_credentials[PATH_MAX]; /* files; empty: none */
    char cluster_tls_ca[PATH_MAX];
    char cluster_tls_cert[PATH_MAX];
    char cluster_tls_key[PATH_MAX];
    uint32_t cluster_max_lag_s;   /* 0: none */
    bool serve_while_catching_up; /* with its cluster */
    unsigned cluster_line;        /* of the first of these keys; 0: there is none */
    bool insecure;                /* other machines may connect without authentication */
    unsigned line;                /* of its section */
};

struct config {
    unsigned threads;
    unsigned max_connections;
    unsigned backlog; /* the maximum of connections that wait for accept */
    uint32_t send_timeout_s;
    uint32_t connection_idle_s;       /* 0: an idle connection is never closed */
    unsigned requests_per_turn;       /* of one connection, before the worker serves the next one */
    uint64_t connection_memory_bytes; /* of all connections together */
    enum transfers_kind io;
    bool shutdown_enabled; /* this field and the next three: whether clients may use these commands
                            */
    bool flush_disabled;
    bool dump_disabled;
    bool watch_disabled;
    bool detail_enabled;   /* stats detail is on from the start */
    char prefix_delimiter; /* the delimiter of stats detail; 0: the default */
    char data_dir[PATH_MAX];
    char run_dir[PATH_MAX];
    bool has_admin;
    bool admin_insecure;
    struct config_listen admin;
    char admin_auth_file[PATH_MAX]; /* these four as those of a pool */
    unsigned admin_auth_line;
    char admin_tls_cert[PATH_MAX];
    char admin_tls_key[PATH_MAX];
    unsigned admin_tls_line;
    char admin_hosts[CONFIG_HOSTS_MAX]; /* host names of the admin server, separated by commas
                                           (admin/host.h) */
    struct config_pool pools[CONFIG_POOLS_MAX];
    unsigned pool_count;
};

/* A configuration with the default of every key in [server], and without a pool. NULL if
 * memory is short. */
struct config *config_create(void);

/* Accepts NULL. */
void config_destroy(struct config *config);

/* Adds a pool with the default of every key; NULL if there are CONFIG_POOLS_MAX pools already. The
 * caller has checked `name` with config_pool_name_is_valid. */
struct config_pool *config_add_pool(struct config *config, const char *name);

/* Adds the two pools that stayd has without a configuration file: cache and sessions. */
void config_add_builtin_pools(struct config *config);

bool config_pool_name_is_valid(const char *name);

/* Parses access rights in octal, 0 to 0777, such as 0770 or 770. */
bool config_parse_mode(const char *text, unsigned *mode);

/* The exceptions from the rules for the pool's auth_file (net/credentials.h). */
unsigned config_auth_exceptions(const struct config_pool *pool);

/* Whether the pool's TCP listeners use TLS. */
bool config_pool_has_tls(const struct config_pool *pool);

bool config_admin_has_tls(const struct config *config);

/* NULL if there is no such pool. */
const struct config_pool *config_find_pool(const struct config *config, const char *name);

/* Adds a fault for each setting that is missing, unsafe, or in conflict with another setting. */
void config_check(const struct config *config, struct faults *faults);

/* How many pools are clustered. */
unsigned config_count_clusters(const struct config *config);

/* Whether any pool keeps a file in data_dir. */
bool config_needs_data_dir(const struct config *config);

/* Whether anything keeps a file in run_dir. */
bool config_needs_run_dir(const struct config *config);

#endif
