/* stayd's own command, for `stayctl backup`: holds the pool still while its file is copied
 * (docs/protocol.md). */
#ifndef STAYD_PROTO_HOLD_H
#define STAYD_PROTO_HOLD_H

#include "proto/request.h"

/* A client that disappears must not stop compaction for longer. */
enum { HOLD_LEASE_MAX_S = 30 };

/* hold <seconds>              HOLD <number>, or BUSY: ask again
 * hold <seconds> <number>     HOLD <number>, or NOT_FOUND: that hold is over
 * hold 0 <number>             OK, or NOT_FOUND */
request_handler hold_run;

/* The connection closes: ends its hold, or its request for one. */
void hold_abandon(const struct proto_connection *connection);

#endif
