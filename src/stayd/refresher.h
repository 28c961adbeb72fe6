/* The thread that reads certificates again while the daemon runs: for SIGHUP, and for the command
 * refresh_certs. Reading takes milliseconds, which a worker may not spend. There is one reload at a
 * time, with a pause after each, however many requests there are:
 *
 *     begin ----> reload 4 is under way: 5 is the one that begins from now on
 *     begin ----> 5 again, shared by all who ask before it begins
 *     has_ended(5)?  no ... the workers are woken ... yes, with what came of it
 *
 * The main thread creates, starts, stops and destroys; any thread may begin and ask. */
#ifndef STAYD_STAYD_REFRESHER_H
#define STAYD_STAYD_REFRESHER_H

#include "proto/server.h"
#include "stayd/certificates.h"

struct refresher;

/* Sets server->reload. NULL if memory is short. Both arguments must stay valid until
 * refresher_destroy. */
struct refresher *refresher_create(struct certificates *certificates, struct proto_server *server);

/* The workers run, and server->network.wake_workers is set. False, with errno, if there is no
 * thread. */
bool refresher_start(struct refresher *refresher);

/* Reads the certificates again, and waits for the end of the reload. */
void refresher_run(struct refresher *refresher);

/* Ends the thread while the workers still run. From now on, every reload counts as ended with a
 * failure. Accepts NULL. */
void refresher_stop(struct refresher *refresher);

/* No thread calls the refresher any more. Accepts NULL. */
void refresher_destroy(struct refresher *refresher);

#endif
