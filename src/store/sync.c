#include "store/sync.h"

#include "base/clock.h"
#include "store/data_file.h"
#include "store/grace.h"
#include "store/io.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

enum {
    SYNC_INTERVAL_MS = 1000, /* everysec: from the begin of a sync to the begin of the next */
    SYNC_GATHER_SHARE = 2,   /* the next sync waits at most half as long as the last sync took */
    SYNC_GATHER_MAX_MS = 100,
    SYNC_GRACE_POLLS = 10,      /* how often a sync waits for threads in the middle of a batch, */
    SYNC_GRACE_POLL_NS = 20000, /* and how long each time */
    SYNC_AHEAD_SHARE = 32,
    SYNC_AHEAD_MAX_BYTES = 512 << 20,
    SYNC_AHEAD_MIN_BYTES = 4 << 20,
    SYNC_UNASKED = 16, /* syncs that do not wait after a wait without result */
};

void sync_init(struct sync *sync, const struct sync_pool *pool) {
    *sync = (struct sync){.pool = *pool};
    pthread_mutex_init(&sync->file_lock, NULL);
}

void sync_finish(struct sync *sync) {
    pthread_mutex_destroy(&sync->file_lock);
}

/* Under file_lock. */
static bool sync_file(struct sync *sync) {
    if (sync_has_failed(sync)) {
        return false;
    }
    if (store_io_sync(sync->pool.file) != 0) {
        /* The kernel may have dropped what it could not write: a second fdatasync would report
         * success. */
        int error_number = errno;
        data_file_note_failed_sync(sync->pool.file);
        atomic_store(&sync->failed, true);
        sync->pool.on_failure(sync->pool.context, error_number);
        return false;
    }
    atomic_fetch_add(&sync->count, 1);
    return true;
}

bool sync_now(struct sync *sync) {
    store_assert_may_wait();
    /* The kernel reports an error only once: of two concurrent syncs, one would report success. */
    pthread_mutex_lock(&sync->file_lock);
    bool synced = sync_file(sync);
    pthread_mutex_unlock(&sync->file_lock);
    return synced;
}

static bool sync_is_asked_for(const struct sync *sync) {
    return atomic_load(&sync->wanted) > atomic_load(&sync->begun);
}

/* Waits until there is something to sync; false: the pool closes. Under sync->lock. */
static bool sync_wait(struct sync *sync, struct timespec *until) {
    while (!sync->stop) {
        if (sync_is_asked_for(sync)) {
            return true;
        }
        if (pthread_cond_timedwait(&sync->wake, &sync->lock, until) == ETIMEDOUT) {
            uint64_t now_ms = clock_monotonic_ms();
            if (atomic_load(&sync->dirty)) {
                return true;
            }
            atomic_store(&sync->clean_ms, now_ms);
            *until = clock_deadline(SYNC_INTERVAL_MS * UINT64_C(1000000));
        }
    }
    return false;
}

/* Clients whose replies a sync released usually write again at once. If the next sync began when
 * the first of them has written, the sync would cover only that write, and the others would wait
 * for two syncs. So the next sync waits until all of them have written, for at most a share of the
 * time that the last sync took. If most of them did not write, the next SYNC_UNASKED syncs do not
 * wait. Under sync->lock. */
static void sync_gather(struct sync *sync) {
    if (sync->unasked > 0) {
        sync->unasked--;
        return;
    }
    uint64_t now_ns = clock_monotonic_ns();
    unsigned expected = sync->left + sync->released;
    if (now_ns >= sync->gather_until_ns || atomic_load(&sync->waiting) >= expected) {
        return;
    }
    struct timespec until = clock_deadline(sync->gather_until_ns - now_ns);
    atomic_store(&sync->gather_at, expected);
    while (!sync->stop && atomic_load(&sync->waiting) < expected &&
           pthread_cond_timedwait(&sync->wake, &sync->lock, &until) != ETIMEDOUT) {
    }
    atomic_store(&sync->gather_at, 0);
    unsigned back = atomic_load(&sync->waiting) - sync->left;
    sync->unasked = back < (sync->released + 1) / 2 ? SYNC_UNASKED : 0;
}

/* Called after a sync, before its clients are notified: sets how long the next sync waits for the
 * next writes of these clients. */
static void sync_expect_back(struct sync *sync, uint64_t took_ns) {
    uint64_t most_ns = SYNC_GATHER_MAX_MS * UINT64_C(1000000);
    uint64_t gather_ns = took_ns / SYNC_GATHER_SHARE;
    sync->left = atomic_load(&sync->waiting);
    sync->gather_until_ns = clock_monotonic_ns() + (gather_ns < most_ns ? gather_ns : most_ns);
}

