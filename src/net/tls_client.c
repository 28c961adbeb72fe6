#include "net/tls_client.h"

#include "base/clock.h"

#include <openssl/x509.h>

#include <string.h>
#include <time.h>

static uint32_t tls_client_end_of(const X509 *certificate) {
    struct tm end;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1) {
        return 0; /* cannot happen: the certificate has been verified */
    }
    time_t end_s = timegm(&end);
    if (end_s < 0) {
        return 0;
    }
    return end_s < TLS_CLIENT_ENDS_NEVER ? (uint32_t)end_s : TLS_CLIENT_ENDS_NEVER;
}

/* The time in the ticket from which the session was resumed. */
static uint32_t tls_client_read_ticket(SSL_SESSION *session) {
    uint32_t ends_s = 0;
    void *data = NULL;
    size_t size = 0;
    if (SSL_SESSION_get0_ticket_appdata(session, &data, &size) == 1 && size == sizeof ends_s) {
        memcpy(&ends_s, data, sizeof ends_s);
    }
    return ends_s;
}

uint32_t tls_client_ends_s(SSL *ssl) {
    SSL_SESSION *session = SSL_get_session(ssl);
    if (session == NULL || SSL_SESSION_get0_peer(session) == NULL) {
        return TLS_CLIENT_ENDS_NEVER;
    }
    const STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    if (chain == NULL || SSL_session_reused(ssl)) {
        return tls_client_read_ticket(session);
    }
    uint32_t ends_s = TLS_CLIENT_ENDS_NEVER;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        uint32_t end_s = tls_client_end_of(sk_X509_value(chain, i));
        ends_s = end_s < ends_s ? end_s : ends_s;
    }
    return ends_s;
}

static int tls_client_seal(SSL *ssl, void *context) {
    (void)context;
    uint32_t ends_s = tls_client_ends_s(ssl);
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &ends_s, sizeof ends_s);
}

/* OpenSSL calls this with each ticket, also with one that it could not decrypt. */
static SSL_TICKET_RETURN tls_client_open(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                         size_t name_size, SSL_TICKET_STATUS status,
                                         void *context) {
    (void)ssl;
    (void)name;
    (void)name_size;
    (void)context;
    switch (status) {
    case SSL_TICKET_SUCCESS:
    case SSL_TICKET_SUCCESS_RENEW:
        if (tls_client_read_ticket(session) <= clock_unix_s()) {
            return SSL_TICKET_RETURN_IGNORE_RENEW;
        }
        return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
    case SSL_TICKET_EMPTY:
    case SSL_TICKET_NO_DECRYPT:
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    default:
        return SSL_TICKET_RETURN_ABORT;
    }
}

bool tls_client_limit_tickets(SSL_CTX *context) {
    return SSL_CTX_set_session_ticket_cb(context, tls_client_seal, tls_client_open, NULL) == 1;
}
