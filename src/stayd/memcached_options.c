#include "stayd/memcached_options.h"

#include "base/number.h"
#include "stayd/extended_options.h"
#include "stayd/memcached_listen.h"
#include "stayd/options.h"

#include <stdlib.h>
#include <string.h>

enum {
    MEMCACHED_PORT = 11211,
    MEMCACHED_MEMORY_MAX_M = 1 << 20,
    MEMCACHED_CONNECTIONS = 1024,
    MEMCACHED_MEMORY_BYTES = 64 << 20,
    MEMCACHED_ITEM_MAX_BYTES = 1 << 20,
    MEMCACHED_ITEM_MAX_LEAST = 1 << 10,
    MEMCACHED_SOCKET_MODE = 0700,
    OPTION_INSECURE = OPTION_NO_LETTER + 100
};

static bool take_port(struct options *options, const char *spelled, char *value) {
    options->memcached.any_port = strcmp(value, "-1") == 0;
    if (options->memcached.any_port) {
        options->memcached.port = 0;
        return true;
    }
    return option_number(spelled, value, 0, UINT16_MAX, &options->memcached.port);
}

static bool take_listen(struct options *options, const char *spelled, char *value) {
    struct memcached_options *memcached = &options->memcached;
    if (memcached->listen_count == CONFIG_LISTENS_MAX) {
        return option_fail(spelled, NULL, "at most %d times", CONFIG_LISTENS_MAX);
    }
    memcached->listens[memcached->listen_count++] = value;
    return true;
}

static bool take_unix_socket(struct options *options, const char *spelled, char *value) {
    return option_path(spelled, value, options->memcached.socket_path);
}

static bool take_unix_mask(struct options *options, const char *spelled, char *value) {
    return config_parse_mode(value, &options->memcached.socket_mode) ||
           option_fail(spelled, value, "must be access rights in octal, such as 0770");
}

static bool take_memory_limit(struct options *options, const char *spelled, char *value) {
    unsigned megabytes;
    size_t length = strlen(value);
    if (length > 1 && (value[length - 1] == 'm' || value[length - 1] == 'M')) {
        value[length - 1] = '\0'; /* memcached reads the digits alone */
    }
    if (!option_number(spelled, value, 1, MEMCACHED_MEMORY_MAX_M, &megabytes)) {
        return false;
    }
    options->memcached.memory_bytes = (uint64_t)megabytes << 20;
    return true;
}

static bool take_max_item_size(struct options *options, const char *spelled, char *value) {
    uint64_t size_bytes;
    if (!number_parse_size(bytes_from_string(value), &size_bytes) ||
        size_bytes < MEMCACHED_ITEM_MAX_LEAST || size_bytes > POOL_ITEM_MAX_LIMIT) {
        return option_fail(spelled, value, "must be a size from 1k to %um",
                           POOL_ITEM_MAX_LIMIT >> 20);
    }
    options->memcached.item_max_bytes = (uint32_t)size_bytes;
    return true;
}

static bool take_disable_evictions(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->memcached.no_eviction = true;
    return true;
}

static bool take_conn_limit(struct options *options, const char *spelled, char *value) {
    return option_number(spelled, value, 1, CONFIG_CONNECTIONS_MAX,
                         &options->memcached.max_connections);
}

static bool take_threads(struct options *options, const char *spelled, char *value) {
    return option_number(spelled, value, 1, CONFIG_THREADS_MAX, &options->memcached.threads);
}

static bool take_backlog(struct options *options, const char *spelled, char *value) {
    unsigned *backlog = &options->memcached.backlog;
    if (!option_number(spelled, value, 0, INT_MAX, backlog)) {
        return false;
    }
    *backlog = *backlog < 1 ? 1 : *backlog > CONFIG_BACKLOG_MAX ? CONFIG_BACKLOG_MAX : *backlog;
    return true;
}

static bool take_insecure(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->memcached.insecure = true;
    return true;
}

