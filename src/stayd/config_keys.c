#include "stayd/config_keys.h"

#include "base/number.h"
#include "cluster/cluster.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEND_TIMEOUT_MAX_S = 86400, /* also the maximum of connection_idle_timeout */
    POOL_LIMIT_MAX_S = 3650 * 86400
};

char *config_keys_copy(struct config_parser *parser, const char *text, size_t length) {
    char *copy = strndup(text, length);
    if (copy == NULL) {
        fault("cannot read the configuration: no memory");
    }
    return copy;
}

static bool parse_whole(struct config_parser *parser, const char *key, const char *value,
                        unsigned most, unsigned *number) {
    uint64_t wide;
    if (!number_parse_u64(bytes_from_string(value), &wide) || wide < 1 || wide > most) {
        fault("%s = %s: must be a whole number from 1 to %u", key, value, most);
        return false;
    }
    *number = (unsigned)wide;
    return true;
}

static bool parse_size(struct config_parser *parser, const char *key, const char *value,
                       uint64_t *size_bytes) {
    uint64_t number;
    if (!number_parse_size(bytes_from_string(value), &number) || number == 0) {
        fault("%s = %s: not a size; write a whole number of bytes, or with K, M or G, such as 64M",
              key, value);
        return false;
    }
    *size_bytes = number;
    return true;
}

static void parse_yes_no(struct config_parser *parser, const char *key, const char *value,
                         bool *flag) {
    if (strcmp(value, "yes") == 0) {
        *flag = true;
    } else if (strcmp(value, "no") == 0) {
        *flag = false;
    } else {
        fault("%s = %s: write yes or no", key, value);
    }
}

static void parse_path(struct config_parser *parser, const char *key, const char *value,
                       char path[PATH_MAX]) {
    if (*value != '/') {
        fault("%s = %s: must be an absolute path, beginning with /", key, value);
    } else if (snprintf(path, PATH_MAX, "%s", value) >= PATH_MAX) {
        fault("%s: the path is too long", key);
    }
}

static void set_threads(struct config_parser *parser, const char *key, const char *value) {
    parse_whole(parser, key, value, CONFIG_THREADS_MAX, &parser->config->threads);
}

static void set_max_connections(struct config_parser *parser, const char *key, const char *value) {
    parse_whole(parser, key, value, CONFIG_CONNECTIONS_MAX, &parser->config->max_connections);
}

/* Parses a time limit, from one second to `most_s`, a whole number of days. */
static void parse_limit(struct config_parser *parser, const char *key, const char *value,
                        uint32_t most_s, uint32_t *limit_s) {
    uint64_t duration_s;
    bool has_unit = !isdigit((unsigned char)value[strlen(value) - 1]); /* 30 could mean ms or s */
    if (!has_unit || !number_parse_duration(bytes_from_string(value), &duration_s) ||
        duration_s < 1 || duration_s > most_s) {
        fault("%s = %s: must be a time from 1s to %ud; write a whole number with s, m, h or d, "
              "such as 30s",
              key, value, most_s / 86400);
        return;
    }
    *limit_s = (uint32_t)duration_s;
}

static void set_send_timeout(struct config_parser *parser, const char *key, const char *value) {
    parse_limit(parser, key, value, SEND_TIMEOUT_MAX_S, &parser->config->send_timeout_s);
}

static void set_connection_idle_timeout(struct config_parser *parser, const char *key,
                                        const char *value) {
    parse_limit(parser, key, value, SEND_TIMEOUT_MAX_S, &parser->config->connection_idle_s);
}

static void set_connection_memory(struct config_parser *parser, const char *key,
                                  const char *value) {
    if (parse_size(parser, key, value, &parser->config->connection_memory_bytes)) {
        parser->connection_memory_line = parser->line;
    }
}

static void set_requests_per_turn(struct config_parser *parser, const char *key,
                                  const char *value) {
    parse_whole(parser, key, value, CONFIG_REQUESTS_PER_TURN_MAX,
                &parser->config->requests_per_turn);
}

static void set_io(struct config_parser *parser, const char *key, const char *value) {
    for (unsigned i = 0; i < TRANSFERS_KINDS; i++) {
        if (strcmp(value, transfers_names[i]) == 0) {
            parser->config->io = (enum transfers_kind)i;
            return;
        }
    }
    fault("%s = %s: write auto, epoll or uring", key, value);
}

static void set_backlog(struct config_parser *parser, const char *key, const char *value) {
    parse_whole(parser, key, value, CONFIG_BACKLOG_MAX, &parser->config->backlog);
}

