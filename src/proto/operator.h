/* Which clients may use the commands that are for whoever operates the daemon:
 *
 *     of the pool      stats conns, stats detail, stats cachedump, stats sizes (a walk through all
 *                      items), lru_crawler, watch, hold, cache_memlimit
 *     of the daemon    verbosity, refresh_certs, shutdown
 *
 * They tell of other clients, walk through all items, hold compaction up or change what is not the
 * client's. The pool's `admin_commands` decides: all clients, those on this machine, or none. What
 * concerns the whole daemon is refused to a local client without a login where some pool asks for
 * one: who may not use that pool must not change its daemon either. Inside proto/ only. */
#ifndef STAYD_PROTO_OPERATOR_H
#define STAYD_PROTO_OPERATOR_H

#include "proto/request.h"

enum operator_scope { OPERATOR_POOL, OPERATOR_DAEMON };

/* stayd's own words: memcached has no such reply. */
#define REPLY_NOT_ALLOWED "CLIENT_ERROR not allowed: see admin_commands of the pool\r\n"

bool operator_allows(const struct proto_connection *connection, enum operator_scope scope);

/* The same, and the reply to who may not; silent if the line ends in "noreply". True: it is
 * answered. */
bool operator_refuses(struct request *request, enum operator_scope scope);

#endif
