/* memcached's commands that tune its slabs and its LRU. stayd has neither: a valid command is
 * answered as by a memcached that has nothing to move, and changes nothing; an invalid one gets
 * memcached's error. */
#ifndef STAYD_PROTO_TUNING_H
#define STAYD_PROTO_TUNING_H

#include "proto/request.h"

request_handler slabs_run;
request_handler lru_run;
request_handler extstore_run;

#endif
