/* set, add, replace, append, prepend and cas. */
#ifndef STAYD_PROTO_STORAGE_H
#define STAYD_PROTO_STORAGE_H

#include "proto/request.h"

enum storage_variant {
    STORAGE_SET,
    STORAGE_ADD,
    STORAGE_REPLACE,
    STORAGE_APPEND,
    STORAGE_PREPEND,
    STORAGE_CAS,
};

request_handler storage_run;

/* Before a login: refuses the command and discards its value. */
request_handler storage_run_unadmitted;

#endif
