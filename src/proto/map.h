/* `stayd_map`, stayd's own: a client on a Unix socket is handed read-only descriptors of the pool's
 * two mappings, and reads by itself from then on (store/reader.h). Inside proto/ only. */
#ifndef STAYD_PROTO_MAP_H
#define STAYD_PROTO_MAP_H

#include "proto/request.h"

request_handler map_run;

#endif
