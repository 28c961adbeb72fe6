#include "cluster/writes_private.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <stdlib.h>

static uint32_t writes_random_ms(struct writes *writes, uint32_t most_ms) {
    writes->noise = writes->noise * UINT64_C(6364136223846793005) + 1442695040888963407;
    return 1 + (uint32_t)(writes->noise >> 33) % most_ms;
}

/* ---- how a write ends ---- */

static void write_free(struct write *write) {
    writes_leave_queue(write->writes, write);
    buffer_finish(&write->proposal.data);
    free(write);
}

/* The connection runs the request again, now or when it holds the key. */
static void write_tell(struct write *write, enum proposal_state state) {
    /* release: pairs with proposal_is_in_flight */
    atomic_store_explicit(&write->proposal.state, state, memory_order_release);
    if (!write->released) {
        write->wake(write->wake_context);
    }
}

/* The key is free for the next write, which is planned again on what there is now. */
static void writes_free_key(struct writes *writes, struct write *write) {
    struct write **link = writes_find_holder(writes, write_key(write));
    assert(*link == write);
    struct write *next = write->behind;
    write->behind = NULL;
    write->has_key = false;
    if (next == NULL) {
        *link = write->next_of_key;
    } else {
        next->has_key = true;
        next->next_of_key = write->next_of_key;
        *link = next;
        next->phase = WRITE_HELD;
        next->proposal.has_named = false;
        write_tell(next, PROPOSAL_AGAIN);
    }
    own_writes_end(writes->options.own, write_key(write));
}

/* With ACKNOWLEDGED and AGAIN it still has the key, if it had it. */
void writes_finish(struct writes *writes, struct write *write, enum proposal_state state) {
    if (write->phase == WRITE_AWAITING || write->phase == WRITE_STORED) {
        atomic_fetch_sub(&writes->awaiting[write->partition], 1);
    }
    if (write->phase == WRITE_CONFIRMING) {
        writes_leave_confirmation(writes, write);
    }
    writes_take_number(writes, write);
    writes_leave_queue(writes, write);
    if (state == PROPOSAL_FAILED) {
        writes->stats.failed++;
    }
    bool ends = state == PROPOSAL_FAILED || write->released;
    write->phase = ends ? WRITE_IDLE : write->has_key ? WRITE_HELD : WRITE_CONFIRMED;
    if (ends && write->has_key) {
        writes_free_key(writes, write);
    }
    if (write->released) {
        write_free(write);
        return;
    }
    write_tell(write, state);
}

static void writes_acknowledge(struct writes *writes, struct write *write, uint64_t sequence) {
    uint64_t took_ms = clock_exact_ms() - write->submitted_ms;
    writes->stats.acknowledged++;
    writes->stats.longest_ms =
        took_ms > writes->stats.longest_ms ? took_ms : writes->stats.longest_ms;
    write->proposal.change.sequence = sequence;
    writes_finish(writes, write, PROPOSAL_ACKNOWLEDGED);
}

void writes_fail(struct writes *writes, struct write *write, enum status failure) {
    write->proposal.failure = failure;
    writes_finish(writes, write, PROPOSAL_FAILED);
}

void writes_set_time(struct write *write, enum write_phase phase, uint32_t after_ms) {
    write->phase = phase;
    write->until_ms = clock_exact_ms() + after_ms;
}

/* The pool has the record that was in the way, so the request can be planned again. */
void writes_plan_again(struct writes *writes, struct write *write) {
    if (write->phase == WRITE_AWAITING) {
        atomic_fetch_sub(&writes->awaiting[write->partition], 1);
        write->phase = WRITE_SENT;
    }
    if (write->conflicts > WRITES_CONFLICTS && write->phase != WRITE_RESTING) {
        writes_set_time(write, WRITE_RESTING, writes_random_ms(writes, WRITES_BUSY_MS));
        return;
    }
    write->proposal.has_named = true;
    write->proposal.named = write->named;
    writes_finish(writes, write, PROPOSAL_AGAIN);
}

/* The write goes on when the reader has come to this sequence. */
static void writes_await(struct writes *writes, struct write *write, enum write_phase phase,
                         uint64_t sequence) {
    if (write->phase != WRITE_AWAITING && write->phase != WRITE_STORED) {
        atomic_fetch_add(&writes->awaiting[write->partition], 1);
    }
    write->phase = phase;
    write->named = sequence;
}