static bool take_udp_port(struct options *options, const char *spelled, char *value) {
    (void)options;
    return strcmp(value, "0") == 0 ||
           option_fail(spelled, value,
                       "stayd does not support UDP, because it can be abused to flood other hosts; "
                       "remove the option, or write 0");
}

static bool take_max_requests(struct options *options, const char *spelled, char *value) {
    return option_number(spelled, value, 1, CONFIG_REQUESTS_PER_TURN_MAX,
                         &options->memcached.requests_per_turn);
}

static bool take_protocol(struct options *options, const char *spelled, char *value) {
    static const char *const names[] = {"auto", "ascii", "binary"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(value, names[i]) == 0) {
            options->memcached.protocol = (enum memcached_protocol)i;
            return true;
        }
    }
    return option_fail(spelled, value, "must be auto, ascii or binary");
}

static bool take_enable_shutdown(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->memcached.enable_shutdown = true;
    return true;
}

static bool take_disable_flush(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->memcached.disable_flush = true;
    return true;
}

static bool take_disable_dump(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->memcached.disable_dump = true;
    return true;
}

static bool take_disable_watch(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->memcached.disable_watch = true;
    return true;
}

static bool take_sasl(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->memcached.sasl = true;
    return true;
}

static bool take_auth_file(struct options *options, const char *spelled, char *value) {
    return option_path(spelled, value, options->memcached.auth_file);
}

static bool take_tls(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->memcached.tls = true;
    return true;
}

static bool refuse_memory_file(struct options *options, const char *spelled, char *value) {
    (void)options;
    return option_fail(spelled, value,
                       "to keep items in a file, use a configuration (stayd -c FILE) "
                       "with a pool that has persist = yes; its file is in data_dir, on "
                       "any disk, and survives crashes too");
}

static bool take_delimiter(struct options *options, const char *spelled, char *value) {
    if (*value <= ' ' || *value == 0x7F) {
        return option_fail(spelled, value, "must be a character that can stand in a key");
    }
    if (value[1] != '\0') { /* memcached reads the first character alone */
        option_notice(options, "%s %s: the delimiter is its first character, %c", spelled, value,
                      *value);
    }
    options->memcached.prefix_delimiter = *value;
    return true;
}

const struct option_row memcached_option_rows[] = {
    {'p', "port", "NUMBER", take_port, "TCP port (default 11211; 0: none; -1: any that is free)"},
    {'l', "listen", "ADDRESS,...", take_listen,
     "addresses or names; add :PORT if it is not the port of -p;\n"
     "may be repeated (default 127.0.0.1)"},
    {'s', "unix-socket", "PATH", take_unix_socket, "listen on a Unix socket, and not on TCP"},
    {'a', "unix-mask", "MODE", take_unix_mask,
     "access rights of that socket, in octal (default 0700)"},
    {'b', "listen-backlog", "NUMBER", take_backlog,
     "clients that may wait to be accepted (default: as many\nas the system allows)"},
    {'c', "conn-limit", "NUMBER", take_conn_limit, "limit of open connections (default 1024)"},
    {'t', "threads", "NUMBER", take_threads, "worker threads (default: one per core, at most 8)"},
    {'m', "memory-limit", "NUMBER", take_memory_limit,
     "memory for items, in megabytes (default 64)"},
    {'M', "disable-evictions", NULL, take_disable_evictions,
     "when memory is full, refuse new items instead of evicting"},
    {'I', "max-item-size", "SIZE", take_max_item_size,
     "the largest item: bytes, or with k or m (default 1m)"},
    {OPTION_INSECURE, "insecure", NULL, take_insecure,
     "allow -l with an address that other machines can reach"},
    {'U', "udp-port", "0", take_udp_port, "there is no UDP"},
    {'o', "extended", "SETTING,...", extended_options_take,
     "memcached's other settings; see docs/from-memcached.md"},
    {'e', "memory-file", "FILE", refuse_memory_file,
     "not supported: use a pool with persist = yes"},
    {'A', "enable-shutdown", NULL, take_enable_shutdown, "let clients end the daemon (shutdown)"},
    {'R', "max-reqs-per-event", "NUMBER", take_max_requests,
     "requests of one client before the others have their turn"},
    {'B', "protocol", "NAME", take_protocol, "only ascii, or only binary (default auto: both)"},
    {'S', "enable-sasl", NULL, take_sasl,
     "demand a login; users come from -Y FILE, or from the\nfile in $MEMCACHED_SASL_PWDB"},
    {'F', "disable-flush-all", NULL, take_disable_flush, "refuse flush_all"},
    {'X', "disable-dumping", NULL, take_disable_dump, "refuse to list keys"},
    {'W', "disable-watch", NULL, take_disable_watch, "refuse watch"},
    {'Y', "auth-file", "FILE", take_auth_file, "demand a login; FILE has lines user:password"},
    {'Z', "enable-ssl", NULL, take_tls, "speak TLS, with -o ssl_chain_cert=FILE,ssl_key=FILE"},
    {'D', NULL, "CHARACTER", take_delimiter,
     "count keys by their part before CHARACTER (stats detail)"},
    {'f', "slab-growth-factor", "FACTOR", NULL, "there are no slabs"},
    {'n', "slab-min-size", "BYTES", NULL, "there are no slabs"},
    {'L', "enable-largepages", NULL, NULL, "the system decides on the size of pages"},
    {'C', "disable-cas", NULL, NULL, "an item's CAS costs nothing, and is always there"},
    {'N', "napi-ids", "NUMBER", NULL, "new connections are spread evenly over the threads"},
    {0},
};

