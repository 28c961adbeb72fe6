/* A socket and what is under way on it: bytes to send, bytes that were received. Nothing here knows
 * a protocol. Every wait ends at the deadline that its owner has set; signals do not extend it.
 *
 * Sending and receiving go on together: whoever waits for a reply sends what is left of the request
 * meanwhile, so that requests of any size go in one piece, and neither side waits for the other.
 *
 * After the first fault nothing more is done, and every call fails. Of one thread at a time. */
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
    CHANNEL_REFUSED,     /* at the connect: nobody listens there, or hung up at once */
    CHANNEL_UNREACHABLE, /* at the connect: any other failure */
    CHANNEL_BROKEN,      /* the connection has ended */
    CHANNEL_TIMED_OUT,
    CHANNEL_INTERRUPTED,
    CHANNEL_NO_MEMORY,
    CHANNEL_GARBAGE /* what came is not of the protocol */
};

/* How much of a request had been sent when its connection broke. */
enum channel_sent {
    CHANNEL_SENT_NOTHING,
    CHANNEL_SENT_PART, /* the end is missing, or was surely never read */
    CHANNEL_SENT_ALL   /* it may have been read to its end, and carried out */
};

enum { CHANNEL_REASON_MAX = 160, CHANNEL_FILES_MAX = 2 };

/* Descriptors that come with a reply on a Unix socket; whoever takes them closes them. */
struct channel_files {
    int numbers[CHANNEL_FILES_MAX];
    unsigned count;
};

struct channel {
    _Atomic int fd; /* -1: closed */
    uint64_t deadline_ms;
    enum channel_fault fault;
    int system_error; /* errno behind the fault; 0: none */
    char reason[CHANNEL_REASON_MAX];

    struct buffer output;        /* the request */
    struct channel_files *files; /* where descriptors go that come; NULL: nowhere */

    /* private */
    int (*interrupted)(void *user); /* NULL: none */
    void *interrupted_user;
    bool is_local;          /* a Unix socket */
    bool was_reset;         /* by the other end, while a reply was awaited */
    int receive_timeout_ms; /* of a receive that blocks; 0: none does */
    bool stopped;           /* the system takes nothing more of the request */
    size_t sent;            /* of the output */
    struct buffer input;
    size_t taken; /* of the input: was returned to the caller */
    struct tls_session *tls;
};

/* A closed channel. */
void channel_init(struct channel *channel, int (*interrupted)(void *user), void *interrupted_user);

/* Connects, and shakes hands in TLS if `tls` is not NULL, before the deadline. */
bool channel_open(struct channel *channel, const struct url *url, struct tls *tls,
                  uint64_t deadline_ms);

/* Of an open channel: most waits for a reply will be this long, if none comes. Such a wait then
 * costs one system call, and not three. */
void channel_expect_timeout(struct channel *channel, int timeout_ms);

/* Closes; the buffers stay. Tells the other end (in TLS) if there was no fault. */
void channel_close(struct channel *channel);

/* In a child of a fork: closes this process's end, and says nothing on it. */
void channel_abandon(struct channel *channel);

/* Frees the buffers of a closed channel. */
void channel_finish(struct channel *channel);

/* Frees buffers that one large request has made large. */
void channel_trim(struct channel *channel);

/* Whether there is something to read, or an end: between two requests, both mean that the channel
 * is of no more use. */
bool channel_is_readable(const struct channel *channel);

/* A request begins, to be appended to the output. Forgets what came before. */
void channel_begin(struct channel *channel, uint64_t deadline_ms);

/* Append to the request. If memory is short, that is a fault. */
void channel_put(struct channel *channel, const void *data, size_t size);
void channel_put_string(struct channel *channel, const char *string);
void channel_put_number(struct channel *channel, uint64_t number);

/* Sends as much of the request as needs no wait. False after a fault. */
bool channel_start(struct channel *channel);

/* The next line, without its end, with a zero behind it; valid until the next receive. False after
 * a fault. */
bool channel_take_line(struct channel *channel, struct bytes *line);

/* The next `size` bytes, in place: for short ones. Valid until the next receive. */
bool channel_take(struct channel *channel, size_t size, const char **data);

/* The next `size` bytes, copied. `to` NULL: thrown away. */
bool channel_copy(struct channel *channel, char *to, size_t size);

/* False if more came than was taken. */
bool channel_is_drained(const struct channel *channel);

/* What came is not of the protocol. Returns false. */
bool channel_refuse(struct channel *channel, const char *reason);

/* How much of the request was sent, if the channel broke. */
enum channel_sent channel_sent(const struct channel *channel);

/* Sleeps, before the deadline. False if `interrupted` says so. */
bool channel_pause(struct channel *channel, unsigned pause_ms);

#endif
