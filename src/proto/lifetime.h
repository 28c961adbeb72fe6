/* The commands that shorten or extend the life of items: touch, delete, flush_all. */
#ifndef STAYD_PROTO_LIFETIME_H
#define STAYD_PROTO_LIFETIME_H

#include "proto/request.h"

request_handler touch_run;
request_handler delete_run;
request_handler flush_run;

/* pool_delete for the delete commands of both protocols; reports it to watchers. `meta`: the
 * command is md. */
enum status lifetime_delete(const struct request *request, struct bytes key,
                            const struct pool_delete *delete, bool meta);

#endif