static void set_data_dir(struct config_parser *parser, const char *key, const char *value) {
    parse_path(parser, key, value, parser->config->data_dir);
}

static void set_run_dir(struct config_parser *parser, const char *key, const char *value) {
    parse_path(parser, key, value, parser->config->run_dir);
}

static void set_admin(struct config_parser *parser, const char *key, const char *value) {
    (void)key;
    parser->config->admin.line = parser->line;
    parser->config->has_admin = strcmp(value, "no") != 0;
    free(
        parser->admin); /* a duplicate [server] section is a fault, but its keys are still parsed */
    parser->admin = config_keys_copy(parser, value, strlen(value));
}

/* A host name has letters, digits, '-', '.' and '_'. */
static void set_admin_hosts(struct config_parser *parser, const char *key, const char *value) {
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    for (const char *at = value;; at++) {
        at += strspn(at, " \t");
        size_t length = strspn(at, name);
        at += length;
        at += strspn(at, " \t");
        if (length == 0 || (*at != ',' && *at != '\0')) {
            fault("%s = %s: must be host names separated by commas, without ports, such as "
                  "stayd.example.com",
                  key, value);
            return;
        }
        if (*at == '\0') {
            break;
        }
    }
    if (snprintf(parser->config->admin_hosts, CONFIG_HOSTS_MAX, "%s", value) >= CONFIG_HOSTS_MAX) {
        fault("%s: the list is longer than %d bytes", key, CONFIG_HOSTS_MAX - 1);
    }
}

static void set_admin_auth_file(struct config_parser *parser, const char *key, const char *value) {
    parser->config->admin_auth_line = parser->line;
    parse_path(parser, key, value, parser->config->admin_auth_file);
}

static void set_admin_tls_path(struct config_parser *parser, const char *key, const char *value) {
    struct config *config = parser->config;
    bool is_cert = strcmp(key, "admin_tls_cert") == 0;
    parse_path(parser, key, value, is_cert ? config->admin_tls_cert : config->admin_tls_key);
    if (config->admin_tls_line == 0) {
        config->admin_tls_line = parser->line;
    }
}

static void set_admin_insecure(struct config_parser *parser, const char *key, const char *value) {
    parse_yes_no(parser, key, value, &parser->config->admin_insecure);
}

static void set_listen(struct config_parser *parser, const char *key, const char *value) {
    struct config_pool *pool = parser->pool;
    bool more = true;
    while (more) {
        size_t length = strcspn(value, ",");
        more = value[length] == ',';
        const char *next = value + length + more;
        while (length > 0 && isspace((unsigned char)*value)) {
            value++;
            length--;
        }
        while (length > 0 && isspace((unsigned char)value[length - 1])) {
            length--;
        }
        if (length == 0) {
            fault("%s: empty item in the list; remove the extra comma", key);
        } else if (pool->listen_count == CONFIG_LISTENS_MAX) {
            fault("%s: a pool listens on at most %d addresses", key, CONFIG_LISTENS_MAX);
            return;
        } else if (pool != &parser->discarded_pool) {
            parser->has_unix_listen |= strncmp(value, "unix:", 5) == 0;
            char *text = config_keys_copy(parser, value, length);
            if (text == NULL) {
                return;
            }
            struct config_listen *listen = &pool->listens[pool->listen_count++];
            listen->line = parser->line;
            parser->listens[parser->listen_count++] = (struct listen_text){listen, text};
        }
        value = next;
    }
}

static void set_memory(struct config_parser *parser, const char *key, const char *value) {
    parse_size(parser, key, value, &parser->pool->options.memory_bytes);
}

static void set_item_max(struct config_parser *parser, const char *key, const char *value) {
    uint64_t size_bytes;
    if (!parse_size(parser, key, value, &size_bytes)) {
        return;
    }
    if (size_bytes > POOL_ITEM_MAX_LIMIT) {
        fault("%s = %s: at most %uM", key, value, POOL_ITEM_MAX_LIMIT >> 20);
        return;
    }
    parser->pool->options.item_max_bytes = (uint32_t)size_bytes;
}

static void set_evict(struct config_parser *parser, const char *key, const char *value) {
    parse_yes_no(parser, key, value, &parser->pool->options.evict);
    parser->evict_is_given = true;
}

static void set_persist(struct config_parser *parser, const char *key, const char *value) {
    parse_yes_no(parser, key, value, &parser->pool->options.persist);
    if (!parser->evict_is_given) { /* a persistent pool does not evict by default */
        parser->pool->options.evict = !parser->pool->options.persist;
    }
}

