/* The bytes that are shared with other processes and with the disk: the one definition.
 *
 * A pool is two mappings. Both are little-endian and hold no pointers, so that any process may map
 * them at any address.
 *
 *   data   +--------+-----------+-----------+-- ... --+-----------+
 *          | header | segment 0 | segment 1 |         | segment N |
 *          +--------+-----------+-----------+-- ... --+-----------+
 *          header: LAYOUT_PAGE bytes; each segment: segment_bytes
 *
 *   segment  +----------------+--------+--------+--------+-------------+
 *            | segment header | record | record | record |   unused    |  append-only
 *            +----------------+--------+--------+--------+-------------+
 *
 *   record   +-----+------------+-----------+----------+-----+---------+--------+-------+-----+
 *            | crc | accessed_s | sequence  | expiry_s | ... | options |  key   | value | pad |
 *            +-----+------------+-----------+----------+-----+---------+--------+-------+-----+
 *             24 bytes; options: client flags, CAS, created_s; pad: to a multiple of 8
 *
 *   index  +--------+----------------+---------------------+---------------------+
 *          | header | segment table  | buckets             | overflow buckets    |
 *          +--------+----------------+---------------------+---------------------+
 *
 *   bucket   64 bytes: one word and 7 slots
 *            word:  | next overflow bucket, 32 bits | version, 32 bits: odd while it changes |
 *            slot:  | tag, 16 bits | frequency, 8 bits | location, 40 bits |     0: empty
 *            location: segment number << offset_bits | offset in the segment / 8
 *
 * Behind the last record of a segment that takes no more stands, where there is room, a mark that
 * it was the last: the header of a record of kind LAYOUT_NONE, all zero but for expiry_s, which is
 * its offset in the segment, and its crc. Without it (a power cut may take it) the rest of the
 * segment is searched for further records.
 *
 * A record, once written, does not change, but for accessed_s, and at a start for the expiry of one
 * that no client may see (recovery.c, age_limits.c). The data is enough to make the index again;
 * the index alone says what is current.
 */
#ifndef STAYD_STORE_LAYOUT_H
#define STAYD_STORE_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LAYOUT_VERSION = 1,
    LAYOUT_PAGE = 4096,
    LAYOUT_ALIGN = 8, /* of records: what an offset in a location counts in */
    LAYOUT_SLOTS = 7,
    LAYOUT_LOCATION_BITS = 40,
    LAYOUT_FREQUENCY_BITS = 8,
    LAYOUT_FREQUENCY_MAX = 255,
    LAYOUT_NAME_BYTES = 40,
};

#define LAYOUT_DATA_MAGIC UINT64_C(0x0a31646174617473)  /* "statad1\n" */
#define LAYOUT_INDEX_MAGIC UINT64_C(0x0a31786574617473) /* "statex1\n" */
#define LAYOUT_SEGMENT_MAGIC UINT32_C(0x67657331)       /* "1seg" */
#define LAYOUT_NEVER UINT32_MAX                         /* an expiry in the segment table */
#define LAYOUT_SEQUENCE_MAX ((UINT64_C(1) << 48) - 1)
/* What a file may claim: a higher number is damage. Leaves 17 million million for those to come. */
#define LAYOUT_SEQUENCE_CREDIBLE (LAYOUT_SEQUENCE_MAX - (UINT64_C(1) << 44))
#define LAYOUT_FLUSHING UINT64_MAX /* a flush_sequence: nothing is to be seen for a moment */
/* See opened_sequence. It is raised with each so many that are given out, at least: not every one
 * has a record, so counting the records of a segment says nothing. The gap is what may be given out
 * before the disk has that: with fsync = no, all that the kernel has not written yet. */
#define LAYOUT_SEQUENCE_STEP (UINT64_C(1) << 20)
#define LAYOUT_SEQUENCE_GAP (UINT64_C(1) << 28)

