/* Writes a persistent pool's data to the disk, on a thread of its own.
 *
 *   fsync = no        the thread does not run; the janitor syncs what it moves
 *   fsync = everysec  one sync a second, if anything was written
 *   fsync = always    a sync as soon as a reply waits for one; the sync covers every write that
 *                     was made before the sync began (group commit)
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
 * (sync_note_rest). Neither waits if everything written has been synced meanwhile. When a sync has
 * failed, nothing becomes durable any more, and replies no longer wait.
 *
 * With everysec, replies do not wait, with two exceptions. If the disk is so slow that a power cut
 * could take more than SYNC_LAG_MAX_S of writes, replies wait as with always until the disk has
 * caught up. And when a thread has written `ahead_bytes` since the last sync began, its replies
 * wait for a sync that begins at once: the kernel stops a thread that writes too far ahead of the
 * disk, and with the thread every client that it serves.
 */
#ifndef STAYD_STORE_SYNC_H
#define STAYD_STORE_SYNC_H

#include "base/status.h"
#include "store/lookup_view.h"
#include "store/pool.h"
#include "store/positions.h"
#include "store/record.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SYNC_LAG_MAX_S = 2 };

/* What the syncs need to know of the pool. */
struct sync_pool {
    int file; /* the data file; -1: the pool is volatile, and nothing is ever synced */
    enum pool_fsync fsync;
    struct grace *grace;
    const struct lookup_view *view; /* syncs read index->sequence and write durable_sequence */

    struct positions *positions; /* of a replicated pool */

    /* Called once, by the thread whose sync has failed, when `failed` is set already. */
    void (*on_failure)(void *context, int error_number);
    void *context;
};

/* What one thread has written and read since its last ticket; used by that thread only. */
struct sync_thread {
    bool unsynced;          /* the thread has written */
    bool rests;             /* the thread has read a record that may not be on the disk yet */
    bool rests_on_touch;    /* the same for an expiry that was changed in place */
    uint64_t written_bytes; /* since the sync `written_sync` began */
    uint64_t written_sync;
};

struct sync {
    /* private */
    struct sync_pool pool;
    pthread_mutex_t file_lock; /* one fdatasync at a time; taken after any other lock */
    _Atomic bool failed; /* a sync has failed: the pool is read-only, and never synced again */
    _Atomic uint64_t removed_sequence; /* fsync = always: of the last record that removed an item */
    pthread_t thread;
    bool running;
    uint64_t ahead_bytes; /* everysec: how much a thread may write between two syncs */
    pthread_mutex_t lock;
    pthread_cond_t wake;        /* a ticket waits, all expected tickets wait, or `stop` is set */
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
    _Atomic unsigned gather_at; /* the next sync begins when this many tickets wait; 0: at once */
    _Atomic uint64_t count;

    /* used by the sync thread only */
    uint64_t complete_sequence; /* records up to this sequence are whole */
    uint64_t pending_sequence;  /* the same, as soon as pending_period has passed */
    uint64_t pending_period;    /* a grace period (grace.h); 0: none */
    unsigned released;          /* tickets that the last sync covered */
    unsigned left;              /* tickets that came too late for the last sync */
    uint64_t gather_until_ns;   /* monotonic: until then the next sync waits for the clients that
                                    were released */
    unsigned unasked;           /* how many of the next syncs do not wait for these clients */
};

/* Prepares the struct; sync_now may be called from here on. */
void sync_init(struct sync *sync, const struct sync_pool *pool);

/* Accepts a zeroed struct. Called after sync_stop. */
void sync_finish(struct sync *sync);

/* Writes the file's data to the disk, on the calling thread. False: this sync or an earlier one has
 * failed. */
bool sync_now(struct sync *sync);

/* Starts the thread, if the pool's policy needs a thread. Everything written so far has been
 * synced. False if the system refuses. */
bool sync_start(struct sync *sync);

/* Ends the thread. Accepts a struct whose thread never started. */
void sync_stop(struct sync *sync);

/* Sets what the thread calls after each sync (pool_set_sync_notify). */
void sync_set_notify(struct sync *sync, void (*notify)(void *context), void *context);

/* The policy's answer to "when may the reply be sent": see pool_take_ticket, pool_check_ticket. */
uint64_t sync_take_ticket(struct sync *sync, struct sync_thread *thread);
enum status sync_check_ticket(const struct sync *sync, uint64_t ticket);

/* Called after each write, by any thread. */
static inline void sync_note_write(struct sync *sync) {
    /* Read first, so that the line stays shared. seq_cst, as the exchange in sync_once: either that
     * exchange sees the mark, and its sync covers the write; or the mark stays for the next sync.
     */
    if (!atomic_load(&sync->dirty)) {
        atomic_store(&sync->dirty, true);
    }
}

/* A thread has written `size` bytes for a client: its next reply waits if the policy says so. Does
 * nothing in a volatile pool. */
void sync_note_client_write(struct sync *sync, struct sync_thread *thread, size_t size);

/* The thread's next reply shows the record with this sequence. With fsync = always the reply waits
 * until the record is on the disk, as the reply to the write does (invariant 8). */
static inline void sync_note_rest(const struct sync *sync, struct sync_thread *thread,
                                  uint64_t sequence) {
    /* relaxed: an earlier value makes the reply wait when it need not */
    if (sequence >
        atomic_load_explicit(&sync->pool.view->index->durable_sequence, memory_order_relaxed)) {
        thread->rests = true;
    }
}

/* The same for a record that was read. If its expiry was changed in place, that change can be seen
 * before it is noted in `dirty` (change_in_place). So the reply waits for a sync that has not begun
 * yet. */
static inline void sync_note_record(const struct sync *sync, struct sync_thread *thread,
                                    const struct record *record) {
    sync_note_rest(sync, thread, record->sequence);
    if (layout_touch_is_new(sync->pool.view->index, record->touch_sequence)) {
        thread->rests = true;
        thread->rests_on_touch = true;
    }
}

/* The thread's next reply says that there is no item. The item may have been removed just now. */
static inline void sync_note_missing(const struct sync *sync, struct sync_thread *thread) {
    /* relaxed: the removal was noted under the bucket's lock, before the slot was removed */
    sync_note_rest(sync, thread,
                   atomic_load_explicit(&sync->removed_sequence, memory_order_relaxed));
}

/* Called before the record with this sequence removes an item, under its bucket's lock. */
static inline void sync_note_removal(struct sync *sync, uint64_t sequence) {
    if (sync->pool.fsync != POOL_FSYNC_ALWAYS) {
        return;
    }
    uint64_t before = atomic_load(&sync->removed_sequence);
    while (before < sequence &&
           !atomic_compare_exchange_weak(&sync->removed_sequence, &before, sequence)) {
    }
}

/* Whether a sync has failed. */
static inline bool sync_has_failed(const struct sync *sync) {
    return atomic_load(&sync->failed);
}

/* The age of the oldest write that is not on the disk, in milliseconds; 0: there is none, or the
 * thread does not run (fsync = no). */
uint64_t sync_lag_ms(const struct sync *sync);

#endif
