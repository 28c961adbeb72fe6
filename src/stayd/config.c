#include "stayd/config.h"

#include "cluster/cluster.h"
#include "net/credentials.h"
#include "stayd/directories.h"

#include <assert.h>
#include <ctype.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DEFAULT_THREADS_MAX = 8,
    DEFAULT_CONNECTIONS = 4096,
    DEFAULT_SEND_TIMEOUT_S = 30,
    DEFAULT_REQUESTS_PER_TURN = 1000,
    DEFAULT_CONNECTION_MEMORY_BYTES = 256 << 20,
    DEFAULT_MEMORY_BYTES = 64 << 20,
    DEFAULT_ITEM_MAX_BYTES = 1 << 20,
    DEFAULT_PORT_ADMIN = 11280,
    DEFAULT_PORT_CACHE = 11211,
    DEFAULT_PORT_SESSIONS = 11200
};

static unsigned config_cores(void) {
    cpu_set_t cores;
    return sched_getaffinity(0, sizeof cores, &cores) == 0 ? (unsigned)CPU_COUNT(&cores) : 1;
}

static void config_set_loopback(struct config_listen *listen, unsigned port) {
    char error[ADDRESS_ERROR_MAX];
    bool valid = address_parse_host("127.0.0.1", port, &listen->address, error);
    assert(valid);
    (void)valid;
}

struct config *config_create(void) {
    struct config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return NULL;
    }
    config->threads = config_cores();
    if (config->threads > DEFAULT_THREADS_MAX) {
        config->threads = DEFAULT_THREADS_MAX;
    }
    config->max_connections = DEFAULT_CONNECTIONS;
    config->backlog = SOMAXCONN;
    config->send_timeout_s = DEFAULT_SEND_TIMEOUT_S;
    config->requests_per_turn = DEFAULT_REQUESTS_PER_TURN;
    config->connection_memory_bytes = DEFAULT_CONNECTION_MEMORY_BYTES;
    config->has_admin = true;
    config_set_loopback(&config->admin, DEFAULT_PORT_ADMIN);
    directories_default_data(config->data_dir);
    directories_default_run(config->run_dir);
    return config;
}

void config_destroy(struct config *config) {
    free(config);
}

struct config_pool *config_add_pool(struct config *config, const char *name) {
    if (config->pool_count == CONFIG_POOLS_MAX) {
        return NULL;
    }
    struct config_pool *pool = &config->pools[config->pool_count++];
    *pool = (struct config_pool){
        .options =
            {
                .memory_bytes = DEFAULT_MEMORY_BYTES,
                .item_max_bytes = DEFAULT_ITEM_MAX_BYTES,
                .evict = true,
                .fsync = POOL_FSYNC_EVERYSEC,
                .data_dir = config->data_dir,
                .run_dir = config->run_dir,
            },
        .socket_mode = CONFIG_SOCKET_MODE,
        .admin_commands = PROTO_ADMIN_LOCAL,
        .cluster_prefix = CLUSTER_PREFIX,
        .cluster_replicas = CLUSTER_REPLICAS,
    };
    snprintf(pool->options.name, sizeof pool->options.name, "%s", name);
    return pool;
}

/* Adds a port on loopback, and a socket in run_dir. */
static void config_add_builtin_listens(const struct config *config, struct config_pool *pool,
                                       unsigned port) {
    char text[POOL_NAME_MAX + 16];
    char error[ADDRESS_ERROR_MAX];
    config_set_loopback(&pool->listens[pool->listen_count++], port);
    snprintf(text, sizeof text, "unix:%s.sock", pool->options.name);
    if (address_parse(text, config->run_dir, &pool->listens[pool->listen_count].address, error)) {
        pool->listen_count++; /* else run_dir is too long for a socket's path: only TCP */
    }
}

void config_add_builtin_pools(struct config *config) {
    struct config_pool *cache = config_add_pool(config, "cache");
    config_add_builtin_listens(config, cache, DEFAULT_PORT_CACHE);

    struct config_pool *sessions = config_add_pool(config, "sessions");
    sessions->options.evict = false;
    sessions->options.persist = true;
    config_add_builtin_listens(config, sessions, DEFAULT_PORT_SESSIONS);
}

bool config_pool_name_is_valid(const char *name) {
    size_t length = 0;
    for (; name[length] != '\0'; length++) {
        if (!isalnum((unsigned char)name[length]) && name[length] != '-' && name[length] != '_') {
            return false;
        }
    }
    return length >= 1 && length <= POOL_NAME_MAX;
}

bool config_parse_mode(const char *text, unsigned *mode) {
    char *end;
    unsigned long value = strtoul(text, &end, 8);
    if (*text < '0' || *text > '7' || *end != '\0' || value > 0777) {
        return false;
    }
    *mode = (unsigned)value;
    return true;
}

unsigned config_auth_exceptions(const struct config_pool *pool) {
    return pool->auth_file_is_readable ? CREDENTIALS_READABLE : CREDENTIALS_STRICT;
}

bool config_pool_has_tls(const struct config_pool *pool) {
    return pool->tls_cert[0] != '\0' && pool->tls_key[0] != '\0';
}

