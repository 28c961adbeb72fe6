#include "proto/watch.h"

#include "proto/event.h"
#include "proto/reply.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    WATCH_KINDS =
        EVENT_FETCHERS | EVENT_MUTATIONS | EVENT_EVICTIONS | EVENT_CONNECTIONS | EVENT_DELETIONS,
    WATCH_HEAD_MAX = 80, /* ts=... gid=..., or skipped=... */
    WATCH_TAKE_BYTES = 64 << 10,
};

struct watcher {
    struct proto_service *service;
    unsigned kinds;
    void (*wake)(void *context);
    void *wake_context;
    uint64_t skipped; /* lines left out since the last one that fitted */
    size_t first;     /* the place of the oldest byte in `queue` */
    size_t size;
    char queue[WATCH_QUEUE_BYTES];
};

struct watch {
    pthread_mutex_t lock; /* protects the fields below, and the watchers' queues */
    struct watcher *watchers[WATCH_MAX];
    struct watch_stats stats;
    uint64_t lines; /* lines reported so far: memcached's gid */
};

struct watch *watch_create(void) {
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch != NULL) {
        pthread_mutex_init(&watch->lock, NULL);
    }
    return watch;
}

void watch_destroy(struct watch *watch) {
    if (watch != NULL) {
        pthread_mutex_destroy(&watch->lock);
        free(watch);
    }
}

/* The caller has the lock. Publishes the kinds of events that some client watches. */
static void watch_publish_kinds(struct proto_service *service) {
    unsigned kinds = 0;
    for (unsigned i = 0; i < WATCH_MAX; i++) {
        kinds |= service->watch->watchers[i] != NULL ? service->watch->watchers[i]->kinds : 0;
    }
    atomic_fetch_or(&service->observed, kinds);
    atomic_fetch_and(&service->observed, kinds | ~(unsigned)WATCH_KINDS);
}

static struct watcher *watch_join(struct proto_connection *connection, unsigned kinds) {
    struct watch *watch = connection->service->watch;
    struct watcher *watcher = malloc(sizeof *watcher);
    if (watcher == NULL) {
        return NULL;
    }
    watcher->service = connection->service;
    watcher->kinds = kinds;
    watcher->wake = connection->wake;
    watcher->wake_context = connection->wake_context;
    watcher->skipped = 0;
    watcher->first = 0;
    watcher->size = 0;
    unsigned place = 0;
    pthread_mutex_lock(&watch->lock);
    while (place < WATCH_MAX && watch->watchers[place] != NULL) {
        place++;
    }
    if (place < WATCH_MAX) {
        watch->watchers[place] = watcher;
        watch->stats.watchers++;
        watch_publish_kinds(connection->service);
    }
    pthread_mutex_unlock(&watch->lock);
    if (place == WATCH_MAX) {
        free(watcher);
        return NULL;
    }
    return watcher;
}

void watch_leave(struct watcher *watcher) {
    if (watcher == NULL) {
        return;
    }
    struct watch *watch = watcher->service->watch;
    pthread_mutex_lock(&watch->lock);
    for (unsigned i = 0; i < WATCH_MAX; i++) {
        if (watch->watchers[i] == watcher) {
            watch->watchers[i] = NULL;
            watch->stats.watchers--;
        }
    }
    watch_publish_kinds(watcher->service);
    pthread_mutex_unlock(&watch->lock);
    free(watcher);
}

/* The caller has the lock, and has checked that there is room. */
static void watcher_push(struct watcher *watcher, const char *data, size_t size) {
    size_t at = (watcher->first + watcher->size) % WATCH_QUEUE_BYTES;
    size_t front = WATCH_QUEUE_BYTES - at < size ? WATCH_QUEUE_BYTES - at : size;
    memcpy(watcher->queue + at, data, front);
    memcpy(watcher->queue, data + front, size - front);
    watcher->size += size;
}

/* Adds the line to the watcher's queue, or counts it as skipped. The caller has the lock. */
static void watcher_hear(struct watch *watch, struct watcher *watcher, const char *line,
                         size_t size) {
    if (WATCH_QUEUE_BYTES - watcher->size < size + WATCH_HEAD_MAX) {
        watcher->skipped++;
        watch->stats.skipped++;
        return;
    }
    bool was_empty = watcher->size == 0;
    if (watcher->skipped > 0) {
        char skipped[WATCH_HEAD_MAX];
        int length = snprintf(skipped, sizeof skipped, "skipped=%" PRIu64 "\n", watcher->skipped);
        watcher_push(watcher, skipped, (size_t)length);
        watcher->skipped = 0;
    }
    watcher_push(watcher, line, size);
    watch->stats.sent++;
    if (was_empty && watcher->wake != NULL) {
        watcher->wake(watcher->wake_context);
    }
}