struct layout_data_header {
    /* Written once, when the file is made; covered by header_crc. */
    uint64_t magic;
    uint32_t version;
    uint32_t segment_bytes; /* a multiple of LAYOUT_PAGE */
    uint32_t segment_count;
    uint32_t offset_bits;
    uint32_t item_max_bytes;
    uint32_t crc_seed; /* random: what a client stores can not pass for a record */
    uint64_t hash_seed;
    uint64_t pool_id; /* random: an index belongs to the data with the same one */
    char name[LAYOUT_NAME_BYTES];
    uint32_t reserved;
    uint32_t header_crc;

    /* Changes. */
    _Atomic uint64_t stop_id;         /* of the last clean stop; 0 while a daemon has the pool */
    _Atomic uint64_t opened_sequence; /* about the last one given out: those that a client may know
                                       * are below what the disk has here + LAYOUT_SEQUENCE_GAP */
    _Atomic uint64_t items;           /* about how many: sizes the index in recovery */
    uint32_t sync_failed;    /* 1: what the kernel shows of the file may not be on the disk */
    uint32_t idle_timeout_s; /* the limits in force: see age_limits.h. 0: none, */
    uint32_t max_lifetime_s; /* or a file that was written before they were noted */
    /* The wall clock when it was believed last: see expiry_clock.h. All 0: a file that was written
     * before it was noted. */
    uint32_t clock_s;               /* unix seconds, */
    _Atomic uint64_t clock_boot_id; /* in this run of the system; 0: it is not known which, */
    uint32_t clock_boot_s;          /* at this CLOCK_BOOTTIME */
};

struct layout_segment_header {
    uint32_t magic; /* LAYOUT_SEGMENT_MAGIC; anything else: no record in here counts */
    uint32_t header_crc;
    uint64_t generation; /* raised with each use of any segment */
    uint64_t salt;       /* random: with the generation, seeds the records' CRC */
    uint64_t opened_sequence;
    uint32_t opened_s;
    uint32_t ttl_class;
    uint64_t reserved[3];
};

enum layout_kind { LAYOUT_NONE, LAYOUT_VALUE, LAYOUT_TOMBSTONE, LAYOUT_FLUSH };

enum {
    LAYOUT_KIND_MASK = 0x03,
    LAYOUT_HAS_CLIENT_FLAGS = 0x04, /* 4 bytes */
    LAYOUT_HAS_CAS = 0x08,          /* 8 bytes; without: the CAS is the sequence */
    LAYOUT_STALE = 0x10,
    LAYOUT_TOKEN_SENT = 0x20,
    LAYOUT_PAIRED = 0x40,      /* a tombstone that counts only if the record behind it is whole */
    LAYOUT_HAS_CREATED = 0x80, /* 4 bytes: unix seconds */
};

struct layout_record {
    uint32_t crc; /* CRC32C of all from sequence_low to the value's end; 0 in volatile pools */
    _Atomic uint32_t accessed_s; /* unix seconds of the last read that was noted, or the store */
    uint32_t sequence_low;
    uint16_t sequence_high;
    uint8_t info; /* enum layout_kind and the bits above */
    uint8_t key_size;
    uint32_t expiry_s; /* 0: never. Tombstone: its victim's. Flush: when it is due, 0: at once */
    uint32_t value_size;
};

struct layout_bucket {
    _Atomic uint64_t word;
    _Atomic uint64_t slots[LAYOUT_SLOTS];
};

enum layout_segment_state {
    LAYOUT_SEGMENT_FREE,
    LAYOUT_SEGMENT_OPEN,   /* records are being appended */
    LAYOUT_SEGMENT_SEALED, /* full, or given up: only read */
};

struct layout_segment {
    _Atomic uint32_t state;
    _Atomic uint32_t ttl_class;
    _Atomic uint32_t fill;       /* bytes in use from the segment's start, its header included */
    _Atomic uint32_t live_bytes; /* of records that a slot points to */
    _Atomic uint32_t tombstone_bytes; /* of tombstones and flushes that are still needed, at most */
    _Atomic uint32_t first_expiry_s;  /* no record expires earlier; LAYOUT_NEVER */
    _Atomic uint32_t last_expiry_s;   /* no record is of use from then on; LAYOUT_NEVER */
    _Atomic uint32_t items;           /* slots that point to a record in here */
    _Atomic uint64_t generation;
    _Atomic uint64_t opened_sequence;
};