void memcached_options_init(struct memcached_options *options) {
    *options = (struct memcached_options){
        .port = MEMCACHED_PORT,
        .memory_bytes = MEMCACHED_MEMORY_BYTES,
        .item_max_bytes = MEMCACHED_ITEM_MAX_BYTES,
        .max_connections = MEMCACHED_CONNECTIONS,
        .socket_mode = MEMCACHED_SOCKET_MODE,
    };
}

/* Finds the file of users for SASL. A memcached that is built without libsasl's database also reads
 * the path in MEMCACHED_SASL_PWDB. */
static bool check_sasl(struct options *options) {
    struct memcached_options *memcached = &options->memcached;
    const char *path = getenv("MEMCACHED_SASL_PWDB");
    if (!memcached->sasl) {
        return true;
    }
    if (memcached->protocol == MEMCACHED_TEXT) {
        return option_fail("-S", NULL, "needs the binary protocol; remove -B ascii, or -S");
    }
    if (memcached->auth_file[0] != '\0') {
        return true;
    }
    if (path == NULL || *path == '\0') {
        return option_fail("-S", NULL,
                           "needs a file of users: add -Y FILE with lines user:password, mode "
                           "0600 (stayd does not read libsasl's database; 'sasldblistusers2' lists "
                           "its users)");
    }
    return option_path("MEMCACHED_SASL_PWDB", path, memcached->auth_file);
}

static bool check_tls(struct options *options) {
    struct memcached_options *memcached = &options->memcached;
    bool any = memcached->tls_cert[0] != '\0' || memcached->tls_key[0] != '\0' ||
               memcached->tls_ca[0] != '\0' || memcached->tls_verify != 0;
    if (!memcached->tls) {
        if (any) {
            option_notice(options, "-o ssl_...: changes nothing without -Z");
        }
        return true;
    }
    if (memcached->tls_cert[0] == '\0') {
        return option_fail("-Z", NULL,
                           "needs -o ssl_chain_cert=FILE, and ssl_key=FILE if the key "
                           "is in another file");
    }
    if (memcached->tls_verify >= 2 && memcached->tls_ca[0] == '\0') {
        return option_fail("-o ssl_verify_mode", NULL,
                           "to require client certificates, name their CA with ssl_ca_cert=FILE");
    }
    if (memcached->tls_verify < 2 && memcached->tls_ca[0] != '\0') {
        option_notice(options, "-o ssl_ca_cert changes nothing: client certificates are verified "
                               "only with ssl_verify_mode=2");
    }
    return true;
}

bool memcached_options_check(struct options *options) {
    return check_sasl(options) && check_tls(options);
}

