/* Accesses on their way to the log, in a clustered pool with an idle timeout: without them, another
 * host would end a session that is in use here.
 *
 *     reads (any thread) --note--> queue --run, the reader's thread--> conditional write
 *
 * A read notes the access of an item when the last one that is known is a sixteenth of the limit
 * ago; so an item is rarely in the queue twice. The write is the whole item with its new access
 * time, under the condition that the log still has the record that this host has: an item that
 * another host has changed or deleted meanwhile is left alone. Nobody waits for the answer. What is
 * refused, lost or finds no place in the queue does not matter: an item in use is told again, after
 * another sixteenth. */
#ifndef STAYD_CLUSTER_ACCESSES_H
#define STAYD_CLUSTER_ACCESSES_H

#include "cluster/engine.h"
#include "cluster/message.h"
#include "cluster/subjects.h"
#include "store/replication.h"

enum { ACCESSES_QUEUE = 1024, ACCESSES_TURN = 64 };

struct accesses;

struct accesses_options {
    const struct subjects *subjects; /* these live longer */
    struct engine *engine;
    struct pool *pool;
    const _Atomic uint64_t *flushes; /* as reader_options.flushes */
    uint64_t host;
    struct message_life life;
};

/* NULL: no memory. */
struct accesses *accesses_create(const struct accesses_options *options);

/* Nobody uses it any more. Accepts NULL. */
void accesses_destroy(struct accesses *accesses);

/* An access was noted. Any thread; does not wait. */
void accesses_note(struct accesses *accesses, struct bytes key);

/* Writes what is in the queue, ACCESSES_TURN at most; one thread. `token`: of the answers, which
 * nobody needs. */
void accesses_run(struct accesses *accesses, struct store_thread *thread, uint64_t token);

#endif
