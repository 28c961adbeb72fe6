/* Asks a server for its mappings (`stayd_map`, docs/protocol.md), over a connection that is logged
 * in and has no request. A server on loopback TCP replies with the path of its Unix socket; the
 * library then asks there. */
#ifndef STAYD_LIB_ATTACH_H
#define STAYD_LIB_ATTACH_H

#include "server.h"

/* False if the connection cannot be used any more. */
bool attach_ask(struct server *server, struct connection *connection, uint64_t deadline_ms);

#endif
