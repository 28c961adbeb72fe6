#include "stayd/config_file.h"

#include "base/number.h"

#include <ini.h>

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE_MAX_BYTES = 4096,
    KEYS_MAX = 16,              /* of one section */
    SEND_TIMEOUT_MAX_S = 86400, /* and CONNECTION_IDLE */
    POOL_LIMIT_MAX_S = 3650 * 86400
};

enum section_kind { SECTION_NONE, SECTION_SERVER, SECTION_POOL, SECTION_UNKNOWN };

/* A listen as it is written: what it is relative to may stand further down in the file. */
struct listen_text {
    struct config_listen *listen;
    char *text;
};

struct config_parser {
    struct config *config;
    struct faults *faults;
    FILE *stream;
    unsigned line;

    enum section_kind section;
    unsigned server_line;          /* of [server]; 0: not there so far */
    struct config_pool *pool;      /* of the section */
    struct config_pool spare_pool; /* for the keys of a section that is itself a fault */
    bool evict_is_given;           /* in this section */
    bool has_unix_listen;          /* the same */
    size_t faults_before;          /* the section began */
    unsigned fsync_line;           /* in this section; 0: not there, or a fault already */
    unsigned socket_mode_line;     /* the same */
    unsigned key_lines[KEYS_MAX];  /* of each key in this section; 0: not there so far */
    struct listen_text listens[CONFIG_POOLS_MAX * CONFIG_LISTENS_MAX];
    unsigned listen_count;
    char *admin;                     /* as it is written; NULL: not there */
    unsigned connection_memory_line; /* 0: not there */
};

/* A key, what takes its value, or, in a version that does not have it, what to say. */
struct config_key {
    const char *name;
    void (*set)(struct config_parser *parser, const char *key, const char *value);
};

#define fault(...) faults_add(parser->faults, parser->line, __VA_ARGS__)

