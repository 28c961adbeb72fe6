/* Asks a server for its mappings (`stayd_map`, docs/protocol.md), over a connection that is logged
 * in and has no request. A server on loopback TCP names its Unix socket, which is then asked. */
#ifndef STAYD_LIB_ATTACH_H
#define STAYD_LIB_ATTACH_H

#include "channel.h"
#include "server.h"

/* Whether the server of this URL can hand mappings to this process at all: it is on this machine,
 * and is spoken to in the text protocol in the clear. */
bool attach_is_possible(const struct url *url);

/* False if the connection is of no more use. */
bool attach_ask(struct server *server, struct connection *connection, uint64_t deadline_ms);

#endif