static void set_fsync(struct config_parser *parser, const char *key, const char *value) {
    static const struct {
        const char *name;
        enum pool_fsync fsync;
    } choices[] = {
        {"always", POOL_FSYNC_ALWAYS},
        {"everysec", POOL_FSYNC_EVERYSEC},
        {"no", POOL_FSYNC_NO},
    };
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        if (strcmp(value, choices[i].name) == 0) {
            parser->pool->options.fsync = choices[i].fsync;
            parser->fsync_line = parser->line;
            return;
        }
    }
    fault("%s = %s: write always, everysec or no", key, value);
}

static void set_admin_commands(struct config_parser *parser, const char *key, const char *value) {
    static const char *const choices[] = {
        [PROTO_ADMIN_ALL] = "yes", [PROTO_ADMIN_LOCAL] = "local", [PROTO_ADMIN_NONE] = "no"};
    for (unsigned i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        if (strcmp(value, choices[i]) == 0) {
            parser->pool->admin_commands = (enum proto_admin)i;
            return;
        }
    }
    fault("%s = %s: write yes, no or local", key, value);
}

static void set_readers(struct config_parser *parser, const char *key, const char *value) {
    struct config_pool *pool = parser->pool;
    char error[READERS_ERROR_MAX];
    if (snprintf(pool->readers_text, sizeof pool->readers_text, "%s", value) >=
        (int)sizeof pool->readers_text) {
        fault("%s: the list is longer than %d bytes", key, CONFIG_READERS_MAX - 1);
    } else if (!readers_parse(value, &pool->readers, error)) {
        fault("%s = %s: %s", key, value, error);
    }
}

static void set_pool_max_connections(struct config_parser *parser, const char *key,
                                     const char *value) {
    parser->pool->max_connections_line = parser->line;
    parse_whole(parser, key, value, CONFIG_CONNECTIONS_MAX, &parser->pool->max_connections);
}

static void set_insecure(struct config_parser *parser, const char *key, const char *value) {
    parse_yes_no(parser, key, value, &parser->pool->insecure);
}

static void set_idle_timeout(struct config_parser *parser, const char *key, const char *value) {
    parse_limit(parser, key, value, POOL_LIMIT_MAX_S, &parser->pool->options.idle_timeout_s);
}

static void set_max_lifetime(struct config_parser *parser, const char *key, const char *value) {
    parse_limit(parser, key, value, POOL_LIMIT_MAX_S, &parser->pool->options.max_lifetime_s);
}

static void set_socket_mode(struct config_parser *parser, const char *key, const char *value) {
    if (!config_parse_mode(value, &parser->pool->socket_mode)) {
        fault("%s = %s: must be access rights in octal, such as 0660", key, value);
    } else {
        parser->socket_mode_line = parser->line;
    }
}

static void set_auth_file(struct config_parser *parser, const char *key, const char *value) {
    parse_path(parser, key, value, parser->pool->auth_file);
}

static void parse_tls_path(struct config_parser *parser, const char *key, const char *value,
                           char path[PATH_MAX]) {
    parse_path(parser, key, value, path);
    if (parser->pool->tls_line == 0) {
        parser->pool->tls_line = parser->line;
    }
}

static void set_tls_cert(struct config_parser *parser, const char *key, const char *value) {
    parse_tls_path(parser, key, value, parser->pool->tls_cert);
}

static void set_tls_key(struct config_parser *parser, const char *key, const char *value) {
    parse_tls_path(parser, key, value, parser->pool->tls_key);
}

static void set_tls_ca(struct config_parser *parser, const char *key, const char *value) {
    parse_tls_path(parser, key, value, parser->pool->tls_ca);
}

static void note_cluster(struct config_parser *parser) {
    if (parser->pool->cluster_line == 0) {
        parser->pool->cluster_line = parser->line;
    }
}

static void set_cluster(struct config_parser *parser, const char *key, const char *value) {
    note_cluster(parser);
    for (const char *at = value; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        at += strspn(at, " \t");
        if (strncmp(at, "nats://", 7) != 0 && strncmp(at, "tls://", 6) != 0) {
            fault("%s = %s: must be addresses such as nats://host:4222, separated by commas", key,
                  value);
            return;
        }
    }
    if (parser->pool->options.partitions == 0) {
        parser->pool->options.partitions = CLUSTER_PARTITIONS;
    }
    if (snprintf(parser->pool->cluster, CONFIG_CLUSTER_MAX, "%s", value) >= CONFIG_CLUSTER_MAX) {
        fault("%s: the list is longer than %d bytes", key, CONFIG_CLUSTER_MAX - 1);
    }
}

