/* watch: a connection that receives a line for each event of a pool's items and connections.
 *
 *     any thread --watch_tell--> queue of each watcher --watch_resume--> its connection's replies
 *                                (bounded)        \--wake--> net/ calls proto_process
 *
 * No thread waits for a watcher. A line that does not fit the queue is left out, and a line before
 * the next one says how many were left out. net/ closes a client that reads nothing, as other
 * clients. One lock per pool, which no thread takes while there is no watcher. */
#ifndef STAYD_PROTO_WATCH_H
#define STAYD_PROTO_WATCH_H

#include "proto/request.h"

enum {
    WATCH_MAX = 20,                /* watchers of one pool, as in memcached */
    WATCH_QUEUE_BYTES = 256 << 10, /* of lines that a watcher has not read */
    WATCH_LINE_MAX = 1200,         /* a key with three characters for each byte, and the rest */
};

struct watch;
struct watcher;

request_handler watch_run;

/* Writes the lines for this connection's watcher to the replies. Requests of the client are
 * ignored. */
enum proto_next watch_resume(struct request *request);

/* NULL if memory is short. */
struct watch *watch_create(void);

/* There are no watchers any more. Accepts NULL. */
void watch_destroy(struct watch *watch);

/* Removes the watcher; its `wake` is not called after this. Accepts NULL. */
void watch_leave(struct watcher *watcher);

/* Adds a line to the queues of those that watch this kind (enum event_kind). `text` has neither the
 * time and number, which are added in front, nor a line end. */
void watch_tell(struct proto_service *service, unsigned kind, struct bytes text);

struct watch_stats {
    uint64_t watchers;
    uint64_t sent;
    uint64_t skipped;
};

struct watch_stats watch_get_stats(struct watch *watch);

#endif
