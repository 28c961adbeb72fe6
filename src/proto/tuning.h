/* memcached's commands that tune its slabs and its LRU. There are none here: what is right in form
 * is answered as by a memcached that has nothing to move, and changes nothing; what is wrong, in
 * memcached's words. */
#ifndef STAYD_PROTO_TUNING_H
#define STAYD_PROTO_TUNING_H

#include "proto/request.h"

request_handler slabs_run;
request_handler lru_run;

#endif
