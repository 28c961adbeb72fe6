/* The writes, for the files of this module only:
 *
 *     write_tables.c    which write holds a key, which has a number, and the queue of the thread
 *     writes.c          how a write goes on and ends: what connections ask for, and answers
 *     writes_confirm.c  conditions that failed: whether the pool has all that the log has
 *     writes_thread.c   sends, and watches the time
 */
#ifndef STAYD_CLUSTER_WRITES_PRIVATE_H
#define STAYD_CLUSTER_WRITES_PRIVATE_H

#include "cluster/writes.h"

#include <stdatomic.h>

enum {
    WRITES_TICK_MS = 20,
    WRITES_AWAKE_MS = 1000, /* the thread goes on watching for so long after the last write */
    WRITES_BUSY_MS = 20,    /* the longest pause after BUSY, and between two conflicts of a write */
    WRITES_ABSENT_MS = 200, /* the pause while nobody is there */
    WRITES_CONFLICTS = 2,   /* after so many, a write pauses before it is planned again */
    WRITES_CONFIRMATION_S = 600, /* for so long the log keeps a confirmation */
};

enum write_phase {
    WRITE_IDLE,       /* the connection's */
    WRITE_QUEUED,     /* behind another write of its key */
    WRITE_SEND,       /* in the queue of the thread, to be sent */
    WRITE_FIND,       /* the same, to be looked for */
    WRITE_SENT,       /* until `until_ms` */
    WRITE_LOOKING,    /* the same */
    WRITE_PAUSED,     /* the same; then it is sent again */
    WRITE_RESTING,    /* the same; then it is planned again */
    WRITE_AWAITING,   /* until the reader has come to `named` */
    WRITE_STORED,     /* until the reader has come to `named`, its own record */
    WRITE_HELD,       /* the connection's; it has the key */
    WRITE_FLUSHING,   /* a flush */
    WRITE_CONFIRMING, /* until the reader has come to the confirmation; with or without the key */
    WRITE_CONFIRMED,  /* the connection's; it is to be planned again, and does not have the key */
};

/* All fields are under the lock of `writes`, and those of the proposal are its owner's. */
struct write {
    struct proposal proposal; /* first */
    struct writes *writes;
    void (*wake)(void *context);
    void *wake_context;
    bool released; /* the connection has ended */
    enum write_phase phase;
    bool has_key;       /* it stands in `holders` */
    bool unclear;       /* it was sent once without an answer */
    unsigned conflicts; /* since it was submitted first */
    uint64_t number;    /* of the write: the token of its requests; another one for each plan */
    uint64_t named;
    uint64_t floor; /* the partition's position when it was sent: its record comes after that */
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
    uint64_t confirmation;        /* CONFIRMING: number of the first that is late enough */
    struct write *confirms_next;  /* CONFIRMING: the others of the partition */
    struct write *confirms_before;
    bool in_queue;
};

/* The confirmations of a partition: at most one is awaited. */
struct confirmation {
    struct write *first; /* of those that wait */
    uint64_t sent;       /* number of the last one; 0: none was sent */
    uint64_t floor;      /* the partition's position when it was sent */
    uint64_t until_ms;   /* when another one is sent in its place; 0: none is awaited */
    bool due;            /* to be sent now */
};

struct writes {
    struct writes_options options;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* there is something to send, or `stopping` */
    pthread_t thread;
    bool stopping;
    bool sleeps;                  /* the thread: until there is a write */
    struct buffer engine_payload; /* of writes_send_due */
    uint64_t numbers;             /* given out */
    uint64_t noise;               /* for pauses */
    unsigned on_the_way;          /* phases with a time: the thread watches it */
    struct write *holders[WRITES_CHAINS];
    struct write *numbered[WRITES_CHAINS];
    struct write *queue_first;
    struct write *queue_last;
    pthread_cond_t flush_wake;       /* a flush was submitted, or `stopping` */
    struct write *flushes_submitted; /* linked by `behind` */
    struct write *flushes_running;
    _Atomic unsigned awaiting[POOL_PARTITIONS_MAX];
    _Atomic bool log_is_lost[POOL_PARTITIONS_MAX];
    struct confirmation confirmations[POOL_PARTITIONS_MAX];
    unsigned confirmations_due;
    struct writes_stats stats;
    struct writes_partition_stats partitions[POOL_PARTITIONS_MAX];
};

static inline struct write *write_of(struct proposal *proposal) {
    return (struct write *)(void *)proposal;
}

static inline struct bytes write_key(const struct write *write) {
    return bytes_from(write->key, write->key_size);
}

/* write_tables.c, below; all under the lock */

/* The link to the write that holds the key, or to the end of its chain. */
struct write **writes_find_holder(struct writes *writes, struct bytes key);

/* The same of the write with this number. */
struct write **writes_find_number(struct writes *writes, uint64_t number);

/* The write begins, under a new number; it has ended, and has none. */
void writes_give_number(struct writes *writes, struct write *write);
void writes_take_number(struct writes *writes, struct write *write);

/* Puts the write into the thread's queue, for one request (SEND or FIND). */
void writes_enqueue(struct writes *writes, struct write *write, enum write_phase phase);
struct write *writes_dequeue(struct writes *writes);
void writes_leave_queue(struct writes *writes, struct write *write);

/* The write does not wait for a confirmation any more. */
void writes_leave_confirmation(struct writes *writes, struct write *write);

/* writes.c, below; all under the lock */

/* The write ends with PROPOSAL_FAILED. */
void writes_fail(struct writes *writes, struct write *write, enum status failure);

/* A request on this key begins, or goes on after it was confirmed. */
void writes_begin(struct writes *writes, struct write *write, struct bytes key);

/* The write is its connection's again. */
void writes_finish(struct writes *writes, struct write *write, enum proposal_state state);

/* The log has given out this sequence before: it was made anew, or has lost its end. What this host
 * has and what the log will say from now on do not belong together, so it takes no more writes. */
void writes_note_lost_log(struct writes *writes, uint32_t partition, uint64_t sequence);

/* The write waits for this time, at most. */
void writes_set_time(struct write *write, enum write_phase phase, uint32_t after_ms);

/* The pool has the record that was in the way: the request is planned again, now or after a pause.
 */
void writes_plan_again(struct writes *writes, struct write *write);

/* writes_confirm.c, below; all under the lock */

/* Sends one confirmation that is due. The lock is released meanwhile. */
void writes_send_confirmation(struct writes *writes);

/* Those whose answers are late are sent again. */
void writes_check_confirmations(struct writes *writes, uint64_t now_ms);

#endif
