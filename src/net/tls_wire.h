/* The BIO between OpenSSL and the socket. It counts the messages without data that a peer sends,
 * and limits how much one call reads, because OpenSSL itself reads for as long as the peer sends.
 *
 *     SSL_read --BIO--> tls_wire --recv--> socket      `left` bytes, then "there is no more"
 *
 * A peer sends messages without data during the handshake, and few later: a KeyUpdate after
 * terabytes, one alert at the end. Such a message costs the receiver many times as much as data of
 * the same size.
 *
 * Used by the thread that owns the session. */
#ifndef STAYD_NET_TLS_WIRE_H
#define STAYD_NET_TLS_WIRE_H

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_wire {
    int fd;
    bool is_paused;     /* the call has read as much as it may */
    bool ended;         /* the peer has closed its side */
    size_t left;        /* bytes that the call may still read */
    uint64_t records;   /* records that the peer has begun to send */
    uint64_t messages;  /* without data: the peer's, and this side's alerts and ChangeCipherSpecs */
    uint64_t tolerated; /* the maximum of `messages`; beyond it nothing more is read */
};

/* Makes the session read and write through `wire`, whose `fd` is set, and which must stay valid as
 * long as the session. False if memory is short. */
bool tls_wire_use(struct tls_wire *wire, SSL *ssl);

/* Begins a call that may read at most `bytes`. */
void tls_wire_begin(struct tls_wire *wire, size_t bytes);

/* Whether the peer has sent more messages than are tolerated: end the session. */
bool tls_wire_is_flooded(const struct tls_wire *wire);

#endif
