#include "stayd/config_values.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static_assert(CONFIG_VALUE_BYTES >= PATH_MAX &&
                  CONFIG_VALUE_BYTES >= CONFIG_LISTENS_MAX * (ADDRESS_TEXT_MAX + 2),
              "each value has room");

__attribute__((format(printf, 3, 4))) static void add(struct config_values *values, const char *key,
                                                      const char *format, ...) {
    assert(values->count < CONFIG_KEYS_MAX);
    struct config_value *value = &values->items[values->count++];
    value->key = key;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(value->text, sizeof value->text, format, arguments);
    va_end(arguments);
}

static void add_yes_no(struct config_values *values, const char *key, bool yes) {
    add(values, key, "%s", yes ? "yes" : "no");
}

/* Formats a size in the largest unit that keeps the number whole. */
static void add_size(struct config_values *values, const char *key, uint64_t size_bytes) {
    static const char units[] = {'G', 'M', 'K'};
    for (unsigned i = 0; i < sizeof units; i++) {
        unsigned shift = 30 - i * 10;
        if (size_bytes >> shift > 0 && size_bytes % (UINT64_C(1) << shift) == 0) {
            add(values, key, "%" PRIu64 "%c", size_bytes >> shift, units[i]);
            return;
        }
    }
    add(values, key, "%" PRIu64, size_bytes);
}

/* 0 means that the limit is not set. */
static void add_duration(struct config_values *values, const char *key, uint32_t duration_s) {
    static const struct {
        uint32_t length_s;
        char name;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    if (duration_s == 0) {
        add(values, key, "none");
        return;
    }
    unsigned i = 0;
    while (duration_s % units[i].length_s != 0) {
        i++;
    }
    add(values, key, "%" PRIu32 "%c", duration_s / units[i].length_s, units[i].name);
}

static void add_path(struct config_values *values, const char *key, const char *path) {
    add(values, key, "%s", *path != '\0' ? path : "none");
}

void config_values_of_server(const struct config *config, struct config_values *values) {
    values->count = 0;
    add(values, "threads", "%u", config->threads);
    add_path(values, "data_dir", config->data_dir);
    add_path(values, "run_dir", config->run_dir);
    add(values, "admin", "%s", config->has_admin ? config->admin.address.text : "no");
    add_path(values, "admin_hosts", config->admin_hosts);
    add_path(values, "admin_auth_file", config->admin_auth_file);
    add_path(values, "admin_tls_cert", config->admin_tls_cert);
    add_path(values, "admin_tls_key", config->admin_tls_key);
    add_yes_no(values, "insecure", config->admin_insecure);
    add(values, "max_connections", "%u", config->max_connections);
    add_duration(values, "send_timeout", config->send_timeout_s);
    add_duration(values, "connection_idle_timeout", config->connection_idle_s);
    add_size(values, "connection_memory", config->connection_memory_bytes);
    add(values, "requests_per_turn", "%u", config->requests_per_turn);
    add(values, "backlog", "%u", config->backlog);
    add(values, "io", "%s", transfers_names[config->io]);
}

static void add_listens(struct config_values *values, const struct config_pool *pool) {
    char text[CONFIG_VALUE_BYTES] = "";
    size_t used = 0;
    for (unsigned i = 0; i < pool->listen_count; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? ", " : "",
                                 pool->listens[i].address.text);
    }
    add(values, "listen", "%s", text);
}

/* The settings of a clustered pool, with "none" or the defaults if the pool is a plain one. */
static void add_cluster(struct config_values *values, const struct config_pool *pool) {
    add(values, "cluster", "%s", pool->cluster[0] != '\0' ? pool->cluster : "none");
    add(values, "cluster_prefix", "%s", pool->cluster_prefix);
    add(values, "cluster_partitions", "%u", (unsigned)pool->options.partitions);
    add(values, "cluster_replicas", "%u", pool->cluster_replicas);
    add_path(values, "cluster_credentials", pool->cluster_credentials);
    add_path(values, "cluster_tls_ca", pool->cluster_tls_ca);
    add_path(values, "cluster_tls_cert", pool->cluster_tls_cert);
    add_path(values, "cluster_tls_key", pool->cluster_tls_key);
    add_duration(values, "cluster_max_lag", pool->cluster_max_lag_s);
    add_yes_no(values, "serve_while_catching_up", pool->serve_while_catching_up);
}

void config_values_of_pool(const struct config_pool *pool, struct config_values *values) {
    static const char *const fsync[] = {"no", "everysec", "always"};
    static const char *const admin[] = {
        [PROTO_ADMIN_ALL] = "yes", [PROTO_ADMIN_LOCAL] = "local", [PROTO_ADMIN_NONE] = "no"};
    const struct pool_options *options = &pool->options;
    values->count = 0;
    add_listens(values, pool);
    add_size(values, "memory", options->memory_bytes);
    add_size(values, "item_max", options->item_max_bytes);
    add_yes_no(values, "evict", options->evict);
    add_yes_no(values, "persist", options->persist);
    add(values, "fsync", "%s", fsync[options->fsync]);
    add_yes_no(values, "insecure", pool->insecure);
    add(values, "max_connections", "%u", pool->max_connections);
    add_duration(values, "idle_timeout", options->idle_timeout_s);
    add_duration(values, "max_lifetime", options->max_lifetime_s);
    add(values, "socket_mode", "%04o", pool->socket_mode);
    add_path(values, "auth_file", pool->auth_file);
    add(values, "admin_commands", "%s", admin[pool->admin_commands]);
    add(values, "readers", "%s",
        pool->readers_text[0] != '\0' ? pool->readers_text : "stayd's own user");
    add_path(values, "tls_cert", pool->tls_cert);
    add_path(values, "tls_key", pool->tls_key);
    add_path(values, "tls_ca", pool->tls_ca);
    add_cluster(values, pool);
}
