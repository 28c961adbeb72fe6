#include "stayd/config_file.h"

#include "stayd/config_keys.h"

#include <ini.h>

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 4096 };

static void config_file_begin_pool(struct config_parser *parser, const char *name) {
    parser->section = SECTION_POOL;
    parser->discarded_pool = (struct config_pool){0};
    parser->pool = &parser->discarded_pool;
    const struct config_pool *earlier = config_find_pool(parser->config, name);
    if (!config_pool_name_is_valid(name)) {
        fault("[pool %s]: a pool's name is 1 to %d letters, digits, '-' and '_'", name,
              POOL_NAME_MAX);
    } else if (earlier != NULL) {
        fault("duplicate section [pool %s]: also on line %u; join the two, or choose another name",
              name, earlier->line);
    } else {
        parser->pool = config_add_pool(parser->config, name);
        if (parser->pool == NULL) {
            fault("[pool %s]: there can be at most %d pools", name, CONFIG_POOLS_MAX);
            parser->pool = &parser->discarded_pool;
        } else {
            parser->pool->line = parser->line;
        }
    }
}

/* At the end of a section: adds a fault for each key that has no effect with the section's other
 * keys. */
static void config_file_end_section(struct config_parser *parser) {
    if (parser->section != SECTION_POOL || parser->faults->count > parser->faults_before) {
        return; /* the correction of an invalid value may give the key an effect */
    }
    if (parser->fsync_line > 0 && !parser->pool->options.persist) {
        faults_add(
            parser->faults, parser->fsync_line,
            "fsync has no effect in a pool without a file; add persist = yes, or remove fsync");
    }
    if (parser->socket_mode_line > 0 && !parser->has_unix_listen) {
        faults_add(
            parser->faults, parser->socket_mode_line,
            "socket_mode has no effect in a pool without a Unix socket; add a socket to listen, "
            "such as unix:NAME.sock, or remove socket_mode");
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
            fault("duplicate section [server]: also on line %u; join the two", parser->server_line);
        }
        parser->section = SECTION_SERVER;
        parser->server_line = parser->line;
    } else if (word == 4 && strncmp(name, "pool", word) == 0) {
        config_file_begin_pool(parser, name + word + strspn(name + word, " \t"));
    } else {
        fault("unknown section [%s]; use [server] or [pool NAME]", name);
        parser->section = SECTION_UNKNOWN;
    }
}

/* Parses a section name; libinih does not report a section without keys, nor the line of a section.
 * True if the line is a section name. */
static bool config_file_is_section(struct config_parser *parser, const char *text) {
    text += strspn(text, " \t\r\n");
    if (*text != '[') {
        return false;
    }
    const char *end = strchr(text, ']');
    if (end == NULL) {
        fault("missing ] at the end of the section's name");
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
    char *name = config_keys_copy(parser, text, (size_t)(end - text));
    if (name == NULL) {
        return true;
    }
    config_file_begin_section(parser, name);
    if (*rest != '\0' && *rest != ';' && *rest != '#') {
        fault("[%s]: there is text after the section's name; write it on a line of its own", name);
    }
    free(name);
    return true;
}

/* Reads the next line for libinih, into `room` bytes at `text`. A section name is replaced by an
 * empty line. */
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
        fault("this line is longer than %d bytes, or contains a zero byte", LINE_MAX_BYTES - 2);
        strcpy(text, "\n");
    }
    if (config_file_is_section(parser, text)) {
        strcpy(text, "\n");
    }
    return text;
}

/* Lists the valid keys, for a message. */
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
        fault("%s is outside any section; write [server] or [pool NAME] above it", name);
        return 1;
    }
    const struct config_key *keys =
        parser->section == SECTION_SERVER ? config_server_keys : config_pool_keys;
    unsigned index = 0;
    while (keys[index].name != NULL && strcmp(keys[index].name, name) != 0) {
        index++;
    }
    if (keys[index].name == NULL) {
        char list[512];
        config_file_list_keys(keys, list, sizeof list);
        fault("unknown key '%s' in %s; valid keys: %s", name,
              parser->section == SECTION_SERVER ? "[server]" : "[pool NAME]", list);
    } else if (parser->key_lines[index] > 0) {
        fault("duplicate key %s: also on line %u; keep one of them", name,
              parser->key_lines[index]);
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

/* Parses the addresses, after the whole file has been read and run_dir is known. */
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

/* A value of item_max bytes must fit into connection_memory, or it could not be received. */
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

/* Skips the byte order mark EF BB BF, with which some editors begin a file. Nothing else in a
 * configuration begins with EF. */
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
    ini_allow_multiline = false; /* an indented line does not continue the line before */
    ini_allow_no_value = true; /* so that config_file_take_value can report a key without a value */
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
        faults_add(faults, (unsigned)result, "syntax error: expected [section] or key = value");
    }
    fclose(stream);
    config_file_end_section(parser);
    config_file_take_addresses(parser);
    config_file_check_connection_memory(parser);
    if (config->pool_count == 0 && faults->count == 0) {
        faults_add(faults, 0, "no pool is configured; add a section such as [pool cache]");
    }
    config_check(config, faults);
    free(parser);
}