/* The reader has come to what it awaits. */
static void writes_go_on(struct writes *writes, struct write *write) {
    if (write->phase == WRITE_AWAITING) {
        writes_plan_again(writes, write);
    } else if (atomic_load(&writes->options.flushes[write->partition]) >
               write->proposal.change.flush) {
        /* Its record was replaced before the reader came to it. A flush may stand before it. */
        writes_await(writes, write, WRITE_AWAITING, write->named);
        writes_plan_again(writes, write);
    } else {
        writes_acknowledge(writes, write, write->named);
    }
}

/* Goes on at once if the reader is there already. The write is counted before the position is read,
 * and the reader reads the count after it has noted its position: at least one of them sees what
 * the other did. */
static void writes_await_reader(struct writes *writes, struct write *write, enum write_phase phase,
                                uint64_t sequence) {
    writes_await(writes, write, phase, sequence);
    if (pool_get_position(writes->options.pool, write->partition) >= sequence) {
        writes_go_on(writes, write);
    }
}

static void writes_take_conflict(struct writes *writes, struct write *write, uint64_t sequence) {
    writes->stats.conflicts++;
    writes->partitions[write->partition].conflicts++;
    write->conflicts++;
    writes_await_reader(writes, write, WRITE_AWAITING, sequence);
}

bool writes_lose_log(struct writes *writes, uint32_t partition) {
    pthread_mutex_lock(&writes->lock);
    bool is_new = !atomic_load(&writes->log_is_lost[partition]);
    if (is_new) {
        atomic_store(&writes->log_is_lost[partition], true);
        writes->stats.lost_logs++;
    }
    pthread_mutex_unlock(&writes->lock);
    return is_new;
}

bool writes_has_lost_log(const struct writes *writes, uint32_t partition) {
    /* relaxed: a reader that sees it late has read the record before */
    return atomic_load_explicit(&writes->log_is_lost[partition], memory_order_relaxed);
}

/* The log has given out this sequence before: it was made anew, or has lost its end. */
void writes_note_lost_log(struct writes *writes, uint32_t partition, uint64_t sequence) {
    if (!atomic_load(&writes->log_is_lost[partition])) {
        atomic_store(&writes->log_is_lost[partition], true);
        writes->stats.lost_logs++;
        log_error("pool %s: the log of partition %u has stored a record at %llu, and this host has "
                  "read it to %llu: the log was made anew or has lost records. Reads go on; writes "
                  "of this partition are refused until stayd is restarted on the right log",
                  writes->options.subjects->pool, partition, (unsigned long long)sequence,
                  (unsigned long long)pool_get_position(writes->options.pool, partition));
    }
}

static void writes_take_stored(struct writes *writes, struct write *write, uint64_t sequence) {
    if (sequence <= write->floor || atomic_load(&writes->log_is_lost[write->partition])) {
        writes_note_lost_log(writes, write->partition, sequence);
        writes_fail(writes, write, STATUS_UNAVAILABLE);
    } else if (write->proposal.change.derived) {
        writes_await_reader(writes, write, WRITE_STORED, sequence);
    } else {
        writes_acknowledge(writes, write, sequence);
    }
}

/* ---- what the connections ask for ---- */

struct proposal *writes_create_proposal(void *context, void (*wake)(void *), void *wake_context) {
    struct write *write = calloc(1, sizeof *write);
    if (write == NULL) {
        return NULL;
    }
    write->writes = context;
    write->wake = wake;
    write->wake_context = wake_context;
    return &write->proposal;
}

void writes_release_proposal(struct proposal *proposal) {
    struct write *write = write_of(proposal);
    struct writes *writes = write->writes;
    pthread_mutex_lock(&writes->lock);
    write->released = true;
    if (write->phase == WRITE_QUEUED) {
        struct write *before = *writes_find_holder(writes, write_key(write));
        while (before->behind != write) {
            before = before->behind;
        }
        before->behind = write->behind;
        own_writes_end(writes->options.own, write_key(write));
        write->phase = WRITE_IDLE;
    } else if (write->phase == WRITE_HELD) {
        writes_free_key(writes, write);
        write->phase = WRITE_IDLE;
    } else if (write->phase == WRITE_CONFIRMED) {
        write->phase = WRITE_IDLE;
    }
    if (write->phase == WRITE_IDLE) {
        write_free(write);
    } /* else it goes on, and is freed when it has ended */
    pthread_mutex_unlock(&writes->lock);
}

