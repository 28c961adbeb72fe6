/* watch: a connection that is told, line by line, what happens to a pool's items and connections.
 *
 *     any thread --watch_tell--> queue of each watcher --watch_resume--> its connection's replies
 *                                (bounded)        \--wake--> net/ calls proto_process
 *
 * Nobody waits for a watcher. A line that does not fit its queue is left out, and the next one that
 * does comes behind a line that says how many were. A client that takes nothing at all is closed by
 * net/ as others are. One lock a pool, which nobody takes while nobody watches.
 */
#ifndef STAYD_PROTO_WATCH_H
#define STAYD_PROTO_WATCH_H

#include "proto/request.h"

enum {
    WATCH_MAX = 20,                /* watchers of one pool, as with memcached */
    WATCH_QUEUE_BYTES = 256 << 10, /* of lines that a watcher has not taken */
    WATCH_LINE_MAX = 1200,         /* a key in which each byte takes three, and the rest */
};

struct watch;
struct watcher;

request_handler watch_run;

/* Takes what is there for the watcher of this connection; what the client sends is passed over. */
enum proto_next watch_resume(struct request *request);

/* NULL if memory is short. */
struct watch *watch_create(void);

/* No watcher is left. Accepts NULL. */
void watch_destroy(struct watch *watch);

/* The connection is no watcher any more; its `wake` is not called after this. Accepts NULL. */
void watch_leave(struct watcher *watcher);

/* Tells a line to those who want to know of this kind (enum event_kind): `text` without time and
 * number, which are put in front, and without its end. */
void watch_tell(struct proto_service *service, unsigned kind, struct bytes text);

struct watch_stats {
    uint64_t watchers;
    uint64_t sent;
    uint64_t skipped;
};

struct watch_stats watch_get_stats(struct watch *watch);

#endif
