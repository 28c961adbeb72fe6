/* The command line: stayd's own options, or those of memcached, with which stayd is one volatile
 * pool named "cache" in the place of a memcached. Main thread only. */
#ifndef STAYD_STAYD_OPTIONS_H
#define STAYD_STAYD_OPTIONS_H

#include "stayd/config.h"

#include <stdbool.h>

enum {
    EXIT_STARTUP = 1, /* what is configured cannot be had: a port in use, a full disk */
    EXIT_USAGE = 2    /* what is configured is wrong */
};

struct options {
    const char *config_path; /* NULL: the built-in pools, or memcached's options */
    bool check;
    bool verbose;
    const char *user; /* to become; NULL: stay */

    /* memcached's; texts as they stand in the arguments */
    bool memcached;               /* any of those below was given */
    const char *memcached_option; /* the first of them */
    unsigned port;                /* 0: no TCP */
    const char *listen;
    const char *socket_path;
    uint64_t memory_bytes;
    uint32_t item_max_bytes;
    unsigned max_connections;
    unsigned threads; /* 0: not given */
    bool insecure;
};

enum options_result {
    OPTIONS_RUN,  /* do what they say */
    OPTIONS_DONE, /* all is said: exit 0 */
    OPTIONS_WRONG /* what is wrong has been printed: exit 2 */
};

enum options_result options_parse(struct options *options, int argument_count, char **arguments);

/* Makes the configuration that the options ask for, and finds what is wrong with it. */
void options_configure(const struct options *options, struct config *config, struct faults *faults);

#endif