void writes_begin(struct writes *writes, struct write *write, struct bytes key) {
    write->key_size = (uint8_t)key.size;
    memcpy(write->key, key.data, write->key_size);
    write->partition = subjects_get_partition(writes->options.subjects, write_key(write));
    if (write->phase == WRITE_CONFIRMED) {
        return; /* it has its time */
    }
    assert(write->phase == WRITE_IDLE);
    write->submitted_ms = clock_exact_ms();
    write->deadline_ms = write->submitted_ms + writes->options.deadline_ms;
    write->conflicts = 0;
}

/* Under the lock: it holds the key. */
static void writes_start(struct writes *writes, struct write *write) {
    write->unclear = false;
    write->floor = pool_get_position(writes->options.pool, write->partition);
    writes_give_number(writes, write);
    if (writes->log_is_lost[write->partition]) {
        writes_fail(writes, write, STATUS_UNAVAILABLE);
    } else {
        writes_enqueue(writes, write, WRITE_SEND);
    }
}

void writes_submit(struct proposal *proposal) {
    struct write *write = write_of(proposal);
    struct writes *writes = write->writes;
    pthread_mutex_lock(&writes->lock);
    if (write->phase == WRITE_HELD) { /* planned again: it has its key, and its time */
        writes_start(writes, write);
        pthread_mutex_unlock(&writes->lock);
        return;
    }
    writes_begin(writes, write, proposal->change.key);
    if (!own_writes_begin(writes->options.own, write_key(write), write->partition)) {
        write->phase = WRITE_IDLE;
        proposal->failure = STATUS_NO_MEMORY;
        write_tell(write, PROPOSAL_FAILED);
        pthread_mutex_unlock(&writes->lock);
        return;
    }
    struct write **link = writes_find_holder(writes, write_key(write));
    if (*link == NULL) {
        write->has_key = true;
        write->next_of_key = NULL;
        write->behind = NULL;
        *link = write;
        writes_start(writes, write);
    } else {
        struct write *last = *link;
        while (last->behind != NULL) {
            last = last->behind;
        }
        last->behind = write;
        write->behind = NULL;
        write->phase = WRITE_QUEUED;
    }
    pthread_mutex_unlock(&writes->lock);
}

void writes_settle(struct proposal *proposal) {
    struct write *write = write_of(proposal);
    struct writes *writes = write->writes;
    pthread_mutex_lock(&writes->lock);
    if (write->phase == WRITE_HELD) {
        writes_free_key(writes, write);
        write->phase = WRITE_IDLE;
    } else if (write->phase == WRITE_CONFIRMED) {
        write->phase = WRITE_IDLE;
    } /* else it was a flush */
    pthread_mutex_unlock(&writes->lock);
}

/* ---- flushes ---- */

void writes_submit_flush(struct proposal *proposal) {
    struct write *write = write_of(proposal);
    struct writes *writes = write->writes;
    pthread_mutex_lock(&writes->lock);
    assert(write->phase == WRITE_IDLE);
    write->phase = WRITE_FLUSHING;
    write->behind = writes->flushes_submitted;
    writes->flushes_submitted = write;
    pthread_cond_signal(&writes->flush_wake);
    pthread_mutex_unlock(&writes->lock);
}

bool writes_wait_flush(struct writes *writes) {
    pthread_mutex_lock(&writes->lock);
    while (writes->flushes_submitted == NULL && !writes->stopping) {
        pthread_cond_wait(&writes->flush_wake, &writes->lock);
    }
    writes->flushes_running = writes->flushes_submitted;
    writes->flushes_submitted = NULL;
    bool goes_on = !writes->stopping;
    pthread_mutex_unlock(&writes->lock);
    return goes_on;
}

void writes_end_flush(struct writes *writes, enum status status) {
    pthread_mutex_lock(&writes->lock);
    while (writes->flushes_running != NULL) {
        struct write *write = writes->flushes_running;
        writes->flushes_running = write->behind;
        write->behind = NULL;
        write->phase = WRITE_IDLE;
        write->proposal.failure = status;
        if (write->released) {
            write_free(write);
        } else {
            write_tell(write, status == STATUS_OK ? PROPOSAL_ACKNOWLEDGED : PROPOSAL_FAILED);
        }
    }
    pthread_mutex_unlock(&writes->lock);
}

