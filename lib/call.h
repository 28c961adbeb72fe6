/* A request under way: its tries, its waits, and its error message if it fails.
 *
 *     call_begin --> call_send --> (the server works) --> call_receive --> status
 *
 * Between call_send and call_receive, requests to other servers can be sent. */
#ifndef STAYD_LIB_CALL_H
#define STAYD_LIB_CALL_H

#include "client.h"
#include "request.h"
#include "server.h"

struct call {
    struct stayd *client;
    struct server *server;
    struct request *request;
    struct stayd_error *error; /* may be NULL */
    enum stayd_status status;  /* once the call has ended */

    /* private */
    struct connection *connection; /* NULL: no connection is taken */
    uint64_t probe;                /* from availability_may_try; 0: this call is no probe */
    unsigned tries;                /* connections that broke */
    int system_error;              /* of the latest fault; 0: none */
    uint64_t began_ms;
    uint64_t refused_ms;  /* when a connect was first refused; 0: never */
    uint64_t deadline_ms; /* the deadline of the whole call, with all tries */
};

/* `began_ms`: when the public function began (clock_exact_ms). All calls of that function share its
 * total timeout. */
void call_begin(struct call *call, struct stayd *client, struct server *server,
                struct request *request, uint64_t began_ms, struct stayd_error *error);

/* Sends as much of the request as the socket takes without a wait. False if the call has ended: see
 * its status. */
bool call_send(struct call *call);

/* After call_send: receives the reply. When the connection breaks, sends the request again if it
 * was certainly not carried out, or if a second time does no harm. */
enum stayd_status call_receive(struct call *call);

/* Ends the call with STAYD_INTERRUPTED. */
void call_interrupt(struct call *call);

/* Runs the whole call on the server that has the request's key; with failover, on the next server
 * if that server cannot be reached. */
enum stayd_status call_run(struct stayd *client, struct request *request,
                           struct stayd_error *error);

/* Runs the whole call on this server. */
enum stayd_status call_run_on(struct stayd *client, struct server *server, struct request *request,
                              uint64_t began_ms, struct stayd_error *error);

/* Opens a connection, if none is idle. */
enum stayd_status call_connect(struct stayd *client, struct server *server,
                               struct stayd_error *error);

#endif
