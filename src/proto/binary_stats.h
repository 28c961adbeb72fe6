/* stat of the binary protocol: a response for each pair, then an empty one. */
#ifndef STAYD_PROTO_BINARY_STATS_H
#define STAYD_PROTO_BINARY_STATS_H

#include "proto/binary.h"

/* The key, which may be empty, names the group. */
binary_handler binary_stats_run;

#endif
