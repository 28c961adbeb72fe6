/* stats settings: the configuration, under memcached's names where memcached has the same setting.
 */
#include "proto/event.h"
#include "proto/prefixes.h"
#include "proto/stats_groups.h"
#include "proto/watch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SETTINGS_ADDRESS_MAX = 200 };

/* The addresses of this pool: its first TCP listener and its first Unix socket. */
struct settings_listeners {
    unsigned port;
    char host[SETTINGS_ADDRESS_MAX];
    char path[SETTINGS_ADDRESS_MAX];
};

static void settings_copy(char to[SETTINGS_ADDRESS_MAX], const char *from, size_t size) {
    size = size < SETTINGS_ADDRESS_MAX - 1 ? size : SETTINGS_ADDRESS_MAX - 1;
    memcpy(to, from, size);
    to[size] = 0;
}

/* The address is tcp:127.0.0.1:11211, tcp6:[::1]:11211 or unix:/run/stayd/cache.sock. */
static void settings_note_listener(void *context, const struct proto_peer *peer) {
    struct settings_listeners *found = context;
    const char *address = strchr(peer->address, ':');
    if (address == NULL) {
        return;
    }
    address++;
    if (strncmp(peer->address, "unix:", 5) == 0) {
        if (found->path[0] == 0) {
            settings_copy(found->path, address, strlen(address));
        }
        return;
    }
    const char *colon = strrchr(address, ':');
    if (colon != NULL && found->host[0] == 0) {
        settings_copy(found->host, address, (size_t)(colon - address));
        found->port = (unsigned)strtoul(colon + 1, NULL, 10);
    }
}

static void settings_put_listeners(struct stats_listing *listing) {
    const struct proto_service *service = listing->connection->service;
    const struct proto_network *net = &service->server->network;
    struct settings_listeners found = {0};
    if (net->visit_listeners != NULL) {
        net->visit_listeners(net->network, service, settings_note_listener, &found);
    }
    stats_put_u64(listing->sink, "tcpport", found.port);
    stats_put_u64(listing->sink, "udpport", 0);
    stats_put(listing->sink, "inter", "%s", found.host[0] != 0 ? found.host : "NULL");
    stats_put(listing->sink, "domain_socket", "%s", found.path[0] != 0 ? found.path : "NULL");
}

static void settings_put_server(struct stats_sink *sink, const struct proto_service *service) {
    static const char *const protocols[] = {[PROTO_ALLOWED_ALL] = "auto-negotiate",
                                            [PROTO_ALLOWED_TEXT] = "ascii",
                                            [PROTO_ALLOWED_BINARY] = "binary"};
    const struct proto_server *server = service->server;
    stats_put_u64(sink, "verbosity", atomic_load(&server->verbosity));
    stats_put_bool(sink, "shutdown_command", server->rights.shutdown_enabled);
    stats_put_u64(sink, "num_threads", server->threads);
    stats_put(sink, "stat_key_prefix", "%c",
              server->prefix_delimiter != 0 ? server->prefix_delimiter : PREFIX_DELIMITER);
    stats_put_bool(sink, "detail_enabled", (atomic_load(&service->observed) & EVENT_PREFIXES) != 0);
    stats_put_u64(sink, "reqs_per_event", server->limits.requests_per_turn);
    stats_put(sink, "binding_protocol", "%s", protocols[service->protocols]);
    stats_put_bool(sink, "auth_enabled_ascii", service->login_required);
    stats_put_bool(sink, "auth_enabled_sasl", service->login_required);
    stats_put_bool(sink, "ssl_enabled", server->tls.is_enabled);
    if (server->tls.is_enabled) {
        stats_put(sink, "ssl_min_version", "tlsv1.2");
    }
    stats_put_u64(sink, "idle_timeout", server->limits.connection_idle_s);
    stats_put_bool(sink, "flush_enabled", !server->rights.flush_disabled);
    stats_put_bool(sink, "dump_enabled", !server->rights.dump_disabled);
    stats_put_bool(sink, "lru_crawler", !atomic_load(&service->crawler_stopped));
    stats_put_u64(sink, "lru_crawler_sleep", atomic_load(&service->crawler_sleep_us));
    stats_put_u64(sink, "lru_crawler_tocrawl", atomic_load(&service->crawler_limit));
    stats_put_bool(sink, "lru_maintainer_thread", false);
    stats_put_bool(sink, "lru_segmented", false);
    stats_put_u64(sink, "hot_lru_pct", 0);
    stats_put_u64(sink, "warm_lru_pct", 0);
    stats_put(sink, "hot_max_factor", "0.00");
    stats_put(sink, "warm_max_factor", "0.00");
    stats_put_bool(sink, "temp_lru", false);
    stats_put_bool(sink, "track_sizes", atomic_load(&service->sizes_tracked));
    stats_put_u64(sink, "watcher_logbuf_size", WATCH_QUEUE_BYTES);
    stats_put_u64(sink, "read_buf_mem_limit", server->limits.memory.bytes.limit);
    stats_put_u64(sink, "tcp_backlog", server->limits.backlog);
    stats_put(sink, "umask", "%o", service->socket_mode); /* memcached's name for -a */
    stats_put_u64(sink, "client_flags_size", sizeof(((struct item *)NULL)->client_flags));
}

void stats_put_settings(struct stats_listing *listing) {
    static const char *const fsyncs[] = {
        [POOL_FSYNC_NO] = "no", [POOL_FSYNC_EVERYSEC] = "everysec", [POOL_FSYNC_ALWAYS] = "always"};
    static const char *const admin[] = {
        [PROTO_ADMIN_ALL] = "yes", [PROTO_ADMIN_LOCAL] = "local", [PROTO_ADMIN_NONE] = "no"};
    struct stats_sink *sink = listing->sink;
    const struct proto_service *service = listing->connection->service;
    const struct pool_options *options = pool_get_options(listing->connection->pool);
    stats_put_u64(sink, "maxbytes", pool_get_memory_limit(listing->connection->pool));
    stats_put_u64(sink, "maxconns", service->server->limits.connections.limit);
    settings_put_listeners(listing);
    stats_put(sink, "evictions", "%s", options->evict ? "on" : "off");
    stats_put_bool(sink, "cas_enabled", true);
    stats_put_bool(sink, "maxconns_fast", true);
    stats_put_u64(sink, "item_size_max", options->item_max_bytes);
    stats_put(sink, "hash_algorithm", "xxh3");
    stats_put(sink, "memory_file", "%.200s", options->persist ? options->data_dir : "(null)");
    settings_put_server(sink, service);
    /* ours */
    stats_put(sink, "admin_commands", "%s", admin[service->admin_commands]);
    stats_put(sink, "pool", "%s", options->name);
    stats_put_bool(sink, "persist", options->persist);
    stats_put(sink, "fsync", "%s", options->persist ? fsyncs[options->fsync] : "no");
    const char *io = service->server->network.io;
    stats_put(sink, "io", "%s", io != NULL ? io : "none");
}

/* stayd has no external storage. memcached without external storage lists nothing either. */
void stats_put_extstore(struct stats_listing *listing) {
    (void)listing;
}
