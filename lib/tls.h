/* TLS over a connection's socket, with OpenSSL. Writes with MSG_NOSIGNAL; OpenSSL's own socket
 * functions write without it, so a broken connection would raise SIGPIPE.
 *
 * A struct tls keeps the contents of the PEM files, not only an SSL_CTX. A child of a fork makes a
 * new context, because a thread of its parent may have held a lock of the old one; and the child
 * may no longer have the right to read the files. */
#ifndef STAYD_LIB_TLS_H
#define STAYD_LIB_TLS_H

#include "stayd.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { TLS_REASON_MAX = 160 };

struct tls;
struct tls_session;

/* Reads the files and checks that they can be used; each may be NULL. If `key` is NULL, the key is
 * in `cert`. NULL with a sentence in `error`. */
struct tls *tls_create(const char *ca, const char *cert, const char *key,
                       char error[STAYD_ERROR_MAX]);

/* Accepts NULL. */
void tls_destroy(struct tls *tls);

/* In a child of a fork: drops the parent's context without freeing it. */
void tls_renew(struct tls *tls);

/* A session over the socket, for a server whose certificate must be for `host`. NULL if memory is
 * short. Any thread may call. */
struct tls_session *tls_session_create(struct tls *tls, int fd, const char *host);

/* Frees the session. `notify`: sends close_notify, if that needs no wait. Accepts NULL. */
void tls_session_destroy(struct tls_session *session, bool notify);

/* Like read and write on a non-blocking socket: return the number of bytes, 0 at the end, or below
 * 0 with errno; with EAGAIN, `*events` is what poll must wait for. The handshake returns 1. Other
 * failures have a reason in tls_session_reason. */
ssize_t tls_session_shake_hands(struct tls_session *session, short *events);
ssize_t tls_session_read(struct tls_session *session, void *data, size_t size, short *events);
ssize_t tls_session_write(struct tls_session *session, const void *data, size_t size,
                          short *events);

/* Why the last call on the session failed; empty if OpenSSL says nothing. */
const char *tls_session_reason(const struct tls_session *session);

#endif
