#include "store/positions.h"

#include "base/log.h"
#include "store/pool.h"

#include <string.h>

enum { POSITIONS_CHECK_SHIFT = 48 };

_Static_assert((int)LAYOUT_PARTITIONS_MAX == (int)POOL_PARTITIONS_MAX, "one for each");

#define POSITIONS_SEQUENCE_MAX ((UINT64_C(1) << POSITIONS_CHECK_SHIFT) - 1)

/* The word of a position. The check depends on the pool and the partition. */
static uint64_t positions_word(const struct layout_data_header *header, uint32_t partition,
                               uint64_t sequence) {
    uint64_t mixed = (sequence + header->pool_id + partition) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return mixed >> POSITIONS_CHECK_SHIFT << POSITIONS_CHECK_SHIFT | sequence;
}

uint64_t positions_read(const struct layout_data_header *header, uint32_t partition) {
    uint64_t word = atomic_load(&header->partitions[partition].position);
    uint64_t sequence = word & POSITIONS_SEQUENCE_MAX;
    if (word != 0 && word != positions_word(header, partition, sequence)) {
        log_warning("pool %s: the noted position of partition %u is damaged; the partition is read "
                    "from its start",
                    header->name, partition);
        return 0;
    }
    return sequence;
}

void positions_init(struct positions *positions, struct layout_data_header *header,
                    uint32_t count) {
    positions->count = count;
    positions->header = header;
    if (header == NULL) {
        return;
    }
    if (header->partition_count != count) {
        memset(header->partitions, 0, sizeof header->partitions);
        header->partition_count = count;
    }
    for (uint32_t i = 0; i < count; i++) {
        atomic_store(&positions->applied[i], positions_read(header, i));
    }
}

void positions_take(struct positions *positions) {
    positions->taken_heard_s = UINT32_MAX;
    for (uint32_t i = 0; i < positions->count; i++) {
        bool withheld = atomic_load(&positions->withheld[i]);
        uint32_t heard_s = atomic_load(&positions->heard_s[i]);
        positions->taken[i] = withheld ? 0 : atomic_load(&positions->applied[i]);
        positions->taken_heard_s =
            heard_s < positions->taken_heard_s ? heard_s : positions->taken_heard_s;
    }
}

void positions_write(struct positions *positions) {
    struct layout_data_header *header = positions->header;
    for (uint32_t i = 0; i < positions->count; i++) {
        uint64_t word = positions_word(header, i, positions->taken[i]);
        if (positions->taken[i] != 0 &&
            atomic_load_explicit(&header->partitions[i].position, memory_order_relaxed) != word) {
            atomic_store(&header->partitions[i].position, word); /* relaxed above: one writer */
        }
    }
    if (positions->count > 0 && positions->taken_heard_s != 0) {
        header->partitions_noted_s = positions->taken_heard_s;
    }
}
