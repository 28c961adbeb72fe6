/* Which clients may use the operator's commands:
 *
 *     of the pool      stats conns, stats detail, stats cachedump, stats sizes (a walk through all
 *                      items), lru_crawler, watch, hold, cache_memlimit
 *     of the daemon    verbosity, refresh_certs, shutdown
 *
 * These commands show other clients, walk through all items, delay compaction, or change settings.
 * The pool's `admin_commands` allows them to all clients, to clients on this machine, or to none.
 * If some pool requires a login, commands about the daemon need a login even from local clients: a
 * client that may not use that pool must not change its daemon. Inside proto/ only. */
#ifndef STAYD_PROTO_OPERATOR_H
#define STAYD_PROTO_OPERATOR_H

#include "proto/request.h"

/* The scope of a command. The command table of text.c has one for each command. */
enum operator_scope {
    OPERATOR_NONE, /* not an operator's command */
    OPERATOR_POOL,
    OPERATOR_DAEMON,
};

/* stayd's own reply: memcached has none like it. */
#define REPLY_NOT_ALLOWED "CLIENT_ERROR not allowed: see admin_commands of the pool\r\n"

bool operator_allows(const struct proto_connection *connection, enum operator_scope scope);

/* Refuses a client that is not allowed, with a reply unless the line ends in "noreply". True: the
 * request is answered. */
bool operator_refuses(struct request *request, enum operator_scope scope);

#endif
