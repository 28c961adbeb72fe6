/* A request, and how it ends. Inside proto/ only. In the text protocol, a handler is called after
 * the command's name has been read. It reads the other words from `line`, writes the reply, and
 * returns how the request ended.
 *
 *     input: |set key 0 0 5\r\n|hello\r\n|get key\r\n
 *             ^start            ^next             ^end
 *
 * `next` is behind the line when the handler is called. A handler that consumes more or less than
 * the line moves `next`. */
#ifndef STAYD_PROTO_REQUEST_H
#define STAYD_PROTO_REQUEST_H

#include "base/clock.h"
#include "proto/line.h"
#include "proto/proto.h"

enum request_end {
    REQUEST_DONE,  /* answered; the next request begins at `next` */
    REQUEST_WAITS, /* nothing has been done: the request needs `wanted` bytes from `start` on */
    REQUEST_NEEDS_ROOM, /* nothing from `start` on has been done: the pool has no room. Run it again
                         * from there. */
    REQUEST_PAUSED,     /* a part is answered: send the replies, then continue at `next` */
    REQUEST_LOGIN,      /* the connection's `login` must be checked before the next request */
    REQUEST_RELOADS,    /* the reply follows when the connection's `reload` has ended (general.h) */
    REQUEST_WATCHES,    /* answered; the connection has a watcher from now on */
    REQUEST_CLOSES, /* answered; close the connection, once the client has closed its side too */
    REQUEST_QUITS,  /* the client asks for the end: close as soon as the replies are sent */
    REQUEST_ABORTS, /* the same, but because of an error */
};

struct request {
    struct proto_connection *connection;
    struct proto_progress *progress; /* the connection's */
    struct pool *pool;               /* the connection's */
    struct store_thread *thread;
    struct buffer *replies;
    const char *start;
    const char *next;
    const char *end;
    struct line line; /* the unread part of the line, without its line end */
    size_t wanted;
    bool noreply; /* classic commands: no reply, not even an error */
};

/* Whether the request should pause, to be continued later: there is much to send, or the turn is
 * over. */
static inline bool request_should_pause(const struct request *request) {
    return request->replies->size >= PROTO_REPLY_BATCH ||
           request->thread->work_bytes >= request->connection->turn_work;
}

/* Whether to measure this request, as one of LATENCY_EVERY: the running number wraps at
 * LATENCY_EVERY. */
static inline bool request_is_measured(const struct request *request) {
    return request->progress->requests++ == 0;
}

/* Counts the time of a request that began at `began_ns`, if the request is answered. If it must run
 * again (its value has not arrived, or the pool has no room), its next run is measured. Without
 * that rule, the sets of a client that always sends the value after the line would never be
 * counted. */
static inline void request_note_latency(const struct request *request, enum latency_command command,
                                        uint64_t began_ns, enum request_end end) {
    if (end == REQUEST_DONE) {
        latency_add(&request->connection->service->latency, command,
                    clock_monotonic_ns() - began_ns);
    } else {
        request->progress->requests = 0;
    }
}

/* `variant` distinguishes the commands that share a handler. */
typedef enum request_end request_handler(struct request *request, unsigned variant);

/* Reads what follows `last`, the last word that the command needs. A final "noreply" suppresses the
 * replies, even if it stands in the place of a needed word. Other words are ignored. All as in
 * memcached. */
void request_read_noreply(struct request *request, struct bytes last);

/* The same, for commands with a value. False: more than one word follows, so the line is not
 * valid. */
bool request_read_rest(struct request *request, struct bytes last);

#endif
