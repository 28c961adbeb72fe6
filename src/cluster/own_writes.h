/* Keys that this host writes: the writers and the reader of the log write to the pool side by side,
 * and for each key only the later record must stay.
 *
 *     log        ... | k = a, 7 | k deleted, 9 |      this host has deleted k, at 9: the writer is
 * first reader              ^ here                      7 must not be written any more
 *
 *     log        ... | k = b, 7 | k deleted, 9 |      this host has set k, at 7, another has
 * deleted it reader                                ^ here    7 must not be written any more
 *
 * A value's CAS says so by itself; a deleted item has none. So each key that is being written has
 * an entry: the sequence of the last record that a writer has written, and of the last that the
 * reader has. It stays until no write of the key is under way and the reader has passed the
 * writers. */
#ifndef STAYD_CLUSTER_OWN_WRITES_H
#define STAYD_CLUSTER_OWN_WRITES_H

#include "base/bytes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { OWN_WRITES_CHAINS = 1024 };

struct own_write;

/* Any thread; the lock is held for some hundred nanoseconds. */
struct own_writes {
    pthread_mutex_t lock;
    _Atomic uint64_t count;
    struct own_write *chains[OWN_WRITES_CHAINS];
};

void own_writes_init(struct own_writes *writes);
void own_writes_finish(struct own_writes *writes);

/* A write of the key begins, before the log can have it; and it has ended. False: no memory, the
 * write must not begin. */
bool own_writes_begin(struct own_writes *writes, struct bytes key, uint32_t partition);
void own_writes_end(struct own_writes *writes, struct bytes key);

/* Under the lock of the key's bucket: whether the writer may write its record at this sequence; not
 * if the reader has written this record or a later one. While the write is under way. */
bool own_writes_admit_writer(struct own_writes *writes, struct bytes key, uint64_t sequence);

/* The same for the reader: not if a writer has written a later one. */
bool own_writes_admit_reader(struct own_writes *writes, struct bytes key, uint64_t sequence);

/* The reader has come to a flush of the partition at this sequence: no writer may write an earlier
 * record any more. */
void own_writes_flush(struct own_writes *writes, uint32_t partition, uint64_t sequence);

/* The reader has passed this sequence in the partition. Visits all entries. */
void own_writes_sweep(struct own_writes *writes, uint32_t partition, uint64_t sequence);

#endif
