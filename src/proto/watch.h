/* watch: a connection that receives a line for each event of a pool's items and connections.
 *
 *     any thread --watch_tell--> queue of each watcher --watch_resume--> its connection's replies
 *                                (bounded)        \--wake--> net/ calls proto_process
 *
 * No thread waits for a watcher. A line that does not fit the queue is left out, and a line before
 * the next one says how many were left out. net/ closes a watcher that reads nothing, like any
 * other client. Each pool has one lock; an event takes the lock only if some client watches such
 * events. */
#ifndef STAYD_PROTO_WATCH_H
#define STAYD_PROTO_WATCH_H

#include "proto/request.h"

enum {
    WATCH_MAX = 20,                /* watchers of one pool, as in memcached */
    WATCH_QUEUE_BYTES = 256 << 10, /* lines that wait until a watcher reads them */
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

/* Call it when there are no watchers any more. Accepts NULL. */
void watch_destroy(struct watch *watch);

/* Removes the watcher; its `wake` is not called after this. Accepts NULL. */
void watch_leave(struct watcher *watcher);

/* Adds a line to the queue of each watcher of this kind (enum event_kind): the time, a running
 * number, `text` and a line end. */
void watch_tell(struct proto_service *service, unsigned kind, struct bytes text);

struct watch_stats {
    uint64_t watchers;
    uint64_t sent;
    uint64_t skipped;
};

struct watch_stats watch_get_stats(struct watch *watch);

#endif
