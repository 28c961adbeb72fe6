/* The keys of session tickets. With a ticket a client resumes its session without the costly part
 * of a handshake. The daemon stores nothing for the client: the ticket contains the whole session,
 * encrypted with these keys. The keys belong to a pool, so a ticket is valid on any thread, and
 * after the certificate has been replaced. New keys replace keys that are older than
 * TLS_TICKETS_LIFETIME_S; the previous keys can still decrypt. No key leaves the process: after a
 * restart every client does a full handshake.
 *
 * Any thread may call. */
#ifndef STAYD_NET_TLS_TICKETS_H
#define STAYD_NET_TLS_TICKETS_H

#include <openssl/ssl.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { TLS_TICKETS_LIFETIME_S = 4 * 3600 };

struct tls_ticket_key {
    bool is_valid;
    unsigned char name[16];
    unsigned char cipher[32];
    unsigned char mac[32];
};

struct tls_tickets {
    pthread_mutex_t lock;
    struct tls_ticket_key current; /* this and the next two: under the lock */
    struct tls_ticket_key previous;
    uint64_t made_ms; /* when `current` was made, on the monotonic clock */
};

/* False if the system gives no random numbers. */
bool tls_tickets_init(struct tls_tickets *tickets);
void tls_tickets_finish(struct tls_tickets *tickets);

/* Invalidates all tickets given out so far. False, and nothing changes, if the system gives no
 * random numbers. */
bool tls_tickets_forget(struct tls_tickets *tickets);

/* Makes the context encrypt and decrypt its tickets with these keys, which must stay valid as long
 * as the context. */
bool tls_tickets_use(struct tls_tickets *tickets, SSL_CTX *context);

#endif
