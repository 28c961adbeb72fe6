/* What the daemon is to do: its pools, where they listen, and what they share. Comes from a file
 * (stayd/config_file.h), from memcached's command line (stayd/options.h), or is built in.
 * Filled in before any thread starts, and not changed after. */
#ifndef STAYD_STAYD_CONFIG_H
#define STAYD_STAYD_CONFIG_H

#include "net/address.h"
#include "proto/server.h"
#include "stayd/faults.h"
#include "store/pool.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    CONFIG_POOLS_MAX = 32,
    CONFIG_KEYS_MAX = 16,    /* in one section */
    CONFIG_LISTENS_MAX = 16, /* of one pool */
    CONFIG_THREADS_MAX = 64,
    CONFIG_CONNECTIONS_MAX = 1000000,
    CONFIG_REQUESTS_PER_TURN_MAX = 1000000,
    CONFIG_BACKLOG_MAX = 65535,
    CONFIG_HOSTS_MAX = 1024,  /* bytes, with the zero */
    CONFIG_SOCKET_MODE = 0660 /* of a socket file, unless something else is asked for */
};

struct config_listen {
    struct address address;
    unsigned line; /* where the file says so; 0: it does not */
    bool plain;    /* no TLS here, although the pool has it */
};

struct config_pool {
    struct pool_options options;
    struct config_listen listens[CONFIG_LISTENS_MAX];
    unsigned listen_count;
    unsigned socket_mode;     /* of its socket files */
    char auth_file[PATH_MAX]; /* users and passwords (net/credentials.h); empty: no login */
    char tls_cert[PATH_MAX];  /* what its TCP listeners show (net/tls.h); empty: plain text */
    char tls_key[PATH_MAX];
    char tls_ca[PATH_MAX];        /* whose certificates clients need; empty: they need none */
    unsigned tls_line;            /* the first of the three */
    enum proto_allowed protocols; /* that clients may speak */
    bool insecure;                /* it is meant that others than this machine can connect */
    unsigned line;                /* of its section */
};

struct config {
    unsigned threads;
    unsigned max_connections;
    unsigned backlog; /* clients that may wait to be accepted */
    uint32_t send_timeout_s;
    uint32_t connection_idle_s;       /* 0: a connection may be idle for ever */
    unsigned requests_per_turn;       /* of one connection, before others have their turn */
    uint64_t connection_memory_bytes; /* of all connections together */
    bool shutdown_enabled; /* this and the three below: what clients may and may not do */
    bool flush_disabled;
    bool dump_disabled;
    bool watch_disabled;
    bool detail_enabled;   /* stats detail, from the start */
    char prefix_delimiter; /* of its prefixes; 0: the usual one */
    char data_dir[PATH_MAX];
    char run_dir[PATH_MAX];
    bool has_admin;
    bool admin_insecure;
    struct config_listen admin;
    char admin_hosts[CONFIG_HOSTS_MAX]; /* names of it, separated by commas (admin/host.h) */
    struct config_pool pools[CONFIG_POOLS_MAX];
    unsigned pool_count;
};

/* With the default of every key in [server], and no pool. Ends the process if memory is short. */
struct config *config_create(void);

/* Accepts NULL. */
void config_destroy(struct config *config);

/* A pool with the default of every key; NULL if there are CONFIG_POOLS_MAX. `name` is a valid one.
 */
struct config_pool *config_add_pool(struct config *config, const char *name);

/* The two pools that stayd has without a file: cache and sessions. */
void config_add_builtin_pools(struct config *config);

bool config_pool_name_is_valid(const char *name);

/* Access rights in octal, 0 to 0777, such as 0770 or 770. */
bool config_parse_mode(const char *text, unsigned *mode);

/* Whether its TCP listeners speak TLS, if all is well. */
bool config_pool_has_tls(const struct config_pool *pool);

/* NULL if there is none. */
const struct config_pool *config_find_pool(const struct config *config, const char *name);

/* Finds what is wrong with the whole, although each value by itself is right. */
void config_check(const struct config *config, struct faults *faults);

/* Whether any pool keeps a file in data_dir. */
bool config_needs_data_dir(const struct config *config);

/* Whether anything keeps a file in run_dir. */
bool config_needs_run_dir(const struct config *config);

#endif