/* ---- answers ---- */

void writes_take_outcome(struct writes *writes, uint64_t token, enum engine_outcome outcome,
                         uint64_t sequence) {
    pthread_mutex_lock(&writes->lock);
    struct write *write = *writes_find_number(writes, token);
    if (write == NULL) {
        pthread_mutex_unlock(&writes->lock);
        return; /* the write has ended already */
    }
    if (outcome == ENGINE_STORED) {
        writes_take_stored(writes, write, sequence);
    } else if (write->phase == WRITE_SENT) {
        switch (outcome) {
        case ENGINE_CONFLICT:
            if (write->unclear) { /* perhaps by its own first attempt */
                writes_enqueue(writes, write, WRITE_FIND);
            } else {
                writes_take_conflict(writes, write, sequence);
            }
            break;
        case ENGINE_BUSY:
            writes_set_time(write, WRITE_PAUSED, writes_random_ms(writes, WRITES_BUSY_MS));
            break;
        case ENGINE_UNCLEAR:
            write->unclear = true;
            writes_set_time(write, WRITE_PAUSED, writes_random_ms(writes, WRITES_ABSENT_MS));
            break;
        case ENGINE_REFUSED:
            writes_fail(writes, write, write->unclear ? STATUS_UNAVAILABLE : STATUS_NO_MEMORY);
            break;
        case ENGINE_ABSENT:
        case ENGINE_STORED:
            writes_set_time(write, WRITE_PAUSED, WRITES_ABSENT_MS);
            break;
        }
    } /* else: the answer to an earlier attempt, which decides nothing */
    pthread_mutex_unlock(&writes->lock);
}

void writes_take_found(struct writes *writes, uint64_t token, const struct engine_found *found) {
    struct message_id id = {0};
    pthread_mutex_lock(&writes->lock);
    struct write *write = *writes_find_number(writes, token);
    if (write == NULL || write->phase != WRITE_LOOKING) {
        pthread_mutex_unlock(&writes->lock);
        return;
    }
    struct replica replica = {.key = write_key(write)};
    uint64_t last = found->is_there ? found->sequence : 0;
    if (!found->is_answered) {
        writes_set_time(write, WRITE_LOOKING, WRITES_ABSENT_MS); /* then it asks again */
    } else if (found->is_there && message_read(found->payload, &replica, &id) == MESSAGE_GOOD &&
               id.host == writes->options.host && id.number == write->number) {
        writes_take_stored(writes, write, found->sequence);
    } else if (last == write->proposal.expected) {
        /* It is not there, as far as this node knows, which may be wrong. So it is sent again: its
         * condition decides. */
        writes_enqueue(writes, write, WRITE_SEND);
    } else {
        writes_fail(writes, write, STATUS_UNAVAILABLE);
    }
    pthread_mutex_unlock(&writes->lock);
}

void writes_note_record(struct writes *writes, const struct message_id *id, uint64_t sequence,
                        bool is_void) {
    if (id->host != writes->options.host) {
        return;
    }
    pthread_mutex_lock(&writes->lock);
    struct write *write = *writes_find_number(writes, id->number);
    if (write != NULL && is_void) {
        writes_take_conflict(writes, write, sequence);
    } else if (write != NULL) {
        writes_acknowledge(writes, write, sequence);
    }
    pthread_mutex_unlock(&writes->lock);
}

void writes_note_position(struct writes *writes, uint32_t partition) {
    if (atomic_load(&writes->awaiting[partition]) == 0) {
        return;
    }
    pthread_mutex_lock(&writes->lock);
    uint64_t position = pool_get_position(writes->options.pool, partition);
    for (unsigned i = 0; i < WRITES_CHAINS && atomic_load(&writes->awaiting[partition]) > 0; i++) {
        struct write *next;
        for (struct write *write = writes->numbered[i]; write != NULL; write = next) {
            next = write->next_of_number;
            if ((write->phase == WRITE_AWAITING || write->phase == WRITE_STORED) &&
                write->partition == partition && write->named <= position) {
                writes_go_on(writes, write);
            }
        }
    }
    pthread_mutex_unlock(&writes->lock);
}
