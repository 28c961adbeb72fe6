/* The TLS of all pools that have a certificate: read at the start, and again on SIGHUP and when a
 * client says refresh_certs. The main thread loads and finishes; any thread may refresh. */
#ifndef STAYD_STAYD_CERTIFICATES_H
#define STAYD_STAYD_CERTIFICATES_H

#include "net/tls.h"
#include "stayd/config.h"

#include <stdio.h>

struct certificates {
    struct tls *pools[CONFIG_POOLS_MAX]; /* by the pool's index; NULL: plain text */
};

/* Zeroed before. False with a sentence in `error`; what is there already is finished by
 * certificates_finish. Warnings are logged. */
bool certificates_load(struct certificates *certificates, const struct config *config,
                       struct proto_tls *counters, char error[TLS_ERROR_MAX]);

/* Accepts a zeroed one. */
void certificates_finish(struct certificates *certificates);

/* Reads all of them again, and logs what came of it. As proto_server.refresh_certs: the keeper is
 * the certificates. */
bool certificates_refresh(void *keeper, char *error, size_t error_size);

/* Whether a daemon with this configuration could load them: a fault for each that it could not, a
 * line to `notices` for what is doubtful. */
void certificates_check(const struct config *config, struct faults *faults, FILE *notices);

#endif
