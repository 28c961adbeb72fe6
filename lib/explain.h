/* Writes error messages for the reader of the program's log: what failed, on what, why, what to
 * do. */
#ifndef STAYD_LIB_EXPLAIN_H
#define STAYD_LIB_EXPLAIN_H

#include "request.h"
#include "server.h"

enum explain_what {
    EXPLAIN_STATUS,         /* the server has answered: `status` */
    EXPLAIN_UNREACHABLE,    /* no connection */
    EXPLAIN_TURNED_AWAY,    /* the server has too many connections */
    EXPLAIN_ALL_TAKEN,      /* all connections of this client are in use */
    EXPLAIN_LOGIN,          /* the server wants another login */
    EXPLAIN_BROKEN,         /* no answer, and nothing was changed */
    EXPLAIN_BROKEN_UNKNOWN, /* no answer to a change */
    EXPLAIN_SILENT,         /* no answer in time, and nothing was changed */
    EXPLAIN_SILENT_UNKNOWN, /* no answer in time to a change */
    EXPLAIN_INTERRUPTED,
    EXPLAIN_NO_MEMORY,
    EXPLAIN_NO_DESCRIPTOR, /* this process can open no connection */
    EXPLAIN_GARBAGE,       /* the answer is not a valid reply of the protocol */
    EXPLAIN_UNSUPPORTED
};

struct explain {
    enum explain_what what;
    enum stayd_status status; /* of EXPLAIN_STATUS */
    const struct server *server;
    unsigned number; /* the server's */
    const struct request *request;
    const char *reason; /* the server's words, or the system's; NULL: none */
    int system_error;
};

/* Fills in `error`, which may be NULL. Returns the status. */
enum stayd_status explain_write(const struct explain *explain, struct stayd_error *error);

#endif
