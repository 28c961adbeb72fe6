/* TLS 1.2 and later, by OpenSSL, for the TCP listeners of a pool that has a certificate, and for
 * the admin server.
 *
 *     struct tls           of a pool: the certificate, the key, and the CA of the clients. The
 *                          files can be read again; open connections keep the old certificate
 *     struct tls_session   of a connection: one end of an encrypted stream over its socket
 *
 * If the pool has a ca_path, a client must show a certificate that is signed by that CA, and is
 * disconnected when the certificate expires (net/tls_client.h). Sessions are resumed with tickets
 * (net/tls_tickets.h). There is no renegotiation and no compression. A peer that sends many records
 * without data is disconnected (net/tls_wire.h).
 *
 * The end of the TCP stream ends the session, even if no close_notify came before it. A request
 * that was cut off is never run, so an attacker who can cut the stream gains no more than with
 * plain TCP.
 *
 * Any thread may use a struct tls. One thread at a time may use a session. */
#ifndef STAYD_NET_TLS_H
#define STAYD_NET_TLS_H

#include "proto/server.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TLS_ERROR_MAX = 512 /* bytes of a message in an out parameter, with its zero */ };

struct tls_options {
    const char *name;      /* the pool's; NULL: for the admin server */
    const char *cert_path; /* PEM: the certificate, then the intermediate ones */
    const char *key_path;  /* PEM, without a password */
    const char *ca_path;   /* PEM: the CA of the clients' certificates; NULL: they need none */
};

struct tls;
struct tls_session;

enum tls_result {
    TLS_DONE,
    TLS_WANTS_INPUT,  /* call again when the socket is readable */
    TLS_WANTS_OUTPUT, /* call again when the socket is writable */
    TLS_ENDED,        /* the peer has closed its side */
    TLS_BROKEN
};

/* Reads the files. The texts of `options` must stay valid until tls_destroy. Handshakes are counted
 * in `counters`. NULL with a sentence in `error`: which file, what is wrong with it, what to do. */
struct tls *tls_create(const struct tls_options *options, struct proto_tls *counters,
                       char error[TLS_ERROR_MAX]);

/* All sessions have been destroyed. Accepts NULL. */
void tls_destroy(struct tls *tls);

/* Reads the files again; later handshakes use them. False with a sentence in `error` if a file is
 * wrong; then nothing changes. With a ca_path, sessions that began before are not resumed: the new
 * CA may not accept their clients. */
bool tls_reload(struct tls *tls, char error[TLS_ERROR_MAX]);

/* Whether the certificate has expired or is not valid yet. If so, writes a sentence for the log to
 * `warning`. */
bool tls_get_warning(struct tls *tls, char warning[TLS_ERROR_MAX]);

/* Creates the server's side of a session on a non-blocking socket. NULL if memory is short. */
struct tls_session *tls_session_create(struct tls *tls, int fd);

/* Sends close_notify if the session is intact. Does not close the socket. Accepts NULL. */
void tls_session_destroy(struct tls_session *session);

/* Continues the handshake. After TLS_BROKEN `*reason` says why, in a few words. */
enum tls_result tls_handshake(struct tls_session *session, const char **reason);

/* Reads what has arrived, at most `room` bytes and with a bounded amount of work. `*received` may
 * be 0. TLS_DONE: more bytes or the end of the stream may follow, so call again. TLS_WANTS_INPUT:
 * nothing more has arrived. */
enum tls_result tls_read(struct tls_session *session, char *data, size_t room, size_t *received);

/* Writes as much as the socket accepts: `*sent` bytes, which are all of them after TLS_DONE only.
 * After another result the next call must begin with the first byte that was not sent. */
enum tls_result tls_write(struct tls_session *session, const char *data, size_t size, size_t *sent);

/* When the client's certificate expires, in unix seconds, once the handshake is done; UINT32_MAX if
 * the client showed none. */
uint32_t tls_get_end_s(const struct tls_session *session);

#endif
