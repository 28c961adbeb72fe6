/* The mappings of a server's pool in this process, for reads without a system call. store/reader.h
 * checks whether the data that was read is valid; this file keeps a mapping while a thread reads
 * from it.
 *
 *     current ---> view              a reader pins the current view, then checks that it is still
 *     views   ---> view ---> view    current; a view that no reader has pinned can be unmapped
 *     slots   ---> view or NULL      a pin: one atomic change, and a plain store to end it. Threads
 *                                    begin at different slots, each in a cache line of its own
 *
 * The struct of a view is freed with the whole mapping, so that a late reader can still access it.
 * Any thread may call anything but mapping_init, mapping_renew and mapping_finish. */
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

enum {
    MAPPING_FILES = 2, /* the descriptor of the data, and of the index */
    MAPPING_SLOTS = 8  /* a power of two */
};

enum mapping_outcome {
    MAPPING_HIT,  /* the value is the item's */
    MAPPING_MISS, /* there is no such item; the server must confirm that */
    MAPPING_ASK   /* ask the server */
};

struct mapping_view {
    struct lookup_view view;
    _Atomic unsigned pins;   /* the number of readers that found no free slot */
    struct sockaddr_un from; /* the server's Unix socket; zeroed: unknown */

    /* private, under the mapping's lock */
    void *places[MAPPING_FILES]; /* NULL: no longer mapped */
    size_t sizes[MAPPING_FILES];
    struct mapping_view *next;
};

struct mapping_slot {
    _Atomic(struct mapping_view *) pinned; /* NULL: free */
    char padding[64 - sizeof(void *)];
};

struct mapping {
    /* private */
    struct mapping_slot slots[MAPPING_SLOTS];
    _Atomic(struct mapping_view *) current; /* NULL: none */
    bool is_wanted;                         /* never changes */
    _Atomic uint64_t ask_after_ms;          /* no connection asks for mappings before this time */
    _Atomic bool asks_again;                /* mapping_outdated was called since the last success */
    _Atomic uint64_t look_after_ms; /* while no daemon keeps the pool: when to look for a daemon; 0:
                                       a daemon keeps the pool */
    pthread_mutex_t lock;           /* protects the list of views */
    struct mapping_view *views;
};

/* `is_wanted` false: the pool is never mapped. */
void mapping_init(struct mapping *mapping, bool is_wanted);

/* Accepts a zeroed mapping. */
void mapping_finish(struct mapping *mapping);

/* Called in a child of a fork, before any thread uses the mapping there. Views that were mapped
 * stay mapped. */
void mapping_renew(struct mapping *mapping);

/* Reads an item. Makes no system call, with two exceptions: memory for the value is allocated; and
 * while no daemon keeps the pool, one call every two seconds, which does not wait, checks whether a
 * daemon answers. That daemon may have other data, if the pool's file was moved away. */
enum mapping_outcome mapping_get(struct mapping *mapping, struct bytes key,
                                 struct stayd_value *value);

/* Whether a connection that is being opened should ask the server for its mappings. */
bool mapping_should_ask(const struct mapping *mapping);

/* Maps the descriptors that the server has sent over this Unix socket, and closes them. If they
 * cannot be used, that counts as a refusal. If the server no longer uses them, or their index_id is
 * not `index_id` (0: any), they are outdated. */
void mapping_attach(struct mapping *mapping, const int files[MAPPING_FILES], uint64_t index_id,
                    int socket_fd);

/* Reports that the server refuses its mappings. It is not asked again for a minute. */
void mapping_refused(struct mapping *mapping);

/* Reports that the server has restarted while it was asked. The next read asks again, once; if that
 * fails too, this is as a refusal. */
void mapping_outdated(struct mapping *mapping);

#endif
