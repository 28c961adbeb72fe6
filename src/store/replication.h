/* Replication: how a pool's changes are made in a log first, and in the pool afterwards.
 *
 *     plain pool        operation -> plan, write, publish
 *     replicated pool   operation -> plan -> proposal -> submit           NEEDS_ROOM: the request
 * is parked
 *                                                           |
 *                       the log has it at sequence s <------+
 *                                |
 *                       the request runs again -> write at s, publish -> the reply
 *
 * A *proposal* is the whole new item, and the sequence that the item's last record in the log must
 * have, so that the log can refuse a change that was planned on an old item. It belongs to one
 * connection, which has at most one on the way. Its request is run twice: the first run plans and
 * submits, the second one finds the proposal acknowledged, writes it to the pool and replies. In
 * the second run the planner runs again on a copy of the item that it saw first, and at the same
 * second; so the reply says what was proposed, whatever has happened to the item meanwhile.
 *
 * A request whose condition fails (an add that finds an item, a cas with another number) changes
 * nothing, and its reply may not rest on a pool that is behind the log. So the pool is *confirmed*
 * first, and the request is planned again:
 *
 *     plan: nothing to change -> confirm                NEEDS_ROOM
 *                                   |
 *          the pool has all that the log had ----> plan again -> the reply, or a proposal
 *
 * An item's CAS is the sequence of its record in the log; the pool's own sequences order its file,
 * as in a plain pool. The layer above (cluster/) reads the log and passes every record to
 * pool_apply, in the log's order for each key.
 *
 * The pool keeps, for each partition of the log, up to which sequence it has applied it. In the
 * file this number only ever counts records that are on the disk already: it is taken before a sync
 * and written after that sync. So a start goes on from there, and applies some records twice, which
 * changes nothing. */
#ifndef STAYD_STORE_REPLICATION_H
#define STAYD_STORE_REPLICATION_H

#include "base/buffer.h"
#include "store/pool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What the log says about one key. */
struct replica {
    struct bytes key;
    struct bytes value;
    bool removed; /* there is no item from this record on; all below but the sequence is 0 */
    bool stale;
    bool token_sent;
    bool keeps_reads; /* the value is the one before: a touch, for example */
    /* It was planned on an item that was there: an increment, a cas, a touch; not a plain set. It
     * counts only if no flush of the partition has come between: `flush` is the last that the
     * writer had applied before it planned. */
    bool derived;
    uint64_t flush;
    uint32_t client_flags;
    uint32_t expiry_s;
    uint32_t created_s; /* 0: unknown */
    uint32_t accessed_s;
    uint64_t sequence; /* in the log */
};

/* With an idle timeout, accesses are told to the log when they have moved by this part of it. */
enum { REPLICATION_ACCESS_SHARE = 16 };

enum proposal_state {
    PROPOSAL_IDLE,
    PROPOSAL_IN_FLIGHT,
    PROPOSAL_ACKNOWLEDGED, /* `change.sequence` is set; not written to the pool yet */
    PROPOSAL_AGAIN,  /* the item has changed, or another write of the key has ended: plan again */
    PROPOSAL_FAILED, /* `failure` says why; the log may have it, or get it later */
};

struct proposal {
    /* Written with release by whoever has the proposal: the connection's thread while it is not in
     * flight, the replication while it is. */
    _Atomic enum proposal_state state;
    struct replica change; /* what is proposed; key and value lie in `data` */
    uint64_t expected;     /* the sequence of the key's last record; 0: it has none */
    uint32_t now_s;        /* the time of the plan */
    /* Set by the replication before PROPOSAL_AGAIN: the log's last record of the key is `named`,
     * and the pool has applied the partition up to it. It is what a key expects that has no item
     * here: such a key may have a record that says so. */
    bool has_named;
    uint64_t named;
    enum status failure;
    /* The pool has applied all that the log had of the partition at some moment after the request
     * was run first. So a reply that nothing is changed may rest on the pool. Until the request has
     * ended. */
    bool confirmed;

    /* private to the store; used by the connection's thread */
    bool submitted; /* since proposal_take_submitted */
    struct buffer data;
    enum status status; /* of the plan */
    unsigned frequency;
    bool has_old;
    struct replica old; /* the item that the plan was made on; its sequence is its CAS */
};

