/* The command line: stayd's own options, or those of memcached. With memcached's options stayd
 * takes the place of a memcached, with one volatile pool named "cache". Every option is a row of a
 * table:
 *
 *     options.c             the options that can be combined with any configuration
 *     memcached_options.c   memcached's options, which replace the configuration file
 *     extended_options.c    the settings of memcached's -o
 *     option_table.c        shared by these files: parsing of values, error messages
 *
 * Main thread only. */
#ifndef STAYD_STAYD_OPTIONS_H
#define STAYD_STAYD_OPTIONS_H

#include "stayd/config.h"
#include "stayd/memcached_options.h"
#include "stayd/process.h"

#include <stdbool.h>

enum {
    EXIT_STARTUP =
        1, /* the configuration is valid, but cannot be served: a port in use, a full disk */
    EXIT_USAGE = 2 /* the options or the configuration are invalid */
};

enum { OPTIONS_NOTICES_MAX = 64, OPTIONS_NOTICE_BYTES = 192 };

struct options {
    const char *config_path; /* NULL: the built-in pools, or memcached's options */
    bool check;
    struct process_options process;
    bool process_is_given; /* an option of the process was given */
    struct memcached_options memcached;

    /* For the log: the options that have no effect, each with the reason. */
    char notices[OPTIONS_NOTICES_MAX][OPTIONS_NOTICE_BYTES];
    unsigned notice_count;
};

enum options_result {
    OPTIONS_RUN,  /* start the daemon, or check the configuration */
    OPTIONS_DONE, /* help or a version has been printed: exit 0 */
    OPTIONS_WRONG /* an error has been printed: exit 2 */
};

enum options_result options_parse(struct options *options, int argument_count, char **arguments);

/* Fills in the configuration that the options select, and adds its errors to `faults`. */
void options_configure(struct options *options, struct config *config, struct faults *faults);

/* The name of the source of the configuration, for messages. */
const char *options_source(const struct options *options);

#endif
