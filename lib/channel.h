/* A socket with its bytes to send and its received bytes. Knows nothing of the protocol. Every wait
 * ends at the deadline that the owner has set; signals do not extend a wait.
 *
 * Sending and receiving happen together: a call that waits for a reply also sends the rest of the
 * request. So a request of any size can be sent whole, and the two ends never wait for each other.
 *
 * After the first fault every call fails and does nothing. Used by one thread at a time. */
#ifndef STAYD_LIB_CHANNEL_H
#define STAYD_LIB_CHANNEL_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "tls.h"
#include "url.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum channel_fault {
    CHANNEL_WELL,
    CHANNEL_REFUSED, /* at the connect: nothing listens there, or the other end closed at once */
    CHANNEL_UNREACHABLE, /* at the connect: any other failure */
    CHANNEL_BROKEN,      /* the connection has ended */
    CHANNEL_TIMED_OUT,
    CHANNEL_INTERRUPTED, /* `interrupted` ended the wait, or `interrupted` has forked and this
                            process is the child */
    CHANNEL_NO_MEMORY,
    CHANNEL_NO_DESCRIPTOR, /* at the connect: this process, or its system, can open no more files */
    CHANNEL_GARBAGE        /* the received bytes are not of the protocol */
};

/* How much of a request had been sent when its connection broke. */
enum channel_sent {
    CHANNEL_SENT_NOTHING,
    CHANNEL_SENT_PART, /* the last byte was not sent, or was certainly not read by the server */
    CHANNEL_SENT_ALL   /* the server may have read the whole request and carried it out */
};

enum { CHANNEL_REASON_MAX = 160, CHANNEL_FILES_MAX = 2 };

/* Descriptors that come with a reply on a Unix socket. The function that takes them must close
 * them. */
struct channel_files {
    int numbers[CHANNEL_FILES_MAX];
    unsigned count;
};

struct channel {
    _Atomic int fd; /* -1: closed */
    uint64_t deadline_ms;
    enum channel_fault fault;
    int system_error; /* errno of the fault; 0: none */
    char reason[CHANNEL_REASON_MAX];

    struct buffer output;        /* the request */
    struct channel_files *files; /* where received descriptors go; NULL: none are accepted */

    /* private */
    int (*interrupted)(void *user); /* NULL: none */
    void *interrupted_user;
    bool is_local;          /* a Unix socket */
    bool was_reset;         /* reset by the other end while a reply was awaited */
    int receive_timeout_ms; /* the socket's timeout for a receive that blocks; 0: none is set */
    bool stopped;           /* sending failed: the rest of the request stays unsent */
    size_t sent;            /* of the output */
    size_t late;            /* bytes that were received after the deadline */
    struct buffer input;
    size_t taken; /* bytes of the input that were returned to the caller */
    struct tls_session *tls;
};

/* A closed channel. */
void channel_init(struct channel *channel, int (*interrupted)(void *user), void *interrupted_user);

/* Connects, and shakes hands in TLS if `tls` is not NULL, before the deadline. */
bool channel_open(struct channel *channel, const struct url *url, struct tls *tls,
                  uint64_t deadline_ms);

/* Sets the timeout of an open channel's socket to the usual timeout of a reply. A wait with this
 * timeout then takes one system call instead of three. */
void channel_expect_timeout(struct channel *channel, int timeout_ms);

/* Closes the socket and keeps the buffers. With TLS, sends close_notify if there was no fault. */
void channel_close(struct channel *channel);

/* In a child of a fork: closes this process's descriptor, and sends nothing. */
void channel_abandon(struct channel *channel);

/* Frees the buffers of a closed channel. */
void channel_finish(struct channel *channel);

/* Frees the buffers that a large request has enlarged. */
void channel_trim(struct channel *channel);

/* Whether there are bytes to read, or the other end has closed. Between two requests, both mean
 * that the channel cannot be used any more. */
bool channel_is_readable(const struct channel *channel);

/* Begins a request: empties the output and the input. The request is then appended to the output.
 */
void channel_begin(struct channel *channel, uint64_t deadline_ms);

/* These functions append to the request. If memory is short, they set the fault
 * CHANNEL_NO_MEMORY. */
void channel_put(struct channel *channel, const void *data, size_t size);
void channel_put_string(struct channel *channel, const char *string);
void channel_put_number(struct channel *channel, uint64_t number);

/* Sends as much of the request as the socket takes without a wait. False after a fault. */
bool channel_start(struct channel *channel);

/* Takes the next line, without its line end, and followed by a zero. Valid until the next receive.
 * False after a fault. */
bool channel_take_line(struct channel *channel, struct bytes *line);

/* Takes the next `size` bytes in place; for short data. Valid until the next receive. */
bool channel_take(struct channel *channel, size_t size, const char **data);

/* Copies the next `size` bytes to `to`; NULL: discards them. */
bool channel_copy(struct channel *channel, char *to, size_t size);

/* False if more bytes have arrived than were taken. */
bool channel_is_drained(const struct channel *channel);

/* Sets the fault: the received bytes are not of the protocol. Returns false. */
bool channel_refuse(struct channel *channel, const char *reason);

/* Sets the fault: this process has no memory. Returns false. */
bool channel_lack_memory(struct channel *channel);

/* How much of the request was sent, if the channel broke. */
enum channel_sent channel_sent(const struct channel *channel);

/* Sleeps for this time, but not beyond the deadline. False if `interrupted` ends the wait. */
bool channel_pause(struct channel *channel, unsigned pause_ms);

#endif
