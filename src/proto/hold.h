/* hold, stayd's own command, for `stayctl backup`: nothing in the pool's file is freed or moved
 * while the file is copied (docs/protocol.md). */
#ifndef STAYD_PROTO_HOLD_H
#define STAYD_PROTO_HOLD_H

#include "proto/request.h"

/* The longest hold, so that a client that disappears does not stop compaction for long. */
enum { HOLD_LEASE_MAX_S = 30 };

/* hold <seconds>              HOLD <number>, or BUSY: ask again
 * hold <seconds> <number>     HOLD <number>, or NOT_FOUND: that hold is over
 * hold 0 <number>             OK, or NOT_FOUND */
request_handler hold_run;

/* The connection closes: ends its hold, or its request for one. */
void hold_abandon(const struct proto_connection *connection);

#endif
