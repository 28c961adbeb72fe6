/* How long a client with a certificate may stay connected: until the first certificate of its
 * verified chain expires. The time is stored in the session's ticket, because a resumed session
 * verifies no certificates. A ticket whose certificates have expired is ignored. The full handshake
 * that follows rejects the expired certificate.
 *
 * Any thread may call, for its own sessions. */
#ifndef STAYD_NET_TLS_CLIENT_H
#define STAYD_NET_TLS_CLIENT_H

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stdint.h>

#define TLS_CLIENT_ENDS_NEVER UINT32_MAX

/* Makes the context store the time in its tickets, and ignore tickets whose time is over. False if
 * memory is short. */
bool tls_client_limit_tickets(SSL_CTX *context);

/* After the handshake: the time, in unix seconds; TLS_CLIENT_ENDS_NEVER for a client without a
 * certificate. */
uint32_t tls_client_ends_s(SSL *ssl);

#endif