enum layout_index_state {
    LAYOUT_INDEX_LIVE = 1,   /* a daemon keeps it, or kept it until it was killed */
    LAYOUT_INDEX_STOPPED,    /* as a clean stop left it: stop_id tells which */
    LAYOUT_INDEX_SUPERSEDED, /* do not believe it: there is a newer one */
};

struct layout_index_header {
    uint64_t magic;
    uint32_t version;
    uint32_t segment_bytes;
    uint32_t segment_count;
    uint32_t offset_bits;
    uint64_t hash_seed;
    uint64_t pool_id;
    uint64_t segments_offset; /* of the three parts, from the start of the mapping, in bytes */
    uint64_t buckets_offset;
    uint64_t overflow_offset;
    uint32_t bucket_max; /* room for, not in use */
    uint32_t overflow_max;
    _Atomic uint64_t stop_id;
    _Atomic uint32_t state; /* enum layout_index_state */
    uint32_t reserved;
    uint64_t boot_id; /* of the system's run that stop_id is of */

    /* Read with every request, changed seldom. */
    _Alignas(64) _Atomic uint64_t bucket_count; /* in use: linear hashing, see lookup.h */
    _Atomic uint64_t flush_sequence;            /* records up to this one are gone */
    _Atomic uint64_t flush_due_sequence;        /* of the flush that is still due */
    _Atomic uint32_t flush_due_s;               /* when; 0: none is due */

    /* Changed with every write. */
    _Alignas(64) _Atomic uint64_t sequence; /* the last one given out */
    _Atomic uint64_t items;                 /* slots in use */
    _Atomic uint64_t live_bytes;            /* of the records they point to */
    _Atomic uint64_t tombstone_bytes;       /* of tombstones and flushes, as the segments have it */
    _Atomic uint64_t waste_bytes; /* at segments' ends, as is expected of records of these sizes */
    _Atomic uint64_t flushed_bytes; /* of all three: what a flush has ended, not yet taken out */

    _Alignas(64) _Atomic uint64_t overflow_used; /* buckets ever taken from the overflow part */
    _Atomic uint64_t overflow_free;              /* the first given back, 0: none */
};

_Static_assert(sizeof(struct layout_data_header) <= LAYOUT_PAGE, "the header is one page");
_Static_assert(sizeof(struct layout_index_header) <= LAYOUT_PAGE, "the header is one page");
_Static_assert(sizeof(struct layout_segment_header) == 64, "one cache line");
_Static_assert(sizeof(struct layout_record) == 24, "with its slot: 32 bytes an item");
_Static_assert(sizeof(struct layout_bucket) == 64, "one cache line");
_Static_assert(sizeof(struct layout_segment) == 48, "shared with other processes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the layout is little-endian");

static inline uint64_t layout_slot(uint64_t hash, unsigned frequency, uint64_t location) {
    return (hash >> 48) << 48 | (uint64_t)frequency << LAYOUT_LOCATION_BITS | location;
}

static inline uint64_t layout_slot_location(uint64_t slot) {
    return slot & ((UINT64_C(1) << LAYOUT_LOCATION_BITS) - 1);
}

static inline unsigned layout_slot_frequency(uint64_t slot) {
    return (unsigned)(slot >> LAYOUT_LOCATION_BITS) & LAYOUT_FREQUENCY_MAX;
}

static inline uint64_t layout_slot_with_frequency(uint64_t slot, unsigned frequency) {
    return (slot & ~((uint64_t)LAYOUT_FREQUENCY_MAX << LAYOUT_LOCATION_BITS)) |
           (uint64_t)frequency << LAYOUT_LOCATION_BITS;
}

/* The word of a bucket. The version counts in the low half, the link stands in the high one. */
static inline uint32_t layout_word_version(uint64_t word) {
    return (uint32_t)word;
}

static inline uint32_t layout_word_link(uint64_t word) {
    return (uint32_t)(word >> 32);
}

static inline uint64_t layout_word(uint32_t link, uint32_t version) {
    return (uint64_t)link << 32 | version;
}

#endif