static void configure_security(const struct memcached_options *options, struct config_pool *pool) {
    static const enum proto_allowed protocols[] = {PROTO_ALLOWED_ALL, PROTO_ALLOWED_TEXT,
                                                   PROTO_ALLOWED_BINARY};
    pool->insecure = options->insecure;
    pool->admin_commands = PROTO_ADMIN_ALL; /* memcached allows these commands to all clients */
    pool->protocols = protocols[options->protocol];
    memcpy(pool->auth_file, options->auth_file, sizeof pool->auth_file);
    pool->auth_file_is_readable = true;
    if (!options->tls) {
        return;
    }
    const char *key = options->tls_key[0] != '\0' ? options->tls_key : options->tls_cert;
    memcpy(pool->tls_cert, options->tls_cert, sizeof pool->tls_cert);
    snprintf(pool->tls_key, sizeof pool->tls_key, "%s", key);
    if (options->tls_verify >= 2) {
        memcpy(pool->tls_ca, options->tls_ca, sizeof pool->tls_ca);
    }
}

/* The memory of -m. If it has no room for several items of the largest size, the least that has. */
static uint64_t configure_memory(struct options *options) {
    const struct memcached_options *memcached = &options->memcached;
    uint64_t least_bytes = pool_least_memory_bytes(memcached->item_max_bytes);
    if (memcached->memory_bytes >= least_bytes) {
        return memcached->memory_bytes;
    }
    option_notice(options,
                  "the pool has %.4gM instead of the %lluM of -m, to have room for items "
                  "of %.4gM (-I)",
                  (double)least_bytes / (1 << 20),
                  (unsigned long long)(memcached->memory_bytes >> 20),
                  (double)memcached->item_max_bytes / (1 << 20));
    return least_bytes;
}

void memcached_options_configure(struct options *all, struct config *config,
                                 struct faults *faults) {
    const struct memcached_options *options = &all->memcached;
    config->has_admin = false;
    config->max_connections = options->max_connections;
    config->threads = options->threads > 0 ? options->threads : config->threads;
    config->backlog = options->backlog > 0 ? options->backlog : config->backlog;
    struct config_pool *pool = config_add_pool(config, "cache");
    config->connection_idle_s = options->idle_timeout_s;
    if (options->read_buffers_m > 0 || options->replies_m > 0) { /* stayd has one limit for both */
        config->connection_memory_bytes = ((uint64_t)options->read_buffers_m + options->replies_m)
                                          << 20;
    }
    if (options->requests_per_turn > 0) {
        config->requests_per_turn = options->requests_per_turn;
    }
    config->shutdown_enabled = options->enable_shutdown;
    config->flush_disabled = options->disable_flush;
    config->dump_disabled = options->disable_dump;
    config->watch_disabled = options->disable_watch;
    if (options->prefix_delimiter != 0) {
        config->prefix_delimiter = options->prefix_delimiter;
        config->detail_enabled = true; /* memcached's -D turns it on too */
    }
    configure_security(options, pool);
    pool->socket_mode = options->socket_mode; /* `stats settings` shows it also without a socket */
    pool->sizes_tracked = options->track_sizes;
    pool->crawler_stopped = options->no_crawler;
    pool->options.item_max_bytes = options->item_max_bytes;
    pool->options.memory_bytes = configure_memory(all);
    pool->options.evict = !options->no_eviction;
    if (options->socket_path[0] == '\0' && options->port == 0 && !options->any_port &&
        options->listen_count == 0) {
        faults_add(faults, 0, "-p 0 leaves no address to listen on; add -s PATH");
        return;
    }
    const char *port_file = getenv("MEMCACHED_PORT_FILENAME");
    if (port_file != NULL && *port_file != '\0' &&
        !option_path("MEMCACHED_PORT_FILENAME", port_file, all->process.port_file)) {
        faults_add(faults, 0, "MEMCACHED_PORT_FILENAME: not a path");
    }
    memcached_listen_configure(all, pool, faults);
    config_check(config, faults);
}
