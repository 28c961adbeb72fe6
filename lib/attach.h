/* Asks a server for its mappings (`stayd_map`, docs/protocol.md), over a connection that is logged
 * in and carries no other request. A server on loopback TCP replies with the path of its Unix
 * socket; the library then asks there. */
#ifndef STAYD_LIB_ATTACH_H
#define STAYD_LIB_ATTACH_H

#include "server.h"

/* False if the connection can no longer be used. */
bool attach_ask(struct server *server, struct connection *connection, uint64_t deadline_ms);

#endif
