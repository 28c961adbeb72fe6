/* The commands that are about the daemon and not about items, but for stats. */
#ifndef STAYD_PROTO_GENERAL_H
#define STAYD_PROTO_GENERAL_H

#include "proto/request.h"

request_handler version_run;
request_handler verbosity_run;
request_handler quit_run;
request_handler refresh_certs_run;

/* What memcached has, and what is refused here in its own words for that. */
enum refuse_variant { REFUSE_SHUTDOWN, REFUSE_MEMORY_LIMIT, REFUSE_WATCH };

request_handler refuse_run;

#endif
