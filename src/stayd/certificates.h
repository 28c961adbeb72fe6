/* The certificates of all pools with TLS and of the admin server. They are read at startup, and
 * read again on SIGHUP and on a client's refresh_certs (refresher.h). The main thread loads and
 * finishes; one thread at a time may refresh. */
#ifndef STAYD_STAYD_CERTIFICATES_H
#define STAYD_STAYD_CERTIFICATES_H

#include "net/tls.h"
#include "stayd/config.h"

#include <stdio.h>

struct certificates {
    struct tls *pools[CONFIG_POOLS_MAX]; /* by the pool's index; NULL: plain text */
    struct tls *admin;                   /* NULL: plain text */
    struct proto_tls admin_counters;     /* of `admin` */
};

/* The caller zeroes `certificates` first, and calls certificates_finish even if this function
 * failed. False with a sentence in `error`. Warnings are logged. */
bool certificates_load(struct certificates *certificates, const struct config *config,
                       struct proto_tls *counters, char error[TLS_ERROR_MAX]);

/* Accepts a zeroed struct. */
void certificates_finish(struct certificates *certificates);

/* Reads all certificates again, and logs the result. Returns false, with a sentence in `error`, if
 * a certificate is not valid: its pool keeps the certificate that it had. The admin server does
 * so too. */
bool certificates_refresh(struct certificates *certificates, char *error, size_t error_size);

/* Checks whether a daemon with this configuration could load the certificates. Adds a fault for
 * each certificate that could not be loaded, and writes a line to `notices` for each warning. */
void certificates_check(const struct config *config, struct faults *faults, FILE *notices);

#endif
