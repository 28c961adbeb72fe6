/* How far a replicated pool has applied each partition of its log (replication.h), in memory and in
 * the file's header.
 *
 *     reader    apply ... 41  apply ... 42          apply ... 43
 *     memory         41            42                    43
 *     sync                 |--takes 41 .. fdatasync .. writes 41--|--takes 43 ...
 *     header    40                                         41
 *
 * The number in the header is never ahead of the records on the disk. */
#ifndef STAYD_STORE_POSITIONS_H
#define STAYD_STORE_POSITIONS_H

#include "store/layout.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct positions {
    uint32_t count; /* of partitions; 0: the pool is not replicated, and nothing below is used */
    struct layout_data_header *header;
    _Atomic uint64_t applied[LAYOUT_PARTITIONS_MAX];
    _Atomic bool withheld[LAYOUT_PARTITIONS_MAX];    /* pool_withhold_position */
    _Atomic uint32_t heard_s[LAYOUT_PARTITIONS_MAX]; /* pool_note_heard; 0: not since the start */
    /* the sync's thread only */
    uint64_t taken[LAYOUT_PARTITIONS_MAX];
    uint32_t taken_heard_s; /* the earliest of all partitions */
};

/* Takes over what the header says, and makes the header that of a pool with so many partitions; 0:
 * of a plain pool. The caller has checked that the file may have this number, and syncs. */
void positions_init(struct positions *positions, struct layout_data_header *header, uint32_t count);

/* The position that the header has. */
uint64_t positions_read(const struct layout_data_header *header, uint32_t partition);

/* Before a sync begins, and after it has ended well; one thread at a time. */
void positions_take(struct positions *positions);
void positions_write(struct positions *positions);

#endif
