#include "cluster/writes.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#include <assert.h>
#include <stdlib.h>

enum {
    WRITES_TICK_MS = 20,
    WRITES_BUSY_MS = 20,    /* the longest pause after BUSY, and between two conflicts of a write */
    WRITES_ABSENT_MS = 200, /* the pause while nobody is there */
    WRITES_CONFLICTS = 2,   /* after so many, a write pauses before it is planned again */
};

enum write_phase {
    WRITE_IDLE,     /* the connection's */
    WRITE_QUEUED,   /* behind another write of its key */
    WRITE_SEND,     /* in the queue of the thread, to be sent */
    WRITE_FIND,     /* the same, to be looked for */
    WRITE_SENT,     /* until `until_ms` */
    WRITE_LOOKING,  /* the same */
    WRITE_PAUSED,   /* the same; then it is sent again */
    WRITE_RESTING,  /* the same; then it is planned again */
    WRITE_AWAITING, /* until the reader has come to `named` */
    WRITE_STORED,   /* until the reader has come to `named`, its own record */
    WRITE_HELD,     /* the connection's; it has the key */
    WRITE_FLUSHING, /* a flush */
};

/* All fields are under the lock of `writes`, and those of the proposal are its owner's. */
struct write {
    struct proposal proposal; /* first */
    struct writes *writes;
    void (*wake)(void *context);
    void *wake_context;
    bool released; /* the connection has ended */
    enum write_phase phase;
    bool unclear;       /* it was sent once without an answer */
    unsigned conflicts; /* since it was submitted first */
    uint64_t number;    /* of the write: the token of its requests; another one for each plan */
    uint64_t named;
    uint64_t submitted_ms;
    uint64_t deadline_ms;
    uint64_t until_ms;
    uint32_t partition;
    uint8_t key_size;
    char key[POOL_KEY_MAX];
    struct write *next_of_key;    /* the writes that hold a key, in its chain */
    struct write *behind;         /* the next write of the same key */
    struct write *next_of_number; /* the writes that have a number, in its chain */
    struct write *next_queued;    /* in the thread's queue */
    bool in_queue;
};

struct writes {
    struct writes_options options;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* there is something to send, or `stopping` */
    pthread_t thread;
    bool stopping;
    uint64_t numbers;    /* given out */
    uint64_t noise;      /* for pauses */
    unsigned on_the_way; /* phases with a time: the thread watches it */
    struct write *holders[WRITES_CHAINS];
    struct write *numbered[WRITES_CHAINS];
    struct write *queue_first;
    struct write *queue_last;
    pthread_cond_t flush_wake;       /* a flush was submitted, or `stopping` */
    struct write *flushes_submitted; /* linked by `behind` */
    struct write *flushes_running;
    _Atomic unsigned awaiting[POOL_PARTITIONS_MAX];
    struct writes_stats stats;
};

static struct write *write_of(struct proposal *proposal) {
    return (struct write *)(void *)proposal;
}

static struct bytes write_key(const struct write *write) {
    return bytes_from(write->key, write->key_size);
}

static uint32_t writes_random_ms(struct writes *writes, uint32_t most_ms) {
    writes->noise = writes->noise * UINT64_C(6364136223846793005) + 1442695040888963407;
    return 1 + (uint32_t)(writes->noise >> 33) % most_ms;
}

/* ---- the two tables, and the queue ---- */

static struct write **writes_find_holder(struct writes *writes, struct bytes key) {
    struct write **link = &writes->holders[hash_key(2, key) % WRITES_CHAINS];
    while (*link != NULL && !bytes_equal(write_key(*link), key)) {
        link = &(*link)->next_of_key;
    }
    return link;
}

static struct write **writes_find_number(struct writes *writes, uint64_t number) {
    struct write **link = &writes->numbered[number % WRITES_CHAINS];
    while (*link != NULL && (*link)->number != number) {
        link = &(*link)->next_of_number;
    }
    return link;
}

static void writes_give_number(struct writes *writes, struct write *write) {
    write->number = ++writes->numbers;
    struct write **link = &writes->numbered[write->number % WRITES_CHAINS];
    write->next_of_number = *link;
    *link = write;
    writes->on_the_way++;
}

static void writes_take_number(struct writes *writes, struct write *write) {
    struct write **link = writes_find_number(writes, write->number);
    assert(*link == write);
    *link = write->next_of_number;
    write->number = 0;
    writes->on_the_way--;
}

static void writes_enqueue(struct writes *writes, struct write *write, enum write_phase phase) {
    write->phase = phase;
    if (write->in_queue) {
        return;
    }
    write->in_queue = true;
    write->next_queued = NULL;
    if (writes->queue_first == NULL) {
        writes->queue_first = write;
        pthread_cond_signal(&writes->wake);
    } else {
        writes->queue_last->next_queued = write;
    }
    writes->queue_last = write;
}

static struct write *writes_dequeue(struct writes *writes) {
    struct write *write = writes->queue_first;
    if (write != NULL) {
        writes->queue_first = write->next_queued;
        write->in_queue = false;
    }
    return write;
}

