/* Sends bytes on a Unix socket together with descriptors that the protocol hands over
 * (proto/map.h).
 */
#ifndef STAYD_NET_HANDING_H
#define STAYD_NET_HANDING_H

#include "proto/proto.h"

#include <sys/types.h>

/* As send(2). The descriptors go with the first byte that the socket accepts, and are closed then.
 */
ssize_t handing_send(int fd, struct proto_connection *proto, const char *data, size_t size);

#endif