/* Finds the sequence up to which all records are whole. A thread takes a sequence before it writes
 * the record, and has written the record by its next quiescent point. If a thread stays in the
 * middle of a batch for too long, the result is a sequence that an earlier sync read, whose grace
 * period has ended by now. */
static void sync_find_complete(struct sync *sync) {
    struct grace *grace = sync->pool.grace;
    uint64_t sequence = atomic_load(&sync->pool.view->index->sequence);
    uint64_t period = grace_begin(grace);
    for (int naps = 0; naps < SYNC_GRACE_POLLS && !grace_has_passed(grace, period); naps++) {
        nanosleep(&(struct timespec){.tv_nsec = SYNC_GRACE_POLL_NS}, NULL);
    }
    if (grace_has_passed(grace, period)) {
        sync->complete_sequence = sequence;
        sync->pending_period = 0;
        return;
    }
    if (sync->pending_period != 0 && grace_has_passed(grace, sync->pending_period)) {
        sync->complete_sequence = sync->pending_sequence;
        sync->pending_period = 0;
    }
    if (sync->pending_period == 0) {
        sync->pending_sequence = sequence;
        sync->pending_period = period;
    }
}

/* One sync; false if it failed. */
static bool sync_once(struct sync *sync) {
    bool always = sync->pool.fsync == POOL_FSYNC_ALWAYS;
    if (always) {
        sync_find_complete(sync);
    }
    uint64_t began_ns = clock_monotonic_ns();
    uint64_t began_ms = clock_monotonic_ms();
    atomic_store(&sync->began_ms, began_ms);
    /* Tickets taken from now on have the next number, because their writes may come too late for
     * this sync. */
    uint64_t number = atomic_fetch_add(&sync->begun, 1) + 1;
    sync->released = atomic_exchange(&sync->waiting, 0);
    atomic_exchange(&sync->dirty, false);
    positions_take(sync->pool.positions);
    bool synced = sync_now(sync);
    sync_expect_back(sync, clock_monotonic_ns() - began_ns);
    if (synced) {
        positions_write(sync->pool.positions);
        atomic_store(&sync->clean_ms, began_ms);
        if (always) {
            atomic_store(&sync->pool.view->index->durable_sequence, sync->complete_sequence);
        }
        atomic_store(&sync->ended, number);
    }
    atomic_store(&sync->began_ms, 0);
    return synced;
}

static void *sync_main(void *argument) {
    struct sync *sync = argument;
    bool synced = true;
    struct timespec until = clock_deadline(SYNC_INTERVAL_MS * UINT64_C(1000000));
    pthread_mutex_lock(&sync->lock);
    while (synced && sync_wait(sync, &until)) {
        sync_gather(sync);
        until = clock_deadline(SYNC_INTERVAL_MS * UINT64_C(1000000));
        pthread_mutex_unlock(&sync->lock);
        synced = sync_once(sync); /* false: the pool is read-only and never syncs again */
        pthread_mutex_lock(&sync->lock);
        if (sync->notify != NULL) {
            sync->notify(sync->notify_context);
        }
    }
    pthread_mutex_unlock(&sync->lock);
    return NULL;
}

/* How much each thread may write between two syncs: together a small part of the dirty memory that
 * the kernel allows (by default a fifth of the memory). */
static uint64_t sync_ahead_bytes(unsigned threads) {
    uint64_t memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t all_bytes = memory_bytes / SYNC_AHEAD_SHARE;
    all_bytes = all_bytes < SYNC_AHEAD_MAX_BYTES ? all_bytes : SYNC_AHEAD_MAX_BYTES;
    uint64_t bytes = all_bytes / threads;
    return bytes > SYNC_AHEAD_MIN_BYTES ? bytes : SYNC_AHEAD_MIN_BYTES;
}