static void set_cluster_prefix(struct config_parser *parser, const char *key, const char *value) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
    note_cluster(parser);
    size_t size = strlen(value);
    if (size == 0 || size >= CONFIG_PREFIX_MAX || value[strspn(value, allowed)] != '\0') {
        fault("%s = %s: must be 1 to %d letters, digits and -", key, value, CONFIG_PREFIX_MAX - 1);
        return;
    }
    memcpy(parser->pool->cluster_prefix, value, size + 1);
}

static void set_cluster_partitions(struct config_parser *parser, const char *key,
                                   const char *value) {
    note_cluster(parser);
    parse_whole(parser, key, value, POOL_PARTITIONS_MAX, &parser->pool->options.partitions);
}

static void set_cluster_replicas(struct config_parser *parser, const char *key, const char *value) {
    note_cluster(parser);
    parse_whole(parser, key, value, CONFIG_REPLICAS_MAX, &parser->pool->cluster_replicas);
}

static void set_cluster_credentials(struct config_parser *parser, const char *key,
                                    const char *value) {
    note_cluster(parser);
    parse_path(parser, key, value, parser->pool->cluster_credentials);
}

static void set_cluster_tls_ca(struct config_parser *parser, const char *key, const char *value) {
    note_cluster(parser);
    parse_path(parser, key, value, parser->pool->cluster_tls_ca);
}

static void set_cluster_tls_cert(struct config_parser *parser, const char *key, const char *value) {
    note_cluster(parser);
    parse_path(parser, key, value, parser->pool->cluster_tls_cert);
}

static void set_cluster_tls_key(struct config_parser *parser, const char *key, const char *value) {
    note_cluster(parser);
    parse_path(parser, key, value, parser->pool->cluster_tls_key);
}

static void set_cluster_max_lag(struct config_parser *parser, const char *key, const char *value) {
    note_cluster(parser);
    parse_limit(parser, key, value, SEND_TIMEOUT_MAX_S, &parser->pool->cluster_max_lag_s);
}

static void set_serve_while_catching_up(struct config_parser *parser, const char *key,
                                        const char *value) {
    note_cluster(parser);
    parse_yes_no(parser, key, value, &parser->pool->serve_while_catching_up);
}

const struct config_key config_server_keys[] = {
    {"threads", set_threads},
    {"data_dir", set_data_dir},
    {"run_dir", set_run_dir},
    {"admin", set_admin},
    {"admin_hosts", set_admin_hosts},
    {"admin_auth_file", set_admin_auth_file},
    {"admin_tls_cert", set_admin_tls_path},
    {"admin_tls_key", set_admin_tls_path},
    {"insecure", set_admin_insecure},
    {"max_connections", set_max_connections},
    {"send_timeout", set_send_timeout},
    {"connection_idle_timeout", set_connection_idle_timeout},
    {"connection_memory", set_connection_memory},
    {"requests_per_turn", set_requests_per_turn},
    {"backlog", set_backlog},
    {"io", set_io},
    {NULL, NULL},
};

const struct config_key config_pool_keys[] = {
    {"listen", set_listen},
    {"memory", set_memory},
    {"item_max", set_item_max},
    {"evict", set_evict},
    {"persist", set_persist},
    {"fsync", set_fsync},
    {"insecure", set_insecure},
    {"max_connections", set_pool_max_connections},
    {"idle_timeout", set_idle_timeout},
    {"max_lifetime", set_max_lifetime},
    {"socket_mode", set_socket_mode},
    {"auth_file", set_auth_file},
    {"admin_commands", set_admin_commands},
    {"readers", set_readers},
    {"tls_cert", set_tls_cert},
    {"tls_key", set_tls_key},
    {"tls_ca", set_tls_ca},
    {"cluster", set_cluster},
    {"cluster_prefix", set_cluster_prefix},
    {"cluster_partitions", set_cluster_partitions},
    {"cluster_replicas", set_cluster_replicas},
    {"cluster_credentials", set_cluster_credentials},
    {"cluster_tls_ca", set_cluster_tls_ca},
    {"cluster_tls_cert", set_cluster_tls_cert},
    {"cluster_tls_key", set_cluster_tls_key},
    {"cluster_max_lag", set_cluster_max_lag},
    {"serve_while_catching_up", set_serve_while_catching_up},
    {NULL, NULL},
};

static_assert(sizeof config_server_keys / sizeof config_server_keys[0] <= CONFIG_KEYS_MAX + 1,
              "CONFIG_KEYS_MAX");
static_assert(sizeof config_pool_keys / sizeof config_pool_keys[0] <= CONFIG_KEYS_MAX + 1,
              "CONFIG_KEYS_MAX");
