/* The thread that reads certificates again while the daemon runs, for clients that say
 * refresh_certs and for SIGHUP. Reading them takes milliseconds, so no worker does it; and it is
 * done one reload at a time, with a pause between, however many ask:
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

/* Sets server->reload. NULL if memory is short. Both live longer. */
struct refresher *refresher_create(struct certificates *certificates, struct proto_server *server);

/* The workers run, and server->network.wake_workers is set. False, with errno, if there is no
 * thread. */
bool refresher_start(struct refresher *refresher);

/* Reads them again and waits for that. */
void refresher_run(struct refresher *refresher);

/* Ends the thread while the workers still run. From now on every reload has ended, badly. Accepts
 * NULL. */
void refresher_stop(struct refresher *refresher);

/* Nobody asks any more. Accepts NULL. */
void refresher_destroy(struct refresher *refresher);

#endif
