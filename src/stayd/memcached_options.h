/* memcached's command-line options, and the configuration that they stand for. Main thread only. */
#ifndef STAYD_STAYD_MEMCACHED_OPTIONS_H
#define STAYD_STAYD_MEMCACHED_OPTIONS_H

#include "stayd/config.h"
#include "stayd/option_table.h"

#include <stdbool.h>

/* Pointers to text point into the arguments. */
struct memcached_options {
    bool given;     /* at least one option was given, so these options are the configuration */
    char first[64]; /* the first option, as the user wrote it */
    unsigned port;  /* 0: no TCP, unless any_port is set */
    bool any_port;  /* the system chooses a free port for each address without one */
    const char *listens[CONFIG_LISTENS_MAX]; /* each entry is a list, separated by commas */
    unsigned listen_count;
    char socket_path[PATH_MAX]; /* absolute; empty: none */
    unsigned socket_mode;
    uint64_t memory_bytes;
    uint32_t item_max_bytes;
    bool no_eviction;
    unsigned max_connections;
    unsigned threads; /* 0: not given */
    unsigned backlog; /* 0: not given */
    bool insecure;
    unsigned requests_per_turn; /* 0: not given */
    unsigned idle_timeout_s;    /* of connections; 0: none */
    unsigned read_buffers_m;    /* megabytes, like replies_m; 0: not given */
    unsigned replies_m;
    enum memcached_protocol { MEMCACHED_AUTO, MEMCACHED_TEXT, MEMCACHED_BINARY } protocol;
    bool enable_shutdown;
    bool disable_flush;
    bool disable_dump;
    bool disable_watch;
    bool track_sizes;
    bool no_crawler;
    char prefix_delimiter; /* 0: not given */
    bool sasl;
    char auth_file[PATH_MAX]; /* this path and those below are absolute; empty: none */
    bool tls;
    char tls_cert[PATH_MAX];
    char tls_key[PATH_MAX];
    char tls_ca[PATH_MAX];
    unsigned tls_verify; /* memcached's ssl_verify_mode */
};

/* All of memcached's options, except those of the process (options.c). The last row has the letter
 * 0. */
extern const struct option_row memcached_option_rows[];

/* Sets memcached's defaults. */
void memcached_options_init(struct memcached_options *options);

/* Checks the options that depend on each other. False: an error has been printed. */
bool memcached_options_check(struct options *options);

/* Fills in the configuration that the options stand for, and adds its errors to `faults`. */
void memcached_options_configure(struct options *options, struct config *config,
                                 struct faults *faults);

#endif
