/* `stayd_map`, stayd's own command: a client on a Unix socket receives read-only descriptors of the
 * pool's two mappings. From then on, the client reads items without the daemon (store/reader.h).
 * Inside proto/ only. */
#ifndef STAYD_PROTO_MAP_H
#define STAYD_PROTO_MAP_H

#include "proto/request.h"

request_handler map_run;

#endif
