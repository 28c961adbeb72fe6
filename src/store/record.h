/* One record of a segment: its size, its parts, how it is written and how it is proved.
 *
 * Pure functions on bytes; any thread may call. Another process or a power cut may have damaged a
 * mapping, so all sizes that are read from it are checked against the room there is.
 */
#ifndef STAYD_STORE_RECORD_H
#define STAYD_STORE_RECORD_H

#include "base/bytes.h"
#include "base/crc_ranges.h"
#include "store/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a record says. For writing, `value_tail` follows `value`, and is spaces if it has no data;
 * reading leaves it empty. */
struct record {
    enum layout_kind kind;
    bool stale;
    bool token_sent;
    bool paired;
    uint32_t client_flags;
    uint32_t expiry_s;
    uint32_t accessed_s;
    uint32_t created_s; /* 0: not known */
    uint64_t sequence;
    uint64_t cas; /* 0 when writing: the sequence */
    struct bytes key;
    struct bytes value;
    struct bytes value_tail;
};

/* The bytes from one record to the next, for these parts. At most 2^32 - 1: callers bound the
 * value by item_max first. */
size_t record_size(const struct record *record);

/* Writes at `at`, which has room for record_size(record) bytes. `crc_seed` 0: no CRC. */
void record_write(struct layout_record *at, const struct record *record, uint32_t crc_seed);

/* Fills `record` in from the bytes at `at`; false if they cannot be a record within `room` bytes.
 * A torn read gives false or nonsense, but never a pointer beyond the room. */
bool record_read(const struct layout_record *at, size_t room, struct record *record);

/* As record_read, and the CRC must be right, and the sequence credible. */
bool record_verify(const struct layout_record *at, size_t room, uint32_t crc_seed,
                   struct record *record);

/* The same for a record at `offset` of the memory that `ranges` is of, in a time that does not
 * depend on its size. */
bool record_verify_range(const struct layout_record *at, size_t room, uint32_t crc_seed,
                         const struct crc_ranges *ranges, size_t offset, struct record *record);

/* Writes, or recognises, the mark behind the last record of a segment, at this offset of it. */
void record_write_end(struct layout_record *at, uint32_t offset, uint32_t crc_seed);
bool record_is_end(const struct layout_record *at, uint32_t offset, uint32_t crc_seed);

/* Copies a whole record, no longer paired, and gives it the CRC of the segment it comes to. */
void record_move(struct layout_record *to, const struct layout_record *from, uint32_t crc_seed);

/* Lets a record end at another time. While nobody else writes, and nobody may be shown it. */
void record_shorten(struct layout_record *at, uint32_t expiry_s, uint32_t crc_seed);

/* Never 0. Records that an earlier use of the same segment left behind do not pass with it. */
uint32_t record_crc_seed(uint32_t pool_crc_seed, const struct layout_segment_header *header);

static inline uint64_t record_sequence(const struct layout_record *at) {
    return (uint64_t)at->sequence_high << 32 | at->sequence_low;
}

static inline size_t record_options_size(uint8_t info) {
    return ((info & LAYOUT_HAS_CLIENT_FLAGS) ? 4U : 0U) + ((info & LAYOUT_HAS_CAS) ? 8U : 0U) +
           ((info & LAYOUT_HAS_CREATED) ? 4U : 0U);
}

/* The bytes up to the next record, of a record that has been checked. */
static inline size_t record_stored_size(const struct layout_record *at) {
    size_t size =
        sizeof *at + record_options_size(at->info) + at->key_size + (size_t)at->value_size;
    return (size + LAYOUT_ALIGN - 1) / LAYOUT_ALIGN * LAYOUT_ALIGN;
}

/* Notes a read, unless a later one is noted already. seq_cst: see note_access in operations.c. */
static inline void record_note_access(struct layout_record *at, uint32_t accessed_s) {
    uint32_t before = atomic_load(&at->accessed_s);
    while (before < accessed_s &&
           !atomic_compare_exchange_weak(&at->accessed_s, &before, accessed_s)) {
    }
}

static inline bool record_expired(uint32_t expiry_s, uint32_t now_s) {
    return expiry_s != 0 && expiry_s <= now_s;
}

#endif
