/* A server's pool as it is mapped into this process, if it is: reads without a system call. What
 * can be believed of it is store/reader.h's; here it is who may read while a mapping comes or goes.
 *
 *     current ---> view              a reader pins the view that it has found here, if it is still
 *     views   ---> view ---> view    here then; a view that nobody has pinned can be unmapped
 *
 * A view's struct lives as long as the mapping, so that a late reader finds it. Any thread may call
 * anything but mapping_init, mapping_renew and mapping_finish. */
#ifndef STAYD_LIB_MAPPING_H
#define STAYD_LIB_MAPPING_H

#include "base/bytes.h"
#include "stayd.h"
#include "store/lookup_view.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { MAPPING_FILES = 2 /* the data's descriptor, and the index's */ };

enum mapping_outcome {
    MAPPING_HIT,  /* the value is the item's */
    MAPPING_MISS, /* there is no such item, if the server confirms that */
    MAPPING_ASK   /* ask the server */
};

struct mapping_view {
    struct lookup_view view;
    _Atomic unsigned pins;
    struct sockaddr_un from; /* the Unix socket that has handed it out; zeroed: not known */

    /* private, under the mapping's lock */
    void *places[MAPPING_FILES]; /* NULL: no longer mapped */
    size_t sizes[MAPPING_FILES];
    struct mapping_view *next;
};

struct mapping {
    /* private */
    _Atomic(struct mapping_view *) current; /* NULL: none */
    bool is_wanted;                         /* never changes */
    _Atomic uint64_t ask_after_ms;          /* no connection asks before this time */
    _Atomic uint64_t look_after_ms; /* while no daemon keeps the pool: when to look for one; 0: one
                                     * does */
    pthread_mutex_t lock;           /* of the views */
    struct mapping_view *views;
};

/* `is_wanted` false: there will never be one. */
void mapping_init(struct mapping *mapping, bool is_wanted);

/* Accepts a zeroed mapping. */
void mapping_finish(struct mapping *mapping);

/* In a child of a fork, before any thread uses the mapping there. What was mapped stays so. */
void mapping_renew(struct mapping *mapping);

/* Reads an item. Makes no system call unless memory is to be allocated for the value; or no daemon
 * keeps the pool: then one call every two seconds, which does not wait, looks whether a daemon
 * answers. That daemon may have other data: somebody may have moved the pool's file away. */
enum mapping_outcome mapping_get(struct mapping *mapping, struct bytes key,
                                 struct stayd_value *value);

/* Whether a connection that is being opened should ask the server for its mappings. */
bool mapping_should_ask(const struct mapping *mapping);

/* The server has sent these descriptors, over this Unix socket. They are closed. What cannot be
 * used is as if refused. */
void mapping_attach(struct mapping *mapping, const int files[MAPPING_FILES], int socket_fd);

/* The server has none for this process: it is not asked for a while. */
void mapping_refused(struct mapping *mapping);

#endif
