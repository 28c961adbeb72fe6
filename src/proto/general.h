/* The commands that are about the daemon and not about items, but for stats. */
#ifndef STAYD_PROTO_GENERAL_H
#define STAYD_PROTO_GENERAL_H

#include "proto/request.h"

request_handler version_run;
request_handler verbosity_run;

/* Any level above 0 makes the log more talkative: there is one such level here. */
void verbosity_set(struct proto_server *server, uint32_t level);

request_handler quit_run;
request_handler refresh_certs_run;

/* Answers refresh_certs, for which there is room in the replies, if its reload has ended. */
bool refresh_certs_resume(struct request *request);

request_handler shutdown_run;
request_handler memory_limit_run;

#endif
