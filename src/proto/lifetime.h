/* The commands that end or prolong the life of items: touch, delete, flush_all. */
#ifndef STAYD_PROTO_LIFETIME_H
#define STAYD_PROTO_LIFETIME_H

#include "proto/request.h"

request_handler touch_run;
request_handler delete_run;
request_handler flush_run;

/* pool_delete for the delete command of each protocol, and what watchers are told of it. `meta`:
 * the command is md. */
enum status lifetime_delete(const struct request *request, struct bytes key,
                            const struct pool_delete *delete, bool meta);

#endif
