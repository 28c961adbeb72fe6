/* The keys of session tickets. With a ticket a client resumes its session without the costly part
 * of a handshake; the daemon keeps nothing for it, as all of the session is in the ticket, sealed
 * with these keys. They belong to a pool, so that a ticket is good on any thread and after the
 * certificate has been replaced, and they are made anew every TLS_TICKETS_LIFETIME_S; the one
 * before still opens. A key never leaves the process: a restart makes every client shake hands in
 * full.
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
    struct tls_ticket_key current; /* under lock, all of them */
    struct tls_ticket_key previous;
    uint64_t made_ms; /* when `current` was, on the monotonic clock */
};

/* False if there is no randomness to be had. */
bool tls_tickets_init(struct tls_tickets *tickets);
void tls_tickets_finish(struct tls_tickets *tickets);

/* No ticket given out so far is good any more. False, and all is as before, if there is no
 * randomness to be had. */
bool tls_tickets_forget(struct tls_tickets *tickets);

/* Makes the context seal and open its tickets with these, which live longer than it. */
bool tls_tickets_use(struct tls_tickets *tickets, SSL_CTX *context);

#endif
