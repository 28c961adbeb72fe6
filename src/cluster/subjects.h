/* Names in the log: which partition a key belongs to, and the subjects of its records.
 *
 *     PREFIX.POOL.PARTITION.k.KEY     the last record of a key; KEY in base64url, without padding
 *     PREFIX.POOL.PARTITION.h.HOST    a host's last beacon
 *     PREFIX.POOL.PARTITION.f         the last flush
 *     PREFIX.POOL.PARTITION.o         where the log's first records are from (origin.h)
 *
 * They are the same on every host and in every version: an item under another subject would be
 * another item. */
#ifndef STAYD_CLUSTER_SUBJECTS_H
#define STAYD_CLUSTER_SUBJECTS_H

#include "base/bytes.h"
#include "cluster/engine.h"

#include <stdbool.h>
#include <stdint.h>

struct subjects {
    const char *prefix;
    const char *pool;
    uint32_t partitions;
};

uint32_t subjects_get_partition(const struct subjects *subjects, struct bytes key);

void subjects_write_key(const struct subjects *subjects, struct bytes key,
                        char subject[ENGINE_SUBJECT_MAX]);
void subjects_write_flush(const struct subjects *subjects, uint32_t partition,
                          char subject[ENGINE_SUBJECT_MAX]);
void subjects_write_origin(const struct subjects *subjects, uint32_t partition,
                           char subject[ENGINE_SUBJECT_MAX]);
void subjects_write_host(const struct subjects *subjects, uint32_t partition, uint64_t host,
                         char subject[ENGINE_SUBJECT_MAX]);

void subjects_write_confirmation(const struct subjects *subjects, uint32_t partition, uint64_t host,
                                 char subject[ENGINE_SUBJECT_MAX]);

enum subject_kind {
    SUBJECT_FOREIGN,
    SUBJECT_KEY,
    SUBJECT_HOST,
    SUBJECT_CONFIRMATION,
    SUBJECT_FLUSH,
    SUBJECT_ORIGIN
};

/* What a subject of this pool's log is of. KEY: the key is written to `key`, POOL_KEY_MAX bytes.
 * HOST and CONFIRMATION: sets `*host`. FOREIGN: no host of this pool has written it. */
enum subject_kind subjects_read(const struct subjects *subjects, uint32_t partition,
                                const char *subject, char *key, size_t *key_size, uint64_t *host);

#endif
