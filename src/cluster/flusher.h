/* flush_all of a clustered pool: one thread, which carries out all flushes that were asked for at a
 * time as one.
 *
 *     for each partition    flush record at f -> purge below f -> applied here
 *
 * Every host removes what is below a flush record when its reader comes to it. A host that has not
 * come to f yet may still plan a change on an item from before, and the log takes the new item,
 * above f. Such a record does not count: it names the last flush that its writer had applied, and
 * every reader sees f between (struct replica: derived). The purge only gives the engine its room
 * back.
 *
 * A flush record is written under the condition that the one before is still the last. So one whose
 * answer is lost can be sent again, and one that arrives late does nothing. */
#ifndef STAYD_CLUSTER_FLUSHER_H
#define STAYD_CLUSTER_FLUSHER_H

#include "cluster/engine.h"
#include "cluster/subjects.h"
#include "cluster/writes.h"

#include <stdbool.h>
#include <stdint.h>

struct flusher_options {
    const struct subjects *subjects; /* these live longer */
    struct engine *engine;
    struct pool *pool;
    struct writes *writes;
};

struct flusher;

/* Starts the thread. NULL if memory or threads are short. */
struct flusher *flusher_start(const struct flusher_options *options);

/* After writes_stop, before the engine is closed. Accepts NULL. */
void flusher_join(struct flusher *flusher);

/* No engine calls any more. Accepts NULL. */
void flusher_destroy(struct flusher *flusher);

/* The answer to a request of the flusher: its tokens have this bit. */
#define FLUSHER_TOKEN (UINT64_C(1) << 62)
void flusher_take_outcome(struct flusher *flusher, uint64_t token, enum engine_outcome outcome,
                          uint64_t sequence);

/* Whether these bytes are a flush record's. */
bool flusher_is_record(struct bytes payload);

#endif