enum replication_stage {
    REPLICATION_WAITS,   /* the log cannot be reached yet */
    REPLICATION_REFUSED, /* the log is there, and is not right for this pool */
    REPLICATION_READS,   /* the pool catches up with the log */
    REPLICATION_FOLLOWS, /* it has caught up */
};

enum { REPLICATION_TEXT_MAX = 512 };

/* How a replicated pool is, for monitoring. */
struct replication_state {
    enum replication_stage stage;
    bool serves;           /* clients are served */
    bool connected;        /* to a node of the log */
    uint32_t partitions;   /* all, and of these: */
    uint32_t caught_up;    /* caught up once */
    uint32_t leaderless;   /* without a leader for some seconds */
    uint32_t lost_logs;    /* take no writes, because their log was made anew or has lost records */
    uint64_t away_ms;      /* since the connection ended; 0: it has not */
    uint64_t lag_ms;       /* from a write to its arrival here; the longest of all partitions */
    uint64_t silent_ms;    /* since when such a write is missing; 0: none is */
    uint64_t to_read;      /* records that are still to be read, of those that are known */
    uint64_t applied;      /* records since the start */
    uint64_t left_out;     /* of these: damaged, or written by others */
    uint64_t no_room;      /* how often a record found no room */
    uint64_t in_flight;    /* writes, now */
    uint64_t acknowledged; /* this and those below: since the start */
    uint64_t conflicts;
    uint64_t lost_answers;
    uint64_t failed;
    uint64_t confirmed;     /* failed conditions */
    uint64_t confirmations; /* questions to the log about them */
    uint64_t longest_write_ms;
    bool sync_is_known;               /* the nodes have said whether they sync */
    char unsynced[128];               /* a node that does not sync before it acknowledges */
    char wrong[REPLICATION_TEXT_MAX]; /* why it waits or is refused, or what is wrong now */
};

/* The same of one partition. */
struct replication_partition {
    char leader[64]; /* a node's name; empty: none is known */
    bool caught_up;
    bool is_lost; /* as lost_logs */
    bool is_leaderless;
    uint64_t position; /* the sequence that the pool has applied */
    uint64_t last;     /* of the log, at the last check; the same of the next four */
    uint64_t records;
    uint64_t bytes;
    uint32_t replicas;
    uint32_t replicas_current; /* of these: have all records */
    uint64_t lag_ms;
    uint64_t silent_ms;
    uint64_t to_read;
    uint64_t in_flight;
    uint64_t conflicts;
};

const char *replication_stage_name(enum replication_stage stage);

/* What the layer above gives to a pool. All functions may be called by any thread that has a
 * store_thread; none waits. */
struct pool_replication {
    void *context;

    /* A proposal for a connection; `wake(wake_context)` is called by another thread when a
     * submitted one has another state. NULL: no memory. */
    struct proposal *(*create)(void *context, void (*wake)(void *), void *wake_context);
    /* The connection ends. `wake` is not called any more. */
    void (*release)(struct proposal *proposal);

    /* The sequence of the last flush that the pool has applied in the key's partition. Asked before
     * a plan is made: what is planned on an item from before a later flush must not count. */
    uint64_t (*get_flush)(void *context, struct bytes key);
    /* Sends the proposal to the log: its state is IN_FLIGHT until it has an outcome. */
    void (*submit)(struct proposal *proposal);
    /* Has the pool confirmed for a request on this key: AGAIN, with `confirmed`. */
    void (*confirm)(struct proposal *proposal, struct bytes key);
    /* The same of a flush of the pool, which proposes no item. */
    void (*submit_flush)(struct proposal *proposal);
    /* The connection has done with a proposal that was acknowledged, or is to be planned again:
     * other writes of the key may go on. */
    void (*settle)(struct proposal *proposal);

    /* A read has noted an access of the item, and the log does not know it yet. May be dropped: the
     * next one comes. NULL: nobody wants to know. */
    void (*note_access)(void *context, struct bytes key);

    /* For monitoring; any thread. `visit_stats` calls `visit` with each pair of a name and a value,
     * for `stats`. May be NULL, all three or none. */
    void (*visit_stats)(void *context,
                        void (*visit)(void *visitor, const char *name, const char *value),
                        void *visitor);
    void (*get_state)(void *context, struct replication_state *state);
    void (*get_partition)(void *context, uint32_t partition, struct replication_partition *state);