bool config_admin_has_tls(const struct config *config) {
    return config->has_admin && config->admin_tls_cert[0] != '\0' &&
           config->admin_tls_key[0] != '\0';
}

const struct config_pool *config_find_pool(const struct config *config, const char *name) {
    for (unsigned i = 0; i < config->pool_count; i++) {
        if (strcmp(config->pools[i].options.name, name) == 0) {
            return &config->pools[i];
        }
    }
    return NULL;
}

/* False if the address is invalid; it has a fault already. */
static bool config_is_understood(const struct config_listen *listen) {
    return listen->address.size > 0;
}

/* Adds a fault if the address conflicts with an earlier one; `seen` has the earlier addresses. */
static void config_check_unique(const struct config_listen *listen,
                                const struct config_listen **seen, unsigned *seen_count,
                                struct faults *faults) {
    if (!config_is_understood(listen)) {
        return;
    }
    for (unsigned i = 0; i < *seen_count; i++) {
        if (!address_overlaps(&seen[i]->address, &listen->address)) {
            continue;
        }
        if (strcmp(seen[i]->address.text, listen->address.text) != 0) {
            faults_add(faults, listen->line,
                       "%s and %s%s cannot both be listened on: each takes the other's "
                       "connections; keep one, or choose another port",
                       listen->address.text, seen[i]->address.text,
                       seen[i]->line == 0 && i == 0 ? " (the admin page, by default)" : "");
        } else if (seen[i]->line > 0) {
            faults_add(faults, listen->line, "%s is in use already, on line %u; choose another",
                       listen->address.text, seen[i]->line);
        } else {
            faults_add(faults, listen->line, "%s is in use already%s; choose another",
                       listen->address.text, i == 0 ? ", for the admin page by default" : "");
        }
        return;
    }
    seen[(*seen_count)++] = listen;
}

/* Checks the TLS settings, without reading the files. */
static void config_check_tls(const struct config_pool *pool, struct faults *faults) {
    const char *name = pool->options.name;
    bool cert = pool->tls_cert[0] != '\0';
    bool key = pool->tls_key[0] != '\0';
    if (cert != key) {
        faults_add(faults, pool->tls_line, "pool %s has a %s without a %s; TLS needs both", name,
                   cert ? "tls_cert" : "tls_key", cert ? "tls_key" : "tls_cert");
    } else if (!cert && pool->tls_ca[0] != '\0') {
        faults_add(faults, pool->tls_line,
                   "pool %s has a tls_ca, for the certificates of clients, but no tls_cert and "
                   "tls_key of its own; without those there is no TLS",
                   name);
    }
    bool listens_on_tcp = pool->listen_count == 0;
    for (unsigned i = 0; i < pool->listen_count; i++) {
        listens_on_tcp |= !address_is_unix(&pool->listens[i].address);
    }
    if (cert && !listens_on_tcp) {
        faults_add(faults, pool->tls_line,
                   "pool %s has a tls_cert, but listens on Unix sockets only, which do not use "
                   "TLS; add a TCP address, or remove tls_cert",
                   name);
    }
}

static void config_check_pool(const struct config_pool *pool, struct faults *faults) {
    if (pool->listen_count == 0) {
        faults_add(
            faults, pool->line,
            "pool %s has no address; add one, such as listen = 127.0.0.1:11211, unix:%s.sock",
            pool->options.name, pool->options.name);
    }
    for (unsigned i = 0; i < pool->listen_count; i++) {
        const struct config_listen *listen = &pool->listens[i];
        if (config_is_understood(listen) && !address_is_local(&listen->address) &&
            !pool->insecure && pool->auth_file[0] == '\0' &&
            (pool->tls_ca[0] == '\0' || listen->plain)) {
            faults_add(
                faults, listen->line,
                "pool %s would listen on %s, where everybody who reaches this machine could "
                "read and change it%s; listen on 127.0.0.1 or a Unix socket, demand a password "
                "with auth_file (-Y) or client certificates with tls_ca (-o "
                "ssl_verify_mode=2,ssl_ca_cert=FILE), or set insecure = yes (on the command line: "
                "--insecure) to allow it",
                pool->options.name, listen->address.text,
                pool->tls_cert[0] != '\0' && !listen->plain
                    ? " (TLS without tls_ca encrypts, but does not authenticate clients)"
                    : "");
        }
    }
    config_check_tls(pool, faults);
    if (pool->cluster_line != 0 && pool->cluster[0] == '\0') {
        faults_add(faults, pool->cluster_line,
                   "pool %s has settings of a cluster, but no cluster; add one, such as cluster = "
                   "nats://a:4222,nats://b:4222,nats://c:4222",
                   pool->options.name);
    }
    if ((pool->cluster_tls_cert[0] != '\0') != (pool->cluster_tls_key[0] != '\0')) {
        faults_add(faults, pool->cluster_line,
                   "pool %s: cluster_tls_cert and cluster_tls_key go together", pool->options.name);
    }
    if (pool->cluster_max_lag_s != 0 && pool->cluster_max_lag_s < CONFIG_MAX_LAG_LEAST_S) {
        faults_add(faults, pool->cluster_line,
                   "pool %s: cluster_max_lag must be at least %ds: while a node of the cluster is "
                   "replaced, hosts are up to 10 s behind",
                   pool->options.name, CONFIG_MAX_LAG_LEAST_S);
    }
    char error[POOL_ERROR_MAX];
    if (!pool_options_check(&pool->options, error)) {
        faults_add(faults, pool->line, "pool %s: %s", pool->options.name, error);
    }
}

