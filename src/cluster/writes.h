/* Writes on their way to the log: one for each connection that waits.
 *
 *     submit -> QUEUED behind another write of the key
 *            -> SEND -> SENT --stored--------------------------------> ACKNOWLEDGED
 *                        |---conflict -> AWAITING the reader --------> AGAIN, planned on the new
 * item
 *                        |---busy, absent -> PAUSED -> SEND
 *                        |---no answer -> LOOKING for it in the log
 *                                           |--found, this write's --> ACKNOWLEDGED
 *                                           |--found, the one before -> SEND, the same once more
 *                                           '--found, another's -----> FAILED: unavailable
 *
 * What was planned on an item that was there is STORED first, and acknowledged when the reader has
 * come to it: only then is it known that no flush stands between (struct replica: derived).
 *
 * A write whose answer was lost is *unclear*: it may be in the log, or get there late. It is only
 * ever sent again as it was, under the same condition, so that it can be stored once at most. When
 * another record stands in its place, nobody can say whether it was stored in between: the client
 * is told that the outcome is unknown. To plan it again would be to make it twice, and would bring
 * back what somebody has deleted after its first effect.
 *
 * Of each key at most one write is on its way; the others wait in order. A write that failed by a
 * conflict keeps its place while its request is planned again.
 *
 * A request whose condition fails is CONFIRMING before it is answered: it waits until this host's
 * reader has come to a *confirmation*, a record that this host has written after the request had
 * begun. All that was acknowledged anywhere before stands before it in the log, so the pool has it
 * then, and the request is planned again on that. One confirmation serves all requests of its
 * partition that wait when it is sent; those that come later wait for the next. A node's answer to
 * a question would be cheaper, but a node that has lost the others may answer too.
 *
 * The engine's thread sends what is due when it is poked, so that what came together leaves
 * together; a thread of its own watches the time, and sends what the engine does not ask for.
 * Workers submit and settle; the engine's threads bring answers; the reader tells how far it has
 * come. None of them waits for another. */
#ifndef STAYD_CLUSTER_WRITES_H
#define STAYD_CLUSTER_WRITES_H

#include "cluster/engine.h"
#include "cluster/message.h"
#include "cluster/own_writes.h"
#include "cluster/subjects.h"
#include "store/replication.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    WRITES_CHAINS = 1024,
    WRITES_ATTEMPT_MS = 2000,   /* for one answer */
    WRITES_DEADLINE_MS = 10000, /* of a write in all */
};

struct writes_options {
    const struct subjects *subjects; /* this and the next two live longer */
    struct engine *engine;
    struct pool *pool;
    struct own_writes *own;
    const _Atomic uint64_t *flushes; /* as reader_options.flushes */
    uint64_t host;                   /* of the write ids; random */
    struct message_life life;
    uint32_t attempt_ms;  /* 0: WRITES_ATTEMPT_MS */
    uint32_t deadline_ms; /* 0: WRITES_DEADLINE_MS */
};

/* Since the start. */
struct writes_stats {
    uint64_t in_flight; /* now */
    uint64_t acknowledged;
    uint64_t conflicts;
    uint64_t lost_answers;
    uint64_t failed;
    uint64_t confirmed;     /* requests that changed nothing, and reads that had to be fresh */
    uint64_t confirmations; /* that were sent */
    uint64_t lost_logs;     /* partitions that take no writes, because their log was made anew */
    uint64_t longest_ms;    /* that an acknowledged write has taken */
};

struct writes_partition_stats {
    uint64_t in_flight; /* now */
    uint64_t conflicts;
};

struct write;
struct writes;

/* NULL if memory or threads are short. */
struct writes *writes_create(const struct writes_options *options);

/* Ends the thread: nothing is sent any more. Once, before the engine is closed. */
void writes_stop(struct writes *writes);

/* Stopped; no connection has a proposal any more, and the engine calls nothing. Accepts NULL. */
void writes_destroy(struct writes *writes);

/* What pool_replication asks for; `writes` is its context. */
struct proposal *writes_create_proposal(void *writes, void (*wake)(void *), void *wake_context);
void writes_release_proposal(struct proposal *proposal);
void writes_submit(struct proposal *proposal);
void writes_settle(struct proposal *proposal);
void writes_confirm(struct proposal *proposal, struct bytes key);

void writes_submit_flush(struct proposal *proposal);

/* For the thread that flushes: waits until a flush was submitted, and takes all that were; false:
 * the writes are being stopped. Then tells their connections how it went. */
bool writes_wait_flush(struct writes *writes);
void writes_end_flush(struct writes *writes, enum status status);

/* The engine's callbacks. */
void writes_send_due(struct writes *writes);
void writes_take_outcome(struct writes *writes, uint64_t token, enum engine_outcome outcome,
                         uint64_t sequence);
void writes_take_found(struct writes *writes, uint64_t token, const struct engine_found *found);

/* The reader has come to this record: is it one whose answer is awaited? `is_void`: it does not
 * count, because it was planned on an item from before a flush. */
void writes_note_record(struct writes *writes, const struct message_id *id, uint64_t sequence,
                        bool is_void);

/* The answer to a confirmation: their tokens have this bit. And the reader has come to one. */
#define WRITES_CONFIRMATION_TOKEN (UINT64_C(1) << 61)
void writes_take_confirmation_outcome(struct writes *writes, uint64_t token,
                                      enum engine_outcome outcome, uint64_t sequence);
void writes_note_confirmation(struct writes *writes, uint32_t partition, uint64_t number);

/* The pool has applied the partition up to its position (pool_get_position). */
void writes_note_position(struct writes *writes, uint32_t partition);

/* The partition's log was made anew, or has lost records: what this host has and what the log will
 * say from now on do not belong together. From now on it takes no writes. False: that was known. */
bool writes_lose_log(struct writes *writes, uint32_t partition);
bool writes_has_lost_log(const struct writes *writes, uint32_t partition);

void writes_get_stats(struct writes *writes, struct writes_stats *stats);
void writes_get_partition(struct writes *writes, uint32_t partition,
                          struct writes_partition_stats *stats);

#endif