bool sync_start(struct sync *sync) {
    const struct sync_pool *pool = &sync->pool;
    struct layout_index_header *index = pool->view->index;
    bool always = pool->file >= 0 && pool->fsync == POOL_FSYNC_ALWAYS;
    atomic_store(&sync->clean_ms, clock_monotonic_ms());
    sync->ahead_bytes = sync_ahead_bytes(grace_threads(pool->grace));
    sync->complete_sequence = atomic_load(&index->sequence);
    atomic_store(&index->durable_sequence, always ? sync->complete_sequence : UINT64_MAX);
    if (pool->file < 0 || pool->fsync == POOL_FSYNC_NO) {
        return true;
    }
    pthread_condattr_t monotonic;
    pthread_mutex_init(&sync->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sync->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sync->running = pthread_create(&sync->thread, NULL, sync_main, sync) == 0;
    return sync->running;
}

void sync_stop(struct sync *sync) {
    if (!sync->running) {
        return;
    }
    pthread_mutex_lock(&sync->lock);
    sync->stop = true;
    pthread_cond_signal(&sync->wake);
    pthread_mutex_unlock(&sync->lock);
    pthread_join(sync->thread, NULL);
    pthread_cond_destroy(&sync->wake);
    pthread_mutex_destroy(&sync->lock);
    sync->running = false;
}

uint64_t sync_lag_ms(const struct sync *sync) {
    if (!sync->running || (!atomic_load(&sync->dirty) && atomic_load(&sync->began_ms) == 0)) {
        return 0; /* with fsync = no, no reply waits */
    }
    uint64_t clean_ms = atomic_load(&sync->clean_ms);
    uint64_t now_ms = clock_monotonic_ms();
    return now_ms > clean_ms ? now_ms - clean_ms : 0;
}

/* Whether replies must wait although the policy is everysec, because the disk is too slow. */
static bool sync_is_behind(const struct sync *sync) {
    /* relaxed: a hint; the sync thread sets both times. While no sync is under way, replies
     * need not wait: the next sync begins soon. */
    return atomic_load_explicit(&sync->began_ms, memory_order_relaxed) != 0 &&
           clock_monotonic_ms() >
               atomic_load_explicit(&sync->clean_ms, memory_order_relaxed) + SYNC_LAG_MAX_S * 1000;
}

void sync_set_notify(struct sync *sync, void (*notify)(void *context), void *context) {
    if (!sync->running) {
        return; /* nothing is synced, so there is nothing to tell */
    }
    pthread_mutex_lock(&sync->lock);
    sync->notify_context = context;
    sync->notify = notify;
    pthread_mutex_unlock(&sync->lock);
}

uint64_t sync_take_ticket(struct sync *sync, struct sync_thread *thread) {
    bool rests_on_touch = thread->rests_on_touch;
    thread->rests_on_touch = false;
    if (!thread->unsynced) {
        if (!thread->rests) {
            return 0;
        }
        thread->rests = false;
        if (sync_has_failed(sync)) {
            return 0;
        }
        /* `dirty` is loaded before `begun`. What was read had been noted in `dirty` before it could
         * be read (change_commit, flush_perform). So if `dirty` is clear, a sync numbered up to
         * `begun` covers what was read. */
        if (!rests_on_touch && !atomic_load(&sync->dirty)) {
            uint64_t begun = atomic_load(&sync->begun);
            return atomic_load(&sync->ended) >= begun ? 0 : begun;
        }
    }
    thread->unsynced = false;
    thread->rests = false;
    /* seq_cst: the write came before this load, so a sync with a higher number begins after the
     * write. */
    uint64_t ticket = atomic_load(&sync->begun) + 1;
    uint64_t wanted = atomic_load(&sync->wanted);
    while (wanted < ticket && !atomic_compare_exchange_weak(&sync->wanted, &wanted, ticket)) {
    }
    unsigned waiting = atomic_fetch_add(&sync->waiting, 1) + 1;
    /* Wakes the sync thread for the first ticket of this sync, and for the last one that it waits
     * for. */
    if (wanted < ticket || waiting == atomic_load(&sync->gather_at)) {
        pthread_mutex_lock(&sync->lock);
        pthread_cond_signal(&sync->wake);
        pthread_mutex_unlock(&sync->lock);
    }
    return ticket;
}

enum status sync_check_ticket(const struct sync *sync, uint64_t ticket) {
    if (atomic_load(&sync->ended) >= ticket) {
        return STATUS_OK;
    }
    return sync_has_failed(sync) ? STATUS_IO : STATUS_PENDING;
}

/* Counts these bytes; returns whether the thread has written its share since the last sync began.
 */
static bool sync_is_far_ahead(const struct sync *sync, struct sync_thread *thread, size_t size) {
    /* relaxed: the value only decides when the count starts again */
    uint64_t begun = atomic_load_explicit(&sync->begun, memory_order_relaxed);
    if (thread->written_sync != begun) {
        thread->written_sync = begun;
        thread->written_bytes = 0;
    }
    thread->written_bytes += size;
    return sync->running && thread->written_bytes > sync->ahead_bytes;
}

void sync_note_client_write(struct sync *sync, struct sync_thread *thread, size_t size) {
    if (sync->pool.file < 0) {
        return;
    }
    sync_note_write(sync);
    if (sync->pool.fsync == POOL_FSYNC_ALWAYS || sync_is_behind(sync) ||
        sync_is_far_ahead(sync, thread, size)) {
        thread->unsynced = true;
    }
}
