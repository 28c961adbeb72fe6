/* TLS, from 1.2 on, by OpenSSL: what a pool's TCP listeners speak if it has a certificate.
 *
 *     struct tls             of a pool: certificate, key, who may connect; can be read anew while
 *                            running: connections that are open keep what they began with
 *     struct tls_session     of a connection: one end of an encrypted stream over its socket
 *
 * With client certificates (ca_path) only clients that have one signed by that CA get through the
 * handshake, and no longer than their certificate lasts (net/tls_client.h). Sessions are resumed
 * with tickets (net/tls_tickets.h). There is no renegotiation and no compression. A peer that sends
 * much beside data is cut off (net/tls_wire.h).
 *
 * A stream that ends without TLS's own goodbye ends all the same: a request that was cut off is
 * never done, so whoever can cut the stream gains no more than with TCP.
 *
 * A tls: any thread may call. A session is used by one thread at a time. */
#ifndef STAYD_NET_TLS_H
#define STAYD_NET_TLS_H

#include "proto/server.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TLS_ERROR_MAX = 512 /* bytes of a message in an out parameter, with its zero */ };

struct tls_options {
    const char *name;      /* the pool's */
    const char *cert_path; /* PEM: the certificate, and those between it and the root */
    const char *key_path;  /* PEM, without a password */
    const char *ca_path;   /* PEM: whose certificates clients need; NULL: they need none */
};

struct tls;
struct tls_session;

enum tls_result {
    TLS_DONE,
    TLS_WANTS_INPUT,  /* call again when the socket is readable */
    TLS_WANTS_OUTPUT, /* call again when the socket is writable */
    TLS_ENDED,        /* the peer has said all that it will say */
    TLS_BROKEN
};

/* Reads the files. The texts of `options` live as long as the tls; what happens is counted in
 * `counters`. NULL with a sentence in `error`: which file, what is wrong with it, what to do. */
struct tls *tls_create(const struct tls_options *options, struct proto_tls *counters,
                       char error[TLS_ERROR_MAX]);

/* Accepts NULL. No session is left. */
void tls_destroy(struct tls *tls);

/* Reads the files again, for the handshakes from now on. False, with a sentence, and as before if
 * they are not right. With a ca_path sessions begun before are not resumed: their client may not be
 * welcome any more. */
bool tls_reload(struct tls *tls, char error[TLS_ERROR_MAX]);

/* What is not wrong and yet to be told: false, or true and a sentence in `warning`. */
bool tls_get_warning(struct tls *tls, char warning[TLS_ERROR_MAX]);

/* The server's end on a socket that does not block. NULL if memory is short. */
struct tls_session *tls_session_create(struct tls *tls, int fd);

/* Says goodbye if that is in order. Accepts NULL. The socket remains. */
void tls_session_destroy(struct tls_session *session);

/* Goes on with the handshake. After TLS_BROKEN `*reason` is a few words. */
enum tls_result tls_handshake(struct tls_session *session, const char **reason);

/* Reads as much as is there or has room, and is a bounded amount of work: `*received` bytes, which
 * may be none. With TLS_DONE there may be more, or an end that the next call tells of; with
 * TLS_WANTS_INPUT there is no more at the moment. */
enum tls_result tls_read(struct tls_session *session, char *data, size_t room, size_t *received);

/* Writes as much as the socket takes, `*sent` bytes: all of them with TLS_DONE alone. A call after
 * one that was not done begins with the byte behind those that were sent. */
enum tls_result tls_write(struct tls_session *session, const char *data, size_t size, size_t *sent);

/* When the certificate that the client showed ends, in unix seconds, once the handshake is done;
 * UINT32_MAX if it showed none. */
uint32_t tls_get_end_s(const struct tls_session *session);

/* Says that nothing more will be sent, as far as that can be done at once. */
void tls_say_end(struct tls_session *session);

#endif
