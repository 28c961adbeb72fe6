/* Which commands and protocols the operator allows. stayd/ sets these from the configuration before
 * the first connection; they are constant then. */
#ifndef STAYD_PROTO_RIGHTS_H
#define STAYD_PROTO_RIGHTS_H

#include <stdbool.h>

/* Of the whole daemon. */
struct proto_rights {
    bool shutdown_enabled; /* memcached's -A */
    bool flush_disabled;   /* -F */
    bool dump_disabled;    /* -X: lru_crawler metadump and mgdump, stats cachedump and detail */
    bool watch_disabled;   /* -W */
    bool has_logins;       /* some pool requires a login */
};

/* The protocols that the clients of a pool may use. */
enum proto_allowed { PROTO_ALLOWED_ALL, PROTO_ALLOWED_TEXT, PROTO_ALLOWED_BINARY };

/* The clients of a pool that may use the operator's commands (proto/operator.h). */
enum proto_admin { PROTO_ADMIN_ALL, PROTO_ADMIN_LOCAL, PROTO_ADMIN_NONE };

#endif
