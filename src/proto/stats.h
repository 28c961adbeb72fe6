/* stats [group]: numbers about the daemon and the connection's pool, under memcached's names where
 * it has one for the same thing. */
#ifndef STAYD_PROTO_STATS_H
#define STAYD_PROTO_STATS_H

#include "proto/request.h"

request_handler stats_run;

#endif
