/* The engine: a replicated log, as the cluster layer needs it. The real one is NATS JetStream
 * (nats/engine.c), a module that is opened at run time (engine_module.h); the tests have another
 * one, which answers when they say so.
 *
 * A log has partitions. A record has a subject in its partition, and the partition gives it a
 * sequence; the log keeps the last record of each subject.
 *
 *     write   a record, only if the subject's last record has the expected sequence
 *     find    the last record of a subject, as the partition's leader knows it
 *     follow  all records of a partition from a sequence on, in order
 *
 * write and find are answered by the callbacks, on the engine's threads, once or never: an answer
 * may be lost, and a record whose answer was lost may be stored late. The token says what is
 * answered. */
#ifndef STAYD_CLUSTER_ENGINE_H
#define STAYD_CLUSTER_ENGINE_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    ENGINE_SUBJECT_MAX = 512, /* bytes of a subject, with its zero */
    ENGINE_ERROR_MAX = 512,   /* bytes of a message in an out parameter, with its zero */
};

enum engine_outcome {
    ENGINE_STORED,   /* on a majority of the disks, at `sequence` */
    ENGINE_CONFLICT, /* not stored: the subject's last record has `sequence`, not the expected one
                      */
    ENGINE_BUSY,     /* not stored: another write of the subject is under way */
    ENGINE_ABSENT,   /* not stored: nobody was there to take it */
    ENGINE_REFUSED,  /* not stored, and will not be: a limit of the engine */
    ENGINE_UNCLEAR,  /* an error that does not say whether it was stored */
};

struct engine_write {
    uint64_t token;
    const char *subject;
    struct bytes payload;
    bool is_conditional;
    uint64_t expected; /* 0: the subject must have no record */
    uint32_t ttl_s;    /* the log drops the record then; 0: it never does */
};

struct engine_found {
    bool is_answered; /* false: the leader said something else, ask again */
    bool is_there;
    uint64_t sequence;
    struct bytes payload;
};

/* Any of the engine's threads calls these; they do not block. */
struct engine_callbacks {
    void *context;
    /* After `poke`, on the thread that sends: what is due is written now, and leaves together. */
    void (*send)(void *context);
    void (*written)(void *context, uint64_t token, enum engine_outcome outcome, uint64_t sequence);
    void (*found)(void *context, uint64_t token, const struct engine_found *found);
    /* log_write: a module has no log of its own. */
    void (*log)(enum log_level level, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
};

/* A record that is followed. Valid until the next call of `receive`. */
struct engine_record {
    uint32_t partition;
    uint64_t sequence;
    const char *subject;
    struct bytes payload;
    uint64_t pending; /* records of the partition that are still to come */
};

enum engine_check { ENGINE_RIGHT, ENGINE_WRONG, ENGINE_AWAY };

/* What the nodes have said about themselves, as far as this user may ask them. */
struct engine_nodes {
    uint32_t answered; /* nodes that have answered ask_nodes so far */
    bool refused;      /* this user may not ask */
    char
        unsynced[128]; /* a node that does not write to the disk before it acknowledges; empty: none
                        */
};

/* The numbers of a partition's log when it was checked. */
struct engine_log {
    uint64_t log_id; /* another one when the log is made anew; never 0 */
    uint64_t first;  /* sequence of the first record that it has */
    uint64_t last;
    /* for people */
    char leader[64]; /* the node's name; empty: there is none */
    uint64_t records;
    uint64_t bytes;
    uint32_t replicas;
    uint32_t replicas_current; /* of these: have all records */
};

struct engine {
    void *self; /* the first argument */

    /* Whether the partition's log is there, with the right settings, on a server that is not too
     * old; waits some seconds at most. WRONG and AWAY: the reason is in `error`. */
    enum engine_check (*check)(void *self, uint32_t partition, struct engine_log *log,
                               char error[ENGINE_ERROR_MAX]);

    /* Asks every node for its settings. The answers come later, within a second. Any thread. */
    void (*ask_nodes)(void *self);
    void (*get_nodes)(void *self, struct engine_nodes *nodes);

    /* The sequence of the subject's last record; 0: it has none. Waits some seconds at most.
     * `payload` (may be NULL): its contents are replaced by the record's. */
    enum engine_check (*find_now)(void *self, uint32_t partition, const char *subject,
                                  uint64_t *sequence, struct buffer *payload,
                                  char error[ENGINE_ERROR_MAX]);

    /* Makes the partition's log, if there is none; `check` says whether it is right. `drop` deletes
     * it with all that it has. */
    enum engine_check (*create)(void *self, uint32_t partition, char error[ENGINE_ERROR_MAX]);
    enum engine_check (*drop)(void *self, uint32_t partition, char error[ENGINE_ERROR_MAX]);

    /* Send a request. False: it was not sent. Any thread; they may wait for the network. */
    bool (*write)(void *self, const struct engine_write *write);
    bool (*find)(void *self, uint64_t token, uint32_t partition, const char *subject);

    /* Asks the engine to call `send` soon. False: it will not, there is no connection. Any thread;
     * does not wait. NULL: the engine calls nothing. */
    bool (*poke)(void *self);

    /* Drops the partition's records below this sequence. Answered by `written`: STORED. */
    bool (*purge)(void *self, uint64_t token, uint32_t partition, uint64_t below);

    /* Begins to follow a partition, from this sequence on; the engine begins again by itself when
     * records are missing or no sign of life comes. One thread calls this and `receive`. */
    void (*follow)(void *self, uint32_t partition, uint64_t from);

    /* The next record of the partitions that are followed. False: there is none within this time.
     */
    bool (*receive)(void *self, uint32_t timeout_ms, struct engine_record *record);

    /* Whether it is connected to a node. Any thread. */
    bool (*is_connected)(void *self);

    /* Leaves the node that it is connected to for another one, which may be the same: a node that
     * has lost the others keeps its connections. Any thread. */
    void (*leave)(void *self);

    /* Whether the engine refuses this host, which waiting does not mend: wrong credentials, a wrong
     * certificate, too few rights. The reason is in `error`. Any thread. */
    bool (*is_refused)(void *self, char error[ENGINE_ERROR_MAX]);

    /* No other function is running. No callback is called any more when this returns. */
    void (*close)(void *self);
};

struct engine_options {
    const char *urls; /* separated by commas */
    const char *prefix;
    const char *pool;
    uint32_t partitions;
    uint32_t replicas;
    uint32_t payload_max_bytes; /* of a record that will be written; 0: none will */
    const char *credentials;    /* path of a file, or NULL */
    const char *tls_ca;         /* the same; with it, the connection is encrypted */
    const char *tls_cert;
    const char *tls_key;
};

/* The function ENGINE_OPEN_NAME of the module. False with the reason in `error`. Does not wait for
 * a connection. */
typedef bool engine_open(const struct engine_options *options,
                         const struct engine_callbacks *callbacks, struct engine *engine,
                         char error[ENGINE_ERROR_MAX]);
#define ENGINE_OPEN_NAME "stayd_engine_open"

#endif
