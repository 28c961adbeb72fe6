/* The command line: stayd's own options, or those of memcached, with which stayd is one volatile
 * pool named "cache" in the place of a memcached. Every option is a row of a table: here those that
 * go with any configuration, in stayd/memcached_options.c those that take the place of one, and in
 * stayd/extended_options.c what stands behind memcached's -o. Main thread only. */
#ifndef STAYD_STAYD_OPTIONS_H
#define STAYD_STAYD_OPTIONS_H

#include "stayd/config.h"
#include "stayd/process.h"

#include <stdbool.h>

enum {
    EXIT_STARTUP = 1, /* what is configured cannot be had: a port in use, a full disk */
    EXIT_USAGE = 2    /* what is configured is wrong */
};

enum { OPTIONS_NOTICES_MAX = 64, OPTIONS_NOTICE_BYTES = 192 };

/* Texts are as they stand in the arguments. */
struct memcached_options {
    bool given;                              /* any of them was, and so this is the configuration */
    char first[64];                          /* as it was spelled */
    unsigned port;                           /* 0: no TCP */
    const char *listens[CONFIG_LISTENS_MAX]; /* each a list with commas */
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
    unsigned read_buffers_m;    /* megabytes; this and the next: 0: not given */
    unsigned replies_m;
    enum memcached_protocol { MEMCACHED_AUTO, MEMCACHED_TEXT, MEMCACHED_BINARY } protocol;
    bool enable_shutdown;
    bool disable_flush;
    bool disable_dump;
    bool disable_watch;
    char prefix_delimiter; /* 0: not given */
    bool sasl;
    char auth_file[PATH_MAX]; /* this and the paths below: absolute; empty: none */
    bool tls;
    char tls_cert[PATH_MAX];
    char tls_key[PATH_MAX];
    char tls_ca[PATH_MAX];
    unsigned tls_verify; /* memcached's ssl_verify_mode */
};

struct options {
    const char *config_path; /* NULL: the built-in pools, or memcached's options */
    bool check;
    struct process_options process;
    bool process_is_given; /* any but -v */
    struct memcached_options memcached;

    /* What was accepted and changes nothing, each with its reason: for the log. */
    char notices[OPTIONS_NOTICES_MAX][OPTIONS_NOTICE_BYTES];
    unsigned notice_count;
};

enum options_result {
    OPTIONS_RUN,  /* do what they say */
    OPTIONS_DONE, /* all is said: exit 0 */
    OPTIONS_WRONG /* what is wrong has been printed: exit 2 */
};

enum options_result options_parse(struct options *options, int argument_count, char **arguments);

/* Makes the configuration that the options ask for, and finds what is wrong with it. */
void options_configure(const struct options *options, struct config *config, struct faults *faults);

/* Where the configuration comes from, for messages. */
const char *options_source(const struct options *options);

#endif
