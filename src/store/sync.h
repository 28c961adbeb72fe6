/* Writes a persistent pool's data to the disk, on a thread of its own.
 *
 *   fsync = no        the thread does not run; the janitor syncs what it moves
 *   fsync = everysec  one sync a second, if anything was written
 *   fsync = always    a sync as soon as a reply waits for one; it covers every write from
 *                     before it began (group commit)
 *
 *     writer 1   write, ticket 7 .......................... durable
 *     writer 2        write, ticket 7 ..................... durable
 *     writer 3             write, ticket 8 ........................................ durable
 *     thread     ---6 begun---ended--|--7 begun------ended--|--8 begun--------ended--|
 *
 * Syncs are numbered. A ticket is the number of a sync that begins after the write.
 *
 * With always, no reply may depend on a write that a power cut could undo. This holds for the reply
 * to a write, and for a reply that shows what another client wrote: a value that is read, an item
 * that is missing because another client has just deleted it, an add that finds an item. So a reply
 * about a record waits if the record's sequence is above the index's durable_sequence; a reply that
 * there is no item waits if the last removal's sequence is above the index's durable_sequence
 * (pool_note_rest). Neither waits if everything written has been synced meanwhile. When a pool has
 * become read-only, nothing becomes durable any more, and replies no longer wait.
 *
 * With everysec, replies do not wait, with two exceptions. If the disk is so slow that a power cut
 * could take more than SYNC_LAG_MAX_S of writes, replies wait as with always until the disk has
 * caught up. And when a thread has written `ahead_bytes` since the last sync began, its replies
 * wait for a sync that begins at once: the kernel stops a thread that writes too far ahead of the
 * disk, and with the thread every client that it serves.
 */
#ifndef STAYD_STORE_SYNC_H
#define STAYD_STORE_SYNC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pool;

enum { SYNC_LAG_MAX_S = 2 };

struct sync {
    /* private */
    pthread_t thread;
    bool running;
    uint64_t ahead_bytes; /* everysec: how much a thread may write between two syncs */
    pthread_mutex_t lock;
    pthread_cond_t wake;        /* a ticket waits, all expected tickets wait, or stop */
    bool stop;                  /* under lock */
    void (*notify)(void *);     /* under lock, also while it runs */
    void *notify_context;       /* under lock */
    _Atomic bool dirty;         /* something was written since the last sync began */
    _Atomic uint64_t wanted;    /* the highest ticket given out */
    _Atomic uint64_t begun;     /* the number of the last sync that has begun */
    _Atomic uint64_t ended;     /* the number of the last sync that has succeeded */
    _Atomic uint64_t began_ms;  /* monotonic: when the current sync began; 0: none runs */
    _Atomic uint64_t clean_ms;  /* monotonic: all that was written until then is on the disk */
    _Atomic unsigned waiting;   /* how many tickets for the next sync were given out */
    _Atomic unsigned gather_at; /* the next sync begins when so many tickets wait; 0: at once */
    _Atomic uint64_t count;

    /* used by the sync thread only */
    uint64_t complete_sequence; /* records up to this sequence are whole */
    uint64_t pending_sequence;  /* so are records up to this one, when pending_period has passed */
    uint64_t pending_period;    /* a grace period (grace.h); 0: none */
    unsigned released;          /* tickets that the last sync covered */
    unsigned left;              /* tickets that came too late for the last sync */
    uint64_t gather_until_ns;   /* monotonic: until then the next sync waits for the clients that
                                    were released */
    unsigned unasked;           /* so many syncs begin without waiting for these clients */
};

/* Starts the thread, if the pool's options ask for one. False if the system refuses. */
bool sync_start(struct pool *pool);

/* Ends the thread. Accepts a pool whose thread never started. */
void sync_stop(struct pool *pool);

/* Called after each write, by any thread. */
static inline void sync_note_write(struct sync *sync) {
    /* Read first, so that the line stays shared. seq_cst, as the exchange in sync_main: the mark is
     * either seen by that exchange, whose sync then covers the write, or stays for the next one. */
    if (!atomic_load(&sync->dirty)) {
        atomic_store(&sync->dirty, true);
    }
}

/* The age of the oldest write that is not on the disk, in milliseconds; 0: there is none, or the
 * pool is not synced (fsync = no). */
uint64_t sync_lag_ms(const struct sync *sync);

#endif