static char *config_file_copy(const char *text, size_t length) {
    char *copy = strndup(text, length);
    if (copy == NULL) {
        fputs("stayd: no memory to read the configuration\n", stderr);
        exit(1);
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
        fault("%s = %s: must be an absolute path, from / on", key, value);
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

/* A time limit, from a second to a whole number of days. */
static void parse_limit(struct config_parser *parser, const char *key, const char *value,
                        uint32_t most_s, uint32_t *limit_s) {
    uint64_t duration_s;
    bool has_unit = !isdigit((unsigned char)value[strlen(value) - 1]); /* 30 could be ms or s */
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
    free(parser->admin); /* of an earlier [server], which is a fault, but is read to its end */
    parser->admin = config_file_copy(value, strlen(value));
}

/* Names are letters, digits, '-', '.' and '_'. */
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
        } else if (pool != &parser->spare_pool) {
            parser->has_unix_listen |= strncmp(value, "unix:", 5) == 0;
            struct config_listen *listen = &pool->listens[pool->listen_count++];
            listen->line = parser->line;
            parser->listens[parser->listen_count++] =
                (struct listen_text){listen, config_file_copy(value, length)};
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
    if (!parser->evict_is_given) { /* what is worth a file is worth keeping */
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

static const struct config_key server_keys[] = {
    {"threads", set_threads},
    {"data_dir", set_data_dir},
    {"run_dir", set_run_dir},
    {"admin", set_admin},
    {"admin_hosts", set_admin_hosts},
    {"insecure", set_admin_insecure},
    {"max_connections", set_max_connections},
    {"send_timeout", set_send_timeout},
    {"connection_idle_timeout", set_connection_idle_timeout},
    {"connection_memory", set_connection_memory},
    {"requests_per_turn", set_requests_per_turn},
    {"backlog", set_backlog},
    {NULL, NULL},
};

static const struct config_key pool_keys[] = {
    {"listen", set_listen},
    {"memory", set_memory},
    {"item_max", set_item_max},
    {"evict", set_evict},
    {"persist", set_persist},
    {"fsync", set_fsync},
    {"insecure", set_insecure},
    {"idle_timeout", set_idle_timeout},
    {"max_lifetime", set_max_lifetime},
    {"socket_mode", set_socket_mode},
    {"auth_file", set_auth_file},
    {"tls_cert", set_tls_cert},
    {"tls_key", set_tls_key},
    {"tls_ca", set_tls_ca},
    {NULL, NULL},
};

static_assert(sizeof server_keys / sizeof server_keys[0] <= KEYS_MAX + 1, "KEYS_MAX");
static_assert(sizeof pool_keys / sizeof pool_keys[0] <= KEYS_MAX + 1, "KEYS_MAX");

static void config_file_begin_pool(struct config_parser *parser, const char *name) {
    parser->section = SECTION_POOL;
    parser->spare_pool = (struct config_pool){0};
    parser->pool = &parser->spare_pool;
    const struct config_pool *twin = config_find_pool(parser->config, name);
    if (!config_pool_name_is_valid(name)) {
        fault("[pool %s]: a pool's name is 1 to %d letters, digits, '-' and '_'", name,
              POOL_NAME_MAX);
    } else if (twin != NULL) {
        fault("[pool %s] is there already, on line %u; join the two, or choose another name", name,
              twin->line);
    } else {
        parser->pool = config_add_pool(parser->config, name);
        if (parser->pool == NULL) {
            fault("[pool %s]: there can be at most %d pools", name, CONFIG_POOLS_MAX);
            parser->pool = &parser->spare_pool;
        } else {
            parser->pool->line = parser->line;
        }
    }
}

/* Finds keys of the section that has been read which do nothing beside the others. */
static void config_file_end_section(struct config_parser *parser) {
    if (parser->section != SECTION_POOL || parser->faults->count > parser->faults_before) {
        return; /* a value that is a fault already may be the one that the key needs */
    }
    if (parser->fsync_line > 0 && !parser->pool->options.persist) {
        faults_add(parser->faults, parser->fsync_line,
                   "fsync does nothing in a pool without a file; add persist = yes, or remove it");
    }
    if (parser->socket_mode_line > 0 && !parser->has_unix_listen) {
        faults_add(parser->faults, parser->socket_mode_line,
                   "socket_mode does nothing in a pool without a Unix socket; add one to listen, "
                   "such as unix:NAME.sock, or remove it");
    }
}

static void config_file_begin_section(struct config_parser *parser, const char *name) {
    config_file_end_section(parser);
    parser->faults_before = parser->faults->count;
    parser->has_unix_listen = false;
    parser->fsync_line = 0;
    parser->socket_mode_line = 0;
    memset(parser->key_lines, 0, sizeof parser->key_lines);
    parser->evict_is_given = false;
    size_t word = strcspn(name, " \t");
    if (strcmp(name, "server") == 0) {
        if (parser->server_line > 0) {
            fault("[server] is there already, on line %u; join the two", parser->server_line);
        }
        parser->section = SECTION_SERVER;
        parser->server_line = parser->line;
    } else if (word == 4 && strncmp(name, "pool", word) == 0) {
        config_file_begin_pool(parser, name + word + strspn(name + word, " \t"));
    } else {
        fault("[%s]: there is no such section; there are [server] and [pool NAME]", name);
        parser->section = SECTION_UNKNOWN;
    }
}

/* libinih does not tell of a section without keys, nor where it is. */
static bool config_file_is_section(struct config_parser *parser, const char *text) {
    text += strspn(text, " \t\r\n");
    if (*text != '[') {
        return false;
    }
    const char *end = strchr(text, ']');
    if (end == NULL) {
        fault("there is no ] at the end of the section's name");
        parser->section = SECTION_UNKNOWN;
        return true;
    }
    const char *rest = end + 1 + strspn(end + 1, " \t\r\n");
    text++;
    while (text < end && isspace((unsigned char)*text)) {
        text++;
    }
    while (end > text && isspace((unsigned char)end[-1])) {
        end--;
    }
    char *name = config_file_copy(text, (size_t)(end - text));
    config_file_begin_section(parser, name);
    if (*rest != '\0' && *rest != ';' && *rest != '#') {
        fault("[%s]: there is text after the section's name; write it on a line of its own", name);
    }
    free(name);
    return true;
}

/* The next line for libinih, which has room for `room` bytes of it; sections are taken out. */
static char *config_file_next_line(char *text, int room, void *stream) {
    struct config_parser *parser = stream;
    assert(room >= LINE_MAX_BYTES);
    size_t length = 0;
    bool valid = true;
    int next;
    while ((next = getc(parser->stream)) != EOF && next != '\n') {
        if (next == '\0' || length == LINE_MAX_BYTES - 2) {
            valid = false;
        } else {
            text[length++] = (char)next;
        }
    }
    if (next == EOF && length == 0 && valid) {
        return NULL;
    }
    strcpy(text + length, "\n");
    parser->line++;
    if (!valid) {
        fault("this line is longer than %d bytes, or holds a zero byte", LINE_MAX_BYTES - 2);
        strcpy(text, "\n");
    }
    if (config_file_is_section(parser, text)) {
        strcpy(text, "\n");
    }
    return text;
}

/* A list of the keys there are, for a message. */
static void config_file_list_keys(const struct config_key *keys, char *list, size_t size) {
    size_t used = 0;
    for (; keys->name != NULL && used < size; keys++) {
        used +=
            (size_t)snprintf(list + used, size - used, "%s%s", used > 0 ? ", " : "", keys->name);
    }
}

static int config_file_take_value(void *user, const char *ignored, const char *name,
                                  const char *value) {
    (void)ignored;
    struct config_parser *parser = user;
    if (parser->section == SECTION_UNKNOWN) {
        return 1;
    }
    if (parser->section == SECTION_NONE) {
        fault("%s stands in no section; write [server] or [pool NAME] above it", name);
        return 1;
    }
    const struct config_key *keys = parser->section == SECTION_SERVER ? server_keys : pool_keys;
    unsigned index = 0;
    while (keys[index].name != NULL && strcmp(keys[index].name, name) != 0) {
        index++;
    }
    if (keys[index].name == NULL) {
        char list[256];
        config_file_list_keys(keys, list, sizeof list);
        fault("there is no key '%s' in %s; there are %s", name,
              parser->section == SECTION_SERVER ? "[server]" : "[pool NAME]", list);
    } else if (parser->key_lines[index] > 0) {
        fault("%s is there already, on line %u; keep one of them", name, parser->key_lines[index]);
    } else {
        parser->key_lines[index] = parser->line;
        if (value == NULL || *value == '\0') {
            fault("%s has no value; write %s = VALUE", name, name);
        } else {
            keys[index].set(parser, name, value);
        }
    }
    return 1;
}

/* Takes the addresses, once run_dir is known. */
static void config_file_take_addresses(struct config_parser *parser) {
    struct config *config = parser->config;
    char error[ADDRESS_ERROR_MAX];
    for (unsigned i = 0; i < parser->listen_count; i++) {
        struct config_listen *listen = parser->listens[i].listen;
        const char *text = parser->listens[i].text;
        if (!address_parse(text, config->run_dir, &listen->address, error)) {
            faults_add(parser->faults, listen->line, "listen = %s: %s", text, error);
        }
        free(parser->listens[i].text);
    }
    if (config->has_admin && parser->admin != NULL &&
        !address_parse(parser->admin, config->run_dir, &config->admin.address, error)) {
        faults_add(parser->faults, config->admin.line, "admin = %s: %s", parser->admin, error);
    }
    free(parser->admin);
}

/* A value of item_max must fit into the memory of connections, or it could never be stored. */
static void config_file_check_connection_memory(const struct config_parser *parser) {
    const struct config *config = parser->config;
    if (parser->connection_memory_line == 0) {
        return;
    }
    for (unsigned i = 0; i < config->pool_count; i++) {
        const struct pool_options *options = &config->pools[i].options;
        if (config->connection_memory_bytes < options->item_max_bytes) {
            faults_add(parser->faults, parser->connection_memory_line,
                       "connection_memory is smaller than the item_max of pool %s, %u bytes: a "
                       "value of that size could not be received; raise connection_memory",
                       options->name, options->item_max_bytes);
        }
    }
}

/* Some editors begin a file with a byte order mark, EF BB BF; nothing else begins with EF. */
static void config_file_skip_mark(FILE *stream) {
    int first = getc(stream);
    if (first == 0xEF) {
        getc(stream);
        getc(stream);
    } else if (first != EOF) {
        ungetc(first, stream);
    }
}

void config_file_read(const char *path, struct config *config, struct faults *faults) {
    FILE *stream = fopen(path, "re");
    if (stream == NULL) {
        faults_add(faults, 0, "cannot read the configuration: %s", strerror(errno));
        return;
    }
    config_file_skip_mark(stream);
    ini_allow_multiline = false; /* an indented line is a line like others */
    ini_allow_no_value = true;   /* so that config_file_take_value can say what is missing */
    ini_use_stack = false;
    ini_initial_alloc = LINE_MAX_BYTES;
    ini_max_line = LINE_MAX_BYTES;

    struct config_parser *parser = calloc(1, sizeof *parser);
    if (parser == NULL) {
        fclose(stream);
        faults_add(faults, 0, "cannot read the configuration: no memory");
        return;
    }
    *parser = (struct config_parser){.config = config, .faults = faults, .stream = stream};
    int result = ini_parse_stream(config_file_next_line, parser, config_file_take_value, parser);
    if (result < 0 || ferror(stream)) {
        faults_add(faults, 0, "cannot read the configuration: %s", strerror(errno));
    } else if (result > 0) {
        faults_add(faults, (unsigned)result, "this line is no [section] and no key = value");
    }
    fclose(stream);
    config_file_end_section(parser);
    config_file_take_addresses(parser);
    config_file_check_connection_memory(parser);
    if (config->pool_count == 0 && faults->count == 0) {
        faults_add(faults, 0, "there is no pool; add a section such as [pool cache]");
    }
    config_check(config, faults);
    free(parser);
}
