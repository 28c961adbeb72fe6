/* The thread that reads certificates again while the daemon runs: for SIGHUP, and for the command
 * refresh_certs. Reading takes milliseconds, too long for a worker. There is one reload at a time,
 * with a pause after each, whatever the number of requests:
 *
 *     begin ----> 5, while reload 4 is running
 *     begin ----> 5, for every call until reload 5 begins
 *     has_ended(5) ----> false ... the workers are woken ... true, with the result
 *
 * The main thread creates, starts, stops and destroys the refresher; any thread may call `begin`
 * and `has_ended`. */
#ifndef STAYD_STAYD_REFRESHER_H
#define STAYD_STAYD_REFRESHER_H

#include "proto/server.h"
#include "stayd/certificates.h"

struct refresher;

/* Sets server->reload. NULL if memory is short. Both arguments must stay valid until
 * refresher_destroy. */
struct refresher *refresher_create(struct certificates *certificates, struct proto_server *server);

/* Call it when the workers run and server->network.wake_workers is set. False, with errno, if the
 * thread cannot be started. */
bool refresher_start(struct refresher *refresher);

/* Reads the certificates again, and waits for the end of the reload. */
void refresher_run(struct refresher *refresher);

/* Ends the thread while the workers still run. A reload that has not ended by then counts as
 * failed. Accepts NULL. */
void refresher_stop(struct refresher *refresher);

/* Call it when no thread uses the refresher any more. Accepts NULL. */
void refresher_destroy(struct refresher *refresher);

#endif