void watch_tell(struct proto_service *service, unsigned kind, struct bytes text) {
    struct watch *watch = service->watch;
    struct timespec now;
    char line[WATCH_HEAD_MAX + WATCH_LINE_MAX];
    assert(text.size < WATCH_LINE_MAX);
    clock_gettime(CLOCK_REALTIME, &now);
    pthread_mutex_lock(&watch->lock);
    /* As in memcached, the microseconds are not padded. */
    int head = snprintf(line, WATCH_HEAD_MAX, "ts=%lld.%ld gid=%" PRIu64 " ", (long long)now.tv_sec,
                        now.tv_nsec / 1000, ++watch->lines);
    size_t size = (size_t)head;
    memcpy(line + size, text.data, text.size);
    size += text.size;
    line[size++] = '\n';
    for (unsigned i = 0; i < WATCH_MAX; i++) {
        if (watch->watchers[i] != NULL && (watch->watchers[i]->kinds & kind) != 0) {
            watcher_hear(watch, watch->watchers[i], line, size);
        }
    }
    pthread_mutex_unlock(&watch->lock);
}

struct watch_stats watch_get_stats(struct watch *watch) {
    pthread_mutex_lock(&watch->lock);
    struct watch_stats stats = watch->stats;
    pthread_mutex_unlock(&watch->lock);
    return stats;
}

/* Reads the kinds: fetchers, mutations, evictions, connevents, deletions; none means fetchers.
 * memcached's other kinds (rawcmds, sysevents, and those of its proxy) are accepted, but have no
 * lines. False: an unknown word. */
static bool watch_read_kinds(struct request *request, unsigned *kinds) {
    static const struct {
        const char *name;
        unsigned kind;
    } names[] = {
        {"fetchers", EVENT_FETCHERS},
        {"mutations", EVENT_MUTATIONS},
        {"evictions", EVENT_EVICTIONS},
        {"connevents", EVENT_CONNECTIONS},
        {"deletions", EVENT_DELETIONS},
        {"rawcmds", 0},
        {"sysevents", 0},
        {"proxyreqs", 0},
        {"proxyevents", 0},
        {"proxyuser", 0},
    };
    enum { NAMES = sizeof names / sizeof names[0] };
    struct bytes word;
    bool any = false;
    *kinds = 0;
    while (line_next(&request->line, &word)) {
        unsigned i = 0;
        while (i < NAMES && !word_is(word, names[i].name)) {
            i++;
        }
        if (i == NAMES) {
            /* as in memcached, noreply suppresses this error too */
            request->noreply = word_is(line_last(&request->line, word), "noreply");
            return false;
        }
        *kinds |= names[i].kind;
        any = true;
    }
    if (!any) {
        *kinds = EVENT_FETCHERS;
    }
    return true;
}

enum request_end watch_run(struct request *request, unsigned variant) {
    (void)variant;
    struct proto_connection *connection = request->connection;
    unsigned kinds;
    if (connection->service->server->rights.watch_disabled) {
        reply_text(request, "CLIENT_ERROR watch commands not allowed\r\n");
        return REQUEST_DONE;
    }
    if (!watch_read_kinds(request, &kinds)) {
        reply_text(request, REPLY_ERROR);
        return REQUEST_DONE;
    }
    connection->watcher = watch_join(connection, kinds);
    if (connection->watcher == NULL) {
        reply_text(request, "WATCHER_TOO_MANY log watcher limit reached\r\n");
        return REQUEST_DONE;
    }
    reply_text(request, "OK\r\n"); /* lines stay in the queue until watch_resume */
    return REQUEST_WATCHES;
}

enum proto_next watch_resume(struct request *request) {
    struct watcher *watcher = request->connection->watcher;
    struct watch *watch = watcher->service->watch;
    request->next = request->end;
    request->wanted = 1;
    if (!reply_reserve(request->replies, WATCH_TAKE_BYTES)) {
        return PROTO_CLOSE;
    }
    pthread_mutex_lock(&watch->lock);
    size_t size = watcher->size < WATCH_TAKE_BYTES ? watcher->size : WATCH_TAKE_BYTES;
    size_t front = WATCH_QUEUE_BYTES - watcher->first;
    front = front < size ? front : size;
    reply_bytes(request->replies, watcher->queue + watcher->first, front);
    reply_bytes(request->replies, watcher->queue, size - front);
    watcher->first = (watcher->first + size) % WATCH_QUEUE_BYTES;
    watcher->size -= size;
    bool more = watcher->size > 0;
    pthread_mutex_unlock(&watch->lock);
    return more ? PROTO_FLUSH : PROTO_READ;
}
