/* Bringing a persistent pool's data to the disk, on a thread of its own.
 *
 *   fsync = no        the thread does not run; the janitor syncs what it moves
 *   fsync = everysec  one sync a second, if anything was written
 *   fsync = always    a sync as soon as somebody waits for one; it serves all who wrote
 *                     before it began (group commit)
 *
 *     writer 1   write, ticket 7 .......................... durable
 *     writer 2        write, ticket 7 ..................... durable
 *     writer 3             write, ticket 8 ........................................ durable
 *     thread     ---6 begun---ended--|--7 begun------ended--|--8 begun--------ended--|
 *
 * Syncs are numbered. A ticket is the number of a sync that begins after the write.
 *
 * With always, no reply may rest on what a power cut could take back, be it the reply to a write,
 * or one that says what others wrote: a value that is read, an item that is not there because
 * somebody has just deleted it, an add that finds one. So a reply waits as well if it is about a
 * record with a sequence above pool.durable_sequence, or about no record while the last removal is
 * above it (pool_note_rest); unless all that was written has been synced meanwhile. Once a pool is
 * read-only nothing becomes durable any more, and it goes on to serve what it has.
 *
 * With everysec replies go at once, unless the disk is so slow that more than SYNC_LAG_MAX_S would
 * be at stake: then they wait as with always, until it has caught up. They wait as well, for a sync
 * that begins at once, after a thread has written `ahead_bytes` since the last one began: a process
 * that writes without bound into the system's cache is stopped by the system where it writes, and
 * with it every client that its thread serves.
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
    uint64_t ahead_bytes; /* that a thread may write between two syncs, with everysec */
    pthread_mutex_t lock;
    pthread_cond_t wake;        /* somebody waits, all have come that are expected, or stop */
    bool stop;                  /* under lock */
    void (*notify)(void *);     /* under lock, also while it runs */
    void *notify_context;       /* under lock */
    _Atomic bool dirty;         /* something was written since the last sync began */
    _Atomic uint64_t wanted;    /* the highest ticket given out */
    _Atomic uint64_t begun;     /* the number of the last sync that has begun, */
    _Atomic uint64_t ended;     /* and of the last that has ended well */
    _Atomic uint64_t began_ms;  /* monotonic; 0: none is under way */
    _Atomic uint64_t clean_ms;  /* monotonic: all that was written until then is on the disk */
    _Atomic unsigned waiting;   /* tickets for the next sync */
    _Atomic unsigned gather_at; /* the next sync begins when so many tickets wait; 0: at once */
    _Atomic uint64_t count;

    /* only its thread touches these */
    uint64_t complete_sequence; /* records up to this one are whole, */
    uint64_t pending_sequence;  /* and up to this one once the period has passed (grace.h) */
    uint64_t pending_period;    /* 0: none is pending */
    unsigned released;          /* tickets that the last sync covered, */
    unsigned left;              /* and tickets that came too late for it */
    uint64_t gather_until_ns;   /* monotonic: until then the next sync waits for the clients that
                                    were released */
    unsigned unasked;           /* so many syncs begin without waiting for them */
};

/* Starts the thread, if the pool's options ask for one. False if the system refuses. */
bool sync_start(struct pool *pool);

/* Accepts one that never started. */
void sync_stop(struct pool *pool);

/* Something was written. Any thread, after the write. */
static inline void sync_note_write(struct sync *sync) {
    /* Read first, so that the line stays shared. seq_cst, as the exchange in sync_main: the mark is
     * either seen by that exchange, whose sync then covers the write, or stays for the next one. */
    if (!atomic_load(&sync->dirty)) {
        atomic_store(&sync->dirty, true);
    }
}

/* Whether a reply must wait although the policy is everysec. */
bool sync_is_behind(const struct sync *sync);

/* The age of the oldest write that is not on the disk, in milliseconds; 0: there is none, or the
 * pool is not synced (fsync = no). */
uint64_t sync_lag_ms(const struct sync *sync);

#endif
