/* The commands that are about the daemon and not about items, but for stats. */
#ifndef STAYD_PROTO_GENERAL_H
#define STAYD_PROTO_GENERAL_H

#include "proto/request.h"

request_handler version_run;
request_handler verbosity_run;
request_handler quit_run;
request_handler refresh_certs_run;
request_handler shutdown_run;
request_handler memory_limit_run;

#endif
