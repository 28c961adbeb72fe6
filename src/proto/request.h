/* What the commands of the text protocol share: the request at hand and how one ends. Inside proto/
 * only. A handler is called with the line's name read; it reads the other words from `line`, writes
 * its reply and says how it ended.
 *
 *     input: |set key 0 0 5\r\n|hello\r\n|get key\r\n
 *             ^start            ^next             ^end
 *
 * `next` stands behind the line when the handler is called. One that takes more, or less, moves it.
 */
#ifndef STAYD_PROTO_REQUEST_H
#define STAYD_PROTO_REQUEST_H

#include "proto/line.h"
#include "proto/proto.h"

enum request_end {
    REQUEST_DONE,       /* answered; the following request begins at `next` */
    REQUEST_WAITS,      /* nothing is done yet: it needs `wanted` bytes, counted from `start` */
    REQUEST_NEEDS_ROOM, /* nothing is done yet, or nothing before `start`: the pool has no room. To
                         * be run again from there. */
    REQUEST_PAUSED,  /* some of its keys are answered: go on at `next` once the replies are sent */
    REQUEST_LOGIN,   /* the connection's `login` is to be judged before the following request */
    REQUEST_RELOADS, /* the connection's `reload` has to end before it is answered (general.h) */
    REQUEST_WATCHES, /* answered, and from now on the connection has a watcher and only listens */
    REQUEST_CLOSES,  /* answered, and the connection ends */
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
    struct line line; /* what is unread of the line, without its line end */
    size_t wanted;
    bool noreply; /* classic commands: say nothing, not even of an error */
};

/* Whether there is enough to send, or enough has been done for one turn: the rest comes later. */
static inline bool request_should_pause(const struct request *request) {
    return request->replies->size >= PROTO_REPLY_BATCH ||
           request->thread->work_bytes >= request->connection->turn_work;
}

/* `variant` tells the commands apart that share a handler. */
typedef enum request_end request_handler(struct request *request, unsigned variant);

/* Reads what may stand behind the last word that the command needs, `last`. False: more than one
 * word, and the line is no request. A final "noreply" silences the command, also where it stands in
 * a needed word's place; any other word there is passed over. All as memcached has it. */
bool request_read_rest(struct request *request, struct bytes last);

#endif
