/* stats [group] of the text protocol. */
#ifndef STAYD_PROTO_STATS_TEXT_H
#define STAYD_PROTO_STATS_TEXT_H

#include "proto/request.h"

request_handler stats_run;

#endif