/* A password is sent with every request of HTTP, so an address that other machines can reach needs
 * both the login and TLS. */
static void config_check_admin_reach(const struct config *config, struct faults *faults) {
    bool has_login = config->admin_auth_file[0] != '\0';
    const char *address = config->admin.address.text;
    if (config->admin_insecure || address_is_local(&config->admin.address)) {
        return;
    }
    if (!has_login) {
        faults_add(faults, config->admin.line,
                   "the admin page would listen on %s, where everybody who reaches this machine "
                   "could read it%s; use 127.0.0.1, or demand a password with admin_auth_file and "
                   "encrypt it with admin_tls_cert and admin_tls_key, or set insecure = yes to "
                   "allow it",
                   address,
                   config_admin_has_tls(config)
                       ? " (TLS encrypts, but does not authenticate clients)"
                       : "");
    } else if (!config_admin_has_tls(config)) {
        faults_add(faults, config->admin.line,
                   "the admin page would listen on %s without TLS, and each request would carry "
                   "the password in plain text; set admin_tls_cert and admin_tls_key, use "
                   "127.0.0.1, or set insecure = yes to allow it",
                   address);
    }
}

static void config_check_admin(const struct config *config, struct faults *faults) {
    bool cert = config->admin_tls_cert[0] != '\0';
    bool key = config->admin_tls_key[0] != '\0';
    if (cert != key) {
        faults_add(faults, config->admin_tls_line, "there is an %s without an %s; TLS takes both",
                   cert ? "admin_tls_cert" : "admin_tls_key",
                   cert ? "admin_tls_key" : "admin_tls_cert");
    }
    if (!config->has_admin && (cert || key || config->admin_auth_file[0] != '\0')) {
        faults_add(faults, cert || key ? config->admin_tls_line : config->admin_auth_line,
                   "%s has no effect with admin = no; remove one of the two",
                   cert || key ? "admin_tls_cert" : "admin_auth_file");
    }
    if (!config->has_admin || !config_is_understood(&config->admin)) {
        return;
    }
    if (cert && key && address_is_unix(&config->admin.address)) {
        faults_add(faults, config->admin_tls_line,
                   "there is an admin_tls_cert, but admin is a Unix socket, which does not use "
                   "TLS; set admin to a TCP address, or remove admin_tls_cert");
    }
    config_check_admin_reach(config, faults);
}

void config_check(const struct config *config, struct faults *faults) {
    const struct config_listen *seen[CONFIG_POOLS_MAX * CONFIG_LISTENS_MAX + 1];
    unsigned seen_count = 0;
    if (config->has_admin) {
        config_check_unique(&config->admin, seen, &seen_count, faults);
    }
    config_check_admin(config, faults);
    for (unsigned i = 0; i < config->pool_count; i++) {
        const struct config_pool *pool = &config->pools[i];
        config_check_pool(pool, faults);
        if (pool->max_connections > config->max_connections) {
            faults_add(faults, pool->max_connections_line,
                       "max_connections = %u is more than all pools together may have, %u; raise "
                       "max_connections in [server]",
                       pool->max_connections, config->max_connections);
        }
        for (unsigned j = 0; j < pool->listen_count; j++) {
            config_check_unique(&pool->listens[j], seen, &seen_count, faults);
        }
    }
    if (config_needs_data_dir(config) && config->data_dir[0] == '\0') {
        faults_add(faults, 0,
                   "no data_dir: this user has no home folder; set data_dir in [server]");
    }
}

unsigned config_count_clusters(const struct config *config) {
    unsigned count = 0;
    for (unsigned i = 0; i < config->pool_count; i++) {
        count += config->pools[i].cluster[0] != '\0';
    }
    return count;
}

bool config_needs_data_dir(const struct config *config) {
    for (unsigned i = 0; i < config->pool_count; i++) {
        if (config->pools[i].options.persist) {
            return true;
        }
    }
    return false;
}

/* A socket needs run_dir only if its file is in run_dir. */
bool config_needs_run_dir(const struct config *config) {
    size_t length = strlen(config->run_dir);
    for (unsigned i = 0; i < config->pool_count; i++) {
        const struct config_pool *pool = &config->pools[i];
        for (unsigned j = 0; j < pool->listen_count; j++) {
            const struct address *address = &pool->listens[j].address;
            if (address_is_unix(address) &&
                strncmp(address_path(address), config->run_dir, length) == 0 &&
                address_path(address)[length] == '/') {
                return true;
            }
        }
    }
    return config_needs_data_dir(config); /* a persistent pool keeps its index in run_dir */
}