    /* Called under the lock of the key's bucket: whether a record may be written at this sequence;
     * not if a later one has been written. By a proposal's owner, and by the reader of the log. */
    bool (*admits_own)(void *context, struct bytes key, uint64_t sequence);
    bool (*admits_read)(void *context, struct bytes key, uint64_t sequence);
};

/* Sets the replication of a pool that was opened with partitions. Before any client is served. */
void pool_set_replication(struct pool *pool, const struct pool_replication *replication);

/* Whether processes that map the replicated pool may read it, as long as the daemon lives. At first
 * they may not. Any thread may call. */
void pool_admit_readers(struct pool *pool, bool admitted);

/* NULL if the pool is not replicated. */
const struct pool_replication *pool_get_replication(const struct pool *pool);

/* Whether another thread has the proposal. NULL: it has not. */
static inline bool proposal_is_in_flight(const struct proposal *proposal) {
    /* acquire: pairs with the release of the new state; what the replication has set is seen */
    return proposal != NULL &&
           atomic_load_explicit(&proposal->state, memory_order_acquire) == PROPOSAL_IN_FLIGHT;
}

static inline bool proposal_is_acknowledged(const struct proposal *proposal) {
    /* acquire: as above */
    return proposal != NULL &&
           atomic_load_explicit(&proposal->state, memory_order_acquire) == PROPOSAL_ACKNOWLEDGED;
}

/* Whether NEEDS_ROOM meant that the proposal was submitted, so that the request waits for the log
 * and not for room; asked once. NULL: it did not. */
static inline bool proposal_take_submitted(struct proposal *proposal) {
    bool submitted = proposal != NULL && proposal->submitted;
    if (submitted) {
        proposal->submitted = false;
    }
    return submitted;
}

/* The request of the proposal has ended: whatever state it was left in, it is idle now. Not while
 * it is in flight. */
void proposal_end(struct pool *pool, struct proposal *proposal);

/* Writes a record of the log to the pool, unless the pool has this record or a later one. `own`: a
 * proposal of this host that was acknowledged; else the reader has come to it. OK, also if there
 * was nothing to write; NEEDS_ROOM, NO_MEMORY, INDEX_FULL, READ_ONLY, TOO_LARGE: nothing was
 * written, try again. */
enum status pool_apply(struct pool *pool, struct store_thread *thread,
                       const struct replica *replica, bool own);

/* The item as a record that tells the log of its last access; `sequence` is that of its record,
 * which the log must still have. Points into the pool. False: there is no such item. */
bool pool_describe_access(struct pool *pool, struct store_thread *thread, struct bytes key,
                          struct replica *replica);

/* How far the partition is applied. The reader notes a sequence when all records up to it are
 * written; one thread for each partition. Any thread reads it. */
uint64_t pool_get_position(const struct pool *pool, uint32_t partition);
void pool_note_position(struct pool *pool, uint32_t partition, uint64_t sequence);

/* The position in the file: what the next start goes on from if the daemon is killed now. */
uint64_t pool_get_noted_position(const struct pool *pool, uint32_t partition);

/* While a position is withheld, the file keeps the one that it has: the pool may still have items
 * that the log has ended long ago, which a start from a later position would not notice. */
void pool_withhold_position(struct pool *pool, uint32_t partition, bool withheld);

/* The pool was caught up with the partition's log at this time, in unix seconds. */
void pool_note_heard(struct pool *pool, uint32_t partition, uint32_t now_s);

/* When the pool was last caught up with all partitions, as the file has it: 0, never. The second
 * function says that all positions are right from now on: each is 0, or was just so. */
uint32_t pool_get_heard_s(const struct pool *pool);
void pool_begin_hearing(struct pool *pool, uint32_t now_s);

/* Ends all items of the pool, here only: they are of a log that is no more. Waits. */
enum status pool_drop_items(struct pool *pool, struct store_thread *thread);

/* The log that the position is of: 0 in a new file. Setting it puts the position to 0, also on the
 * disk. False if the disk fails. Waits; the reader's thread only. */
uint64_t pool_get_log_id(const struct pool *pool, uint32_t partition);
bool pool_set_log_id(struct pool *pool, uint32_t partition, uint64_t log_id);

#endif
