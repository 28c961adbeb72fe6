/* Until when a client that showed a certificate may be here: the first moment at which one of the
 * chain that was verified ends. It travels in the session's ticket, because a session that is
 * resumed verifies nothing: a ticket whose certificates have ended is not taken, and a full
 * handshake follows, which the client's certificate does not pass any more.
 *
 * Any thread may call, for a session that it has. */
#ifndef STAYD_NET_TLS_CLIENT_H
#define STAYD_NET_TLS_CLIENT_H

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stdint.h>

#define TLS_CLIENT_ENDS_NEVER UINT32_MAX

/* Makes the context write that time into its tickets, and look at it. False if memory is short. */
bool tls_client_limit_tickets(SSL_CTX *context);

/* In unix seconds, once the handshake is done; TLS_CLIENT_ENDS_NEVER of a client without a
 * certificate. */
uint32_t tls_client_ends_s(SSL *ssl);

#endif