static void writes_leave_queue(struct writes *writes, struct write *write) {
    struct write *before = NULL;
    if (!write->in_queue) {
        return;
    }
    for (struct write *at = writes->queue_first; at != write; at = at->next_queued) {
        before = at;
    }
    if (before == NULL) {
        writes->queue_first = write->next_queued;
    } else {
        before->next_queued = write->next_queued;
    }
    if (writes->queue_last == write) {
        writes->queue_last = before;
    }
    write->in_queue = false;
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
    if (next == NULL) {
        *link = write->next_of_key;
    } else {
        next->next_of_key = write->next_of_key;
        *link = next;
        next->phase = WRITE_HELD;
        next->proposal.has_named = false;
        write_tell(next, PROPOSAL_AGAIN);
    }
    own_writes_end(writes->options.own, write_key(write));
}

/* The write is its connection's again. With ACKNOWLEDGED and AGAIN it still has the key. */
static void writes_finish(struct writes *writes, struct write *write, enum proposal_state state) {
    if (write->phase == WRITE_AWAITING || write->phase == WRITE_STORED) {
        atomic_fetch_sub(&writes->awaiting[write->partition], 1);
    }
    writes_take_number(writes, write);
    writes_leave_queue(writes, write);
    if (state == PROPOSAL_FAILED) {
        writes->stats.failed++;
    }
    if (state == PROPOSAL_FAILED || write->released) {
        write->phase = WRITE_IDLE;
        writes_free_key(writes, write);
    } else {
        write->phase = WRITE_HELD;
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

static void writes_fail(struct writes *writes, struct write *write, enum status failure) {
    write->proposal.failure = failure;
    writes_finish(writes, write, PROPOSAL_FAILED);
}

static void writes_set_time(struct write *write, enum write_phase phase, uint32_t after_ms) {
    write->phase = phase;
    write->until_ms = clock_exact_ms() + after_ms;
}

/* The pool has the record that was in the way, so the request can be planned again. */
static void writes_plan_again(struct writes *writes, struct write *write) {
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
    write->conflicts++;
    writes_await_reader(writes, write, WRITE_AWAITING, sequence);
}

static void writes_take_stored(struct writes *writes, struct write *write, uint64_t sequence) {
    if (write->proposal.change.derived) {
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
    }
    if (write->phase == WRITE_IDLE) {
        write_free(write);
    } /* else it goes on, and is freed when it has ended */
    pthread_mutex_unlock(&writes->lock);
}

/* Under the lock: it holds the key. */
static void writes_start(struct writes *writes, struct write *write) {
    write->unclear = false;
    writes_give_number(writes, write);
    writes_enqueue(writes, write, WRITE_SEND);
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
    assert(write->phase == WRITE_IDLE);
    write->key_size = (uint8_t)proposal->change.key.size;
    memcpy(write->key, proposal->change.key.data, write->key_size);
    write->partition = subjects_get_partition(writes->options.subjects, write_key(write));
    write->submitted_ms = clock_exact_ms();
    write->deadline_ms = write->submitted_ms + writes->options.deadline_ms;
    write->conflicts = 0;
    if (!own_writes_begin(writes->options.own, write_key(write), write->partition)) {
        proposal->failure = STATUS_NO_MEMORY;
        write_tell(write, PROPOSAL_FAILED);
        pthread_mutex_unlock(&writes->lock);
        return;
    }
    struct write **link = writes_find_holder(writes, write_key(write));
    if (*link == NULL) {
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
    if (write->phase == WRITE_HELD) { /* else it was a flush */
        write->phase = WRITE_IDLE;
        writes_free_key(writes, write);
    }
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

/* ---- the thread ---- */

/* How long the log keeps the record. */
static uint32_t writes_get_ttl_s(const struct writes *writes, const struct replica *change,
                                 uint32_t now_s) {
    if (change->removed) {
        return writes->options.keep_s;
    }
    if (change->expiry_s == 0) {
        return 0;
    }
    uint64_t left_s = change->expiry_s > now_s ? change->expiry_s - now_s : 0;
    left_s += writes->options.keep_s;
    return left_s < UINT32_MAX ? (uint32_t)left_s : 0;
}

/* Sends one request. Under the lock, which is released meanwhile. */
static void writes_send(struct writes *writes, struct write *write, struct buffer *payload) {
    char subject[ENGINE_SUBJECT_MAX];
    struct engine *engine = writes->options.engine;
    bool finds = write->phase == WRITE_FIND;
    uint64_t number = write->number;
    uint32_t partition = write->partition;
    struct engine_write request = {
        .token = number,
        .subject = subject,
        .is_conditional = true,
        .expected = write->proposal.expected,
        .ttl_s = writes_get_ttl_s(writes, &write->proposal.change, clock_unix_s()),
    };
    subjects_write_key(writes->options.subjects, write_key(write), subject);
    if (!finds && !message_write(payload, &write->proposal.change,
                                 (struct message_id){writes->options.host, number})) {
        writes_set_time(write, WRITE_PAUSED, WRITES_ABSENT_MS);
        return;
    }
    request.payload = bytes_from(payload->data, payload->size);
    writes_set_time(write, finds ? WRITE_LOOKING : WRITE_SENT, writes->options.attempt_ms);
    pthread_mutex_unlock(&writes->lock);
    bool sent = finds ? engine->find(engine->self, number, partition, subject)
                      : engine->write(engine->self, &request);
    pthread_mutex_lock(&writes->lock);
    if (!sent) {
        struct write *now = *writes_find_number(writes, number);
        if (now != NULL && now->phase == WRITE_SENT) {
            writes_set_time(now, WRITE_PAUSED, WRITES_ABSENT_MS);
        } else if (now != NULL && now->phase == WRITE_LOOKING) {
            writes_set_time(now, WRITE_LOOKING, WRITES_ABSENT_MS);
        }
    }
}

/* Its time is over. */
static void writes_check_time(struct writes *writes, struct write *write, uint64_t now_ms) {
    if (now_ms >= write->deadline_ms) {
        writes_fail(writes, write, STATUS_UNAVAILABLE);
        return;
    }
    if (write->phase == WRITE_AWAITING || write->phase == WRITE_STORED ||
        write->phase == WRITE_SEND || write->phase == WRITE_FIND || now_ms < write->until_ms) {
        return;
    }
    switch (write->phase) {
    case WRITE_SENT:
        writes->stats.lost_answers++;
        write->unclear = true;
        writes_enqueue(writes, write, WRITE_FIND);
        break;
    case WRITE_LOOKING:
        writes_enqueue(writes, write, WRITE_FIND);
        break;
    case WRITE_PAUSED:
        writes_enqueue(writes, write, WRITE_SEND);
        break;
    case WRITE_RESTING:
        writes_plan_again(writes, write);
        break;
    default:
        break;
    }
}

static void writes_check_times(struct writes *writes) {
    uint64_t now_ms = clock_exact_ms();
    for (unsigned i = 0; i < WRITES_CHAINS; i++) {
        struct write *next;
        for (struct write *write = writes->numbered[i]; write != NULL; write = next) {
            next = write->next_of_number;
            writes_check_time(writes, write, now_ms);
        }
    }
}

static void *writes_main(void *argument) {
    struct writes *writes = argument;
    struct buffer payload = {0};
    uint64_t checked_ms = 0;
    pthread_mutex_lock(&writes->lock);
    while (!writes->stopping) {
        struct write *write = writes_dequeue(writes);
        if (write != NULL) {
            if (write->phase == WRITE_SEND || write->phase == WRITE_FIND) {
                writes_send(writes, write, &payload);
            } /* else: an answer has come meanwhile */
        } else if (writes->on_the_way == 0) {
            pthread_cond_wait(&writes->wake, &writes->lock);
        } else {
            struct timespec until = clock_deadline(WRITES_TICK_MS * UINT64_C(1000000));
            pthread_cond_timedwait(&writes->wake, &writes->lock, &until);
        }
        uint64_t now_ms = clock_exact_ms();
        if (now_ms >= checked_ms + WRITES_TICK_MS) {
            checked_ms = now_ms;
            writes_check_times(writes);
        }
    }
    pthread_mutex_unlock(&writes->lock);
    buffer_finish(&payload);
    return NULL;
}

struct writes *writes_create(const struct writes_options *options) {
    struct writes *writes = calloc(1, sizeof *writes);
    if (writes == NULL) {
        return NULL;
    }
    writes->options = *options;
    writes->options.attempt_ms = options->attempt_ms != 0 ? options->attempt_ms : WRITES_ATTEMPT_MS;
    writes->options.deadline_ms =
        options->deadline_ms != 0 ? options->deadline_ms : WRITES_DEADLINE_MS;
    writes->noise = options->host;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&writes->lock, NULL);
    pthread_cond_init(&writes->wake, &monotonic);
    pthread_cond_init(&writes->flush_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&writes->thread, NULL, writes_main, writes) != 0) {
        pthread_cond_destroy(&writes->wake);
        pthread_cond_destroy(&writes->flush_wake);
        pthread_mutex_destroy(&writes->lock);
        free(writes);
        return NULL;
    }
    return writes;
}

void writes_stop(struct writes *writes) {
    pthread_mutex_lock(&writes->lock);
    writes->stopping = true;
    pthread_cond_signal(&writes->wake);
    pthread_cond_signal(&writes->flush_wake);
    pthread_mutex_unlock(&writes->lock);
    pthread_join(writes->thread, NULL);
}

void writes_destroy(struct writes *writes) {
    if (writes == NULL) {
        return;
    }
    for (unsigned i = 0; i < WRITES_CHAINS; i++) {
        while (writes->numbered[i] != NULL) { /* of connections that have ended */
            writes_fail(writes, writes->numbered[i], STATUS_UNAVAILABLE);
        }
    }
    pthread_cond_destroy(&writes->wake);
    pthread_cond_destroy(&writes->flush_wake);
    pthread_mutex_destroy(&writes->lock);
    free(writes);
}

void writes_get_stats(struct writes *writes, struct writes_stats *stats) {
    pthread_mutex_lock(&writes->lock);
    *stats = writes->stats;
    stats->in_flight = writes->on_the_way;
    pthread_mutex_unlock(&writes->lock);
}
