/* version, verbosity, quit, refresh_certs, shutdown and cache_memlimit. */
#ifndef STAYD_PROTO_GENERAL_H
#define STAYD_PROTO_GENERAL_H

#include "proto/request.h"

request_handler version_run;
request_handler verbosity_run;

/* stayd has one debug level: any level above 0 enables debug lines in the log. */
void verbosity_set(struct proto_server *server, uint32_t level);

request_handler quit_run;
request_handler refresh_certs_run;

/* Answers refresh_certs if its reload has ended. The caller has reserved room for the reply. */
bool refresh_certs_resume(struct request *request);

request_handler shutdown_run;
request_handler memory_limit_run;

#endif
