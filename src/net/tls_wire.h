/* What lies between OpenSSL and the socket: it counts what a peer sends that is not data, and how
 * much is read for one call, because OpenSSL itself goes on for as long as the peer sends.
 *
 *     SSL_read --BIO--> tls_wire --recv--> socket      so many bytes, then "there is no more"
 *
 * A peer needs messages that are no data when it shakes hands, and hardly any later: a KeyUpdate
 * after terabytes, one alert at the end. Each costs the other end many times what data does.
 *
 * Used by the thread that has the session. */
#ifndef STAYD_NET_TLS_WIRE_H
#define STAYD_NET_TLS_WIRE_H

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_wire {
    int fd;
    bool is_paused;     /* more was asked for than the call may read */
    bool ended;         /* the peer has closed its side */
    size_t left;        /* bytes that the call may still read */
    uint64_t records;   /* that the peer has begun to send */
    uint64_t messages;  /* that were no data, from the peer and in answer to it */
    uint64_t tolerated; /* so many messages are; beyond them nothing more is read */
};

/* Makes the session read and write through `wire`, whose `fd` is set and which lives as long as it.
 * False if memory is short. */
bool tls_wire_use(struct tls_wire *wire, SSL *ssl);

/* A call begins that may read so many bytes. */
void tls_wire_begin(struct tls_wire *wire, size_t bytes);

/* The peer has sent more than is tolerated: the session is to end. */
bool tls_wire_is_flooded(const struct tls_wire *wire);

#endif
