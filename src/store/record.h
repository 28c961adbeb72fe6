/* One record of a segment: computes its size, reads, writes and verifies it.
 *
 * Pure functions on bytes; any thread may call. A power cut may have damaged the bytes, and in the
 * mapping of another process they may change at any time. So every size that is read is checked
 * against the bytes up to the segment's end. */
#ifndef STAYD_STORE_RECORD_H
#define STAYD_STORE_RECORD_H

#include "base/bytes.h"
#include "base/crc_ranges.h"
#include "store/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The contents of a record. When a record is written, `value_tail` follows `value`; a `value_tail`
 * without data is written as spaces. Reading leaves `value_tail` empty. */
struct record {
    enum layout_kind kind;
    bool stale;
    bool token_sent;
    bool paired;
    bool touchable; /* a value: its expiry can be changed in place (record_touch) */
    uint32_t client_flags;
    uint32_t expiry_s;
    uint32_t accessed_s;
    uint32_t created_s; /* 0: unknown */
    uint64_t sequence;
    uint64_t cas; /* when writing, 0 means: the same as the sequence */

    /* Set by reading only; 0 if the record is not touchable. */
    uint32_t touches;        /* how often its expiry was changed in place; 0 if that is damaged */
    uint64_t touch_sequence; /* of the last touch */
    bool touch_damaged;      /* the touch's check is wrong: `expiry_s` is the expiry in the record's
                                header */

    struct bytes key;
    struct bytes value;
    struct bytes value_tail;
};

/* The bytes that this record takes in a segment, padding included. At most 2^32 - 1: callers check
 * the value's size against item_max first. */
size_t record_size(const struct record *record);

/* Writes at `at`, which has room for record_size(record) bytes. `crc_seed` 0: no CRC. */
void record_write(struct layout_record *at, const struct record *record, uint32_t crc_seed);

/* Fills `record` in from the bytes at `at`; false if they cannot be a record within `room` bytes.
 * A torn read gives false or nonsense, but never a pointer beyond the room. */
bool record_read(const struct layout_record *at, size_t room, struct record *record);

/* As record_read; also checks the CRC, and that the sequence is at most LAYOUT_SEQUENCE_FILE_MAX.
 */
bool record_verify(const struct layout_record *at, size_t room, uint32_t crc_seed,
                   struct record *record);

/* The same for a record at `offset` of the memory that `ranges` describes, in a time that does not
 * depend on the record's size. */
bool record_verify_range(const struct layout_record *at, size_t room, uint32_t crc_seed,
                         const struct crc_ranges *ranges, size_t offset, struct record *record);

/* Writes, or recognises, the end mark (layout.h) at `offset` of a segment. */
void record_write_end(struct layout_record *at, uint32_t offset, uint32_t crc_seed);
bool record_is_end(const struct layout_record *at, uint32_t offset, uint32_t crc_seed);

/* Copies a whole record, clears LAYOUT_PAIRED, and computes the CRC for the new segment. */
void record_move(struct layout_record *to, const struct layout_record *from, uint32_t crc_seed);

/* Gives a touchable record another expiry, in place. A reader sees the earlier expiry or the later
 * one. `sequence`: of this touch. Under the lock of the key's bucket. */
void record_touch(struct layout_record *at, uint32_t expiry_s, uint64_t sequence);

/* Reads again what may have changed since the record was read: its expiry and its access. */
void record_read_again(const struct layout_record *at, struct record *record);

/* Makes a record expire earlier. Called only while no other thread writes, and no client may see
 * the record. */
void record_shorten(struct layout_record *at, uint32_t expiry_s, uint32_t crc_seed);

/* The CRC seed for this use of a segment; never 0. With this seed, records of an earlier use of the
 * segment have a wrong CRC. */
uint32_t record_crc_seed(uint32_t pool_crc_seed, const struct layout_segment_header *header);

static inline uint64_t record_sequence(const struct layout_record *at) {
    return (uint64_t)at->sequence_high << 32 | at->sequence_low;
}

static inline bool record_is_touchable(uint8_t info) {
    return (info & (LAYOUT_KIND_MASK | LAYOUT_TOUCHABLE)) == (LAYOUT_VALUE | LAYOUT_TOUCHABLE);
}

/* Of a touchable record. */
static inline struct layout_touch *record_touch_at(const struct layout_record *at) {
    return (struct layout_touch *)(uintptr_t)(at + 1);
}

static inline size_t record_options_size(uint8_t info) {
    return (record_is_touchable(info) ? sizeof(struct layout_touch) : 0U) +
           ((info & LAYOUT_HAS_CLIENT_FLAGS) ? 4U : 0U) + ((info & LAYOUT_HAS_CAS) ? 8U : 0U) +
           ((info & LAYOUT_HAS_CREATED) ? 4U : 0U);
}

/* The bytes that a record of this size takes, with the padding up to the next record. */
static inline size_t record_padded(size_t size) {
    return (size + LAYOUT_ALIGN - 1) / LAYOUT_ALIGN * LAYOUT_ALIGN;
}

/* The bytes up to the end of the value, of a record that has been checked. */
static inline size_t record_unpadded_size(const struct layout_record *at) {
    return sizeof *at + record_options_size(at->info) + at->key_size + (size_t)at->value_size;
}

/* The bytes up to the next record, of a record that has been checked. */
static inline size_t record_stored_size(const struct layout_record *at) {
    return record_padded(record_unpadded_size(at));
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
