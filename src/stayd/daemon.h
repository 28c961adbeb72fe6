/* The running daemon: starts everything in the order in which one needs the other, serves until a
 * signal ends it, and stops everything in the reverse order.
 *
 *     folders -> files limit -> listeners -> pools -> workers -> admin -> accept ... -> stop
 *
 * The listeners come before the pools, so that a second daemon stops at the port in use and never
 * gets to the data, and so that clients of one that restarts wait in the queue instead of being
 * refused while a pool is recovered. Runs on the main thread. */
#ifndef STAYD_STAYD_DAEMON_H
#define STAYD_STAYD_DAEMON_H

#include "stayd/config.h"

#include <stdbool.h>

/* Runs until SIGTERM or SIGINT. False if it could not start or go on: the reason is logged. */
bool daemon_run(const struct config *config);

#endif
