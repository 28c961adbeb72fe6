/* memcached's -l and -s: the addresses of its pool. Main thread only. */
#ifndef STAYD_STAYD_MEMCACHED_LISTEN_H
#define STAYD_STAYD_MEMCACHED_LISTEN_H

#include "stayd/config.h"
#include "stayd/options.h"

/* Adds the addresses that the options name to `pool`, and their errors to `faults`. Host names are
 * resolved, which may wait for the name service, as memcached does. */
void memcached_listen_configure(struct options *options, struct config_pool *pool,
                                struct faults *faults);

#endif
