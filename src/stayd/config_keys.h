/* The keys of a configuration file: for each key of [server] and [pool NAME], the function that
 * parses its value and puts it into the configuration. config_file.c reads the lines and the
 * section names, finds the key in these tables, and calls the function. Only config_file.c includes
 * this header. Main thread only. */
#ifndef STAYD_STAYD_CONFIG_KEYS_H
#define STAYD_STAYD_CONFIG_KEYS_H

#include "stayd/config.h"

#include <stdio.h>

enum section_kind { SECTION_NONE, SECTION_SERVER, SECTION_POOL, SECTION_UNKNOWN };

/* The text of a listen address. It is parsed at the end of the file, because it may be relative to
 * run_dir, and run_dir may be set further down in the file. */
struct listen_text {
    struct config_listen *listen;
    char *text; /* from config_keys_copy */
};

struct config_parser {
    struct config *config;
    struct faults *faults;
    FILE *stream;
    unsigned line; /* the number of the line that is being parsed */

    /* The section that is being parsed. */
    enum section_kind section;
    struct config_pool *pool;
    struct config_pool discarded_pool; /* takes the keys of a [pool] section that is in error */
    bool evict_is_given;
    bool has_unix_listen;
    size_t faults_before;                /* the number of faults when the section began */
    unsigned fsync_line;                 /* the line of a valid fsync; 0: there is none */
    unsigned socket_mode_line;           /* the line of a valid socket_mode; 0: there is none */
    unsigned key_lines[CONFIG_KEYS_MAX]; /* the line of each key so far; 0: there is none */

    /* The whole file. */
    unsigned server_line; /* the line of [server]; 0: there is none so far */
    struct listen_text listens[CONFIG_POOLS_MAX * CONFIG_LISTENS_MAX];
    unsigned listen_count;
    char *admin;                     /* the text of admin; NULL: it is not set */
    unsigned connection_memory_line; /* 0: connection_memory is not set */
};

struct config_key {
    const char *name;
    void (*set)(struct config_parser *parser, const char *key, const char *value);
};

/* Each table ends with a NULL name. */
extern const struct config_key config_server_keys[];
extern const struct config_key config_pool_keys[];

/* Adds a fault at the line that is being parsed. */
#define fault(...) faults_add(parser->faults, parser->line, __VA_ARGS__)

/* A copy of the text, to be freed by the caller. If memory is short: NULL, and a fault is added. */
char *config_keys_copy(struct config_parser *parser, const char *text, size_t length);

#endif
