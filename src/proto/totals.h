/* The counters of the daemon, as a client of one pool sees them: since the start, or since the last
 * `stats reset` of this pool. All pools and the admin server share these counters, so a reset does
 * not change them. Each pool keeps the values of its last reset, and `stats` shows the differences.
 * Any thread may call. */
#ifndef STAYD_PROTO_TOTALS_H
#define STAYD_PROTO_TOTALS_H

#include "proto/server.h"

uint64_t totals_get(const struct proto_service *service, enum proto_total total);

/* `stats reset`: also resets the counters of the pool and of its prefixes. */
void totals_reset(struct proto_service *service);

#endif
