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
 *             24 bytes; options: touch, client flags, CAS, created_s; pad: to a multiple of 8
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
 * In a persistent pool, a segment that takes no more records has an end mark behind its last
 * record, if there is room for the mark. The end mark is a record header of kind LAYOUT_NONE:
 * expiry_s is the mark's offset in the segment, crc is set, and all other bytes are zero. A power
 * cut may lose the end mark; recovery then searches the rest of the segment for records.
 *
 * After a record is written, only three parts of it may change: accessed_s; the touch of a large
 * value; and, while a pool is opened, the expiry of a record that no client may see (recovery.c,
 * age_limits.c). The index can be rebuilt from the data. Only the index says which record of a key
 * is the current one.
 *
 * Other processes may map both parts and read them (reader.h), also while no daemon runs. They use
 * an index only while its state and its index_id say that it is valid (reader.h). The data of a
 * volatile pool ends with the daemon, and a replicated pool falls behind the other hosts without
 * it; so the readers of such pools also check keeper and heartbeat_ms.
 *
 * In version 1 the data header ended before index_id. In version 2 records had no touch. A file of
 * an earlier version is converted when the pool is opened: its header is written again, in one
 * write (data_file.c), and its index is rebuilt. */
#ifndef STAYD_STORE_LAYOUT_H
#define STAYD_STORE_LAYOUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LAYOUT_PARTITIONS_MAX = 128, /* of a replicated pool (replication.h) */
    LAYOUT_VERSION = 3,
    LAYOUT_VERSION_FIRST = 1,    /* the earliest version that can be converted */
    LAYOUT_VERSION_INDEX_ID = 2, /* from this version on, the data header has an index_id */
    LAYOUT_PAGE = 4096,
    LAYOUT_ALIGN = 8, /* alignment of records, and the unit of the offset in a location */
    LAYOUT_SLOTS = 7,
    LAYOUT_LOCATION_BITS = 40,
    LAYOUT_FREQUENCY_BITS = 8,
    LAYOUT_FREQUENCY_MAX = 255,
    LAYOUT_NAME_BYTES = 40,
    LAYOUT_TOUCHES_MAX = 4095,     /* of one record */
    LAYOUT_TOUCH_CHECK_SHIFT = 44, /* the position of the check in a touch's word */
    LAYOUT_HEARTBEAT_MS = 2000,    /* if the heartbeat is older, no daemon keeps the index */
};

#define LAYOUT_DATA_MAGIC UINT64_C(0x0a31646174617473)  /* "statad1\n" */
#define LAYOUT_INDEX_MAGIC UINT64_C(0x0a31786574617473) /* "statex1\n" */
#define LAYOUT_SEGMENT_MAGIC UINT32_C(0x67657331)       /* "1seg" */
#define LAYOUT_NEVER UINT32_MAX                         /* in the segment table: no expiry */
#define LAYOUT_SEQUENCE_MAX ((UINT64_C(1) << 48) - 1)
/* The highest sequence that is accepted from a file: a higher one is damage. 2^44 sequences remain
 * above it for new records. */
#define LAYOUT_SEQUENCE_FILE_MAX (LAYOUT_SEQUENCE_MAX - (UINT64_C(1) << 44))
#define LAYOUT_FLUSHING UINT64_MAX /* flush_sequence during a flush: no item is visible */
/* opened_sequence of the data header is raised at least once every LAYOUT_SEQUENCE_STEP sequences.
 * (Opening a segment raises it too. That alone is not enough: a sequence without a record fills no
 * segment.) LAYOUT_SEQUENCE_GAP is how many sequences may be given out before the raised value is
 * on the disk. The gap is this large because with fsync = no the kernel decides when to write the
 * value. */
#define LAYOUT_SEQUENCE_STEP (UINT64_C(1) << 20)
#define LAYOUT_SEQUENCE_GAP (UINT64_C(1) << 28)

/* How far a replicated pool has applied one partition of its log.
 *
 *     position: | check, 16 bits | sequence in the log, 48 bits |
 *
 * Every record up to that sequence is in the file, and on the disk. 0, or a wrong check: not known,
 * the partition is read from its start. */
struct layout_partition {
    _Atomic uint64_t position;
    _Atomic uint64_t log_id; /* identifies the stream that the sequence is of; 0: none yet */
};

struct layout_data_header {
    /* Written when the file is made, resized or converted, in one write; covered by header_crc. */
    uint64_t magic;
    uint32_t version;
    uint32_t segment_bytes; /* a multiple of LAYOUT_PAGE */
    uint32_t segment_count;
    uint32_t offset_bits;
    uint32_t item_max_bytes;
    uint32_t crc_seed; /* random: bytes that a client stores cannot pass for a record */
    uint64_t hash_seed;
    uint64_t pool_id; /* random: an index belongs to the data with the same pool_id */
    char name[LAYOUT_NAME_BYTES];
    uint32_t reserved;
    uint32_t header_crc;

    /* These change while a daemon uses the pool. No CRC covers them. */
    _Atomic uint64_t stop_id;         /* of the last clean stop; 0 while a daemon uses the pool */
    _Atomic uint64_t opened_sequence; /* a sequence that was given out recently: every sequence that
                                       * a client knows is below the value on the disk
                                       * + LAYOUT_SEQUENCE_GAP */
    _Atomic uint64_t items; /* approximate number of items: recovery sizes the index by it */
    uint32_t sync_failed;   /* 1: a sync failed, so the page cache may differ from the disk */
    /* The limits in force, see age_limits.h. 0: no limit, or the file was written before limits
     * were noted. */
    uint32_t idle_timeout_s;
    uint32_t max_lifetime_s;
    /* The last time at which the wall clock was trusted, see expiry_clock.h. All 0: the file was
     * written before the clock was noted. */
    uint32_t clock_s;               /* unix seconds */
    _Atomic uint64_t clock_boot_id; /* the boot in which clock_s was noted; 0: unknown */
    uint32_t clock_boot_s;          /* CLOCK_BOOTTIME when clock_s was noted */
    uint32_t more_reserved;
    /* A random number that the index of this data also has; 0: there is no index. A daemon that
     * does not continue with the last index changes this number before its first write. Processes
     * that map the old index then stop using it, even if the index's file has been removed. */
    _Atomic uint64_t index_id;
    /* A replicated pool's number of partitions; 0: the pool is not replicated, or the file was
     * written before pools could be. */
    uint32_t partition_count;
    uint32_t partitions_noted_s; /* unix seconds: when all partitions were last caught up */
    struct layout_partition partitions[LAYOUT_PARTITIONS_MAX];
};

struct layout_segment_header {
    uint32_t magic; /* LAYOUT_SEGMENT_MAGIC; with any other value the segment has no records */
    uint32_t header_crc;
    uint64_t generation;      /* one higher for each segment that is opened */
    uint64_t salt;            /* random: seeds the records' CRC together with the generation */
    uint64_t opened_sequence; /* the last sequence given out before the segment was opened */
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
    LAYOUT_PAIRED = 0x40,      /* a tombstone that is valid only if the next record is whole */
    LAYOUT_TOUCHABLE = 0x40,   /* a value: its first option is a struct layout_touch */
    LAYOUT_HAS_CREATED = 0x80, /* 4 bytes: unix seconds */
};

struct layout_record {
    uint32_t crc; /* CRC32C from sequence_low to the end of the value; 0 in volatile pools */
    _Atomic uint32_t accessed_s; /* unix seconds of the last noted read, or of the store */
    uint32_t sequence_low;
    uint16_t sequence_high;
    uint8_t info; /* enum layout_kind and the bits above */
    uint8_t key_size;
    uint32_t expiry_s; /* 0: never. Tombstone: of the deleted item. Flush: its time, 0: at once */
    uint32_t value_size;
};

/* The current expiry of a large value: a touch changes this and does not copy the value. The
 * record's CRC does not cover it. `expiry` has a check of its own, and is aligned and written in
 * one store, so a crash or a power cut leaves the earlier expiry or the later one:
 *
 *     | check, 20 bits | touches so far, 12 bits | expiry_s, 32 bits |
 *
 * In a persistent pool such a touch only extends the life of an item, so this expiry is never
 * earlier than the expiry_s in the record's header. If the check is wrong, the header's expiry_s
 * counts. Of two copies of a record, the copy with more touches is newer. */
struct layout_touch {
    _Atomic uint64_t expiry;
    /* Of the last touch, or of the record: written before `expiry`. Nothing checks it in a file, so
     * a sequence that was never given out may be read (layout_touch_is_new). */
    _Atomic uint64_t sequence;
};

struct layout_bucket {
    _Atomic uint64_t word;
    _Atomic uint64_t slots[LAYOUT_SLOTS];
};

enum layout_segment_state {
    LAYOUT_SEGMENT_FREE,
    LAYOUT_SEGMENT_OPEN,   /* records are being appended */
    LAYOUT_SEGMENT_SEALED, /* takes no more records */
};

struct layout_segment {
    _Atomic uint32_t state;
    _Atomic uint32_t ttl_class;
    _Atomic uint32_t fill;            /* bytes in use, the segment header included */
    _Atomic uint32_t live_bytes;      /* of records that a slot points to */
    _Atomic uint32_t tombstone_bytes; /* upper bound, of tombstones and flushes still needed */
    _Atomic uint32_t first_expiry_s;  /* no record expires earlier; LAYOUT_NEVER: none expires */
    _Atomic uint32_t last_expiry_s;   /* no record is needed from this second on; LAYOUT_NEVER:
                                       * there is no such second */
    _Atomic uint32_t items;           /* slots that point to a record in this segment */
    _Atomic uint64_t generation;
    _Atomic uint64_t opened_sequence;
};

enum layout_index_state {
    LAYOUT_INDEX_LIVE = 1,   /* a daemon uses the index, or was killed while using it */
    LAYOUT_INDEX_STOPPED,    /* a clean stop left the index: stop_id says which stop */
    LAYOUT_INDEX_SUPERSEDED, /* the index is out of date: do not use it */
};

enum layout_readers {
    LAYOUT_READERS_ALWAYS = 0, /* also while no daemon runs: nobody else changes the pool */
    LAYOUT_READERS_NONE,       /* a replicated pool that has not caught up */
    LAYOUT_READERS_WHILE_KEPT, /* a replicated pool: without its daemon it falls behind others */
};

struct layout_index_header {
    uint64_t magic;
    uint32_t version;
    uint32_t segment_bytes;
    uint32_t segment_count;
    uint32_t offset_bits;
    uint64_t hash_seed;
    uint64_t pool_id;
    uint64_t segments_offset; /* where the three parts begin, in bytes from the mapping's start */
    uint64_t buckets_offset;
    uint64_t overflow_offset;
    uint32_t bucket_max; /* how many there is room for, not how many are in use */
    uint32_t overflow_max;
    _Atomic uint64_t stop_id;
    uint64_t boot_id;         /* the boot in which stop_id was written */
    uint32_t is_volatile;     /* 1: the data ends with the daemon */
    _Atomic uint32_t readers; /* enum layout_readers: when other processes may read */

    /* Read by every request, seldom changed. */
    _Alignas(64) _Atomic uint64_t bucket_count; /* in use: linear hashing, see lookup.h */
    _Atomic uint64_t flush_sequence;            /* records up to this sequence are flushed */
    _Atomic uint64_t flush_due_sequence;        /* sequence of the delayed flush */
    _Atomic uint32_t flush_due_s;    /* when the delayed flush is due; 0: there is none */
    _Atomic uint32_t idle_timeout_s; /* the limits on age in force; 0: no limit */
    _Atomic uint32_t max_lifetime_s;
    _Atomic uint32_t report_after_s; /* a process that maps the pool asks the daemon for an item
                                      * whose noted access is older than this, so that the daemon
                                      * notes the read; 0: never */
    _Atomic uint64_t index_id; /* the same as in the data header, while this index is in use */
    _Atomic uint32_t state;    /* enum layout_index_state */
    _Atomic uint32_t keeper;   /* the daemon's thread that keeps the index; the kernel sets
                                * FUTEX_OWNER_DIED when that thread ends (heartbeat.h) */

    /* Changed now and then. */
    _Alignas(64) _Atomic uint64_t durable_sequence; /* fsync = always: records up to this sequence
                                                     * are on the disk; else UINT64_MAX */
    _Atomic uint64_t heartbeat_ms; /* CLOCK_MONOTONIC of the daemon's last heartbeat */

    /* Changed by every write. */
    _Alignas(64) _Atomic uint64_t sequence; /* the last sequence given out */
    _Atomic uint64_t items;                 /* slots in use */
    _Atomic uint64_t live_bytes;            /* of the records that slots point to */
    _Atomic uint64_t tombstone_bytes;       /* the sum over all segments */
    _Atomic uint64_t waste_bytes;   /* expected unused bytes at the ends of segments (segment.h) */
    _Atomic uint64_t flushed_bytes; /* bytes in the three sums above that a flush has deleted, and
                                       that are still to be subtracted from these sums */

    _Alignas(64) _Atomic uint64_t overflow_used; /* overflow buckets that were ever in use */
    _Atomic uint64_t overflow_free; /* number of the first free one of these; 0: none */
};

_Static_assert(sizeof(struct layout_data_header) <= LAYOUT_PAGE, "the header is one page");
_Static_assert(sizeof(struct layout_index_header) <= LAYOUT_PAGE, "the header is one page");
_Static_assert(sizeof(struct layout_segment_header) == 64, "one cache line");
_Static_assert(sizeof(struct layout_record) == 24, "with its slot: 32 bytes an item");
_Static_assert(sizeof(struct layout_touch) == 16, "what follows it stays aligned");
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

/* The word of a touch. `sequence` is the record's. */
static inline uint64_t layout_touch_word(uint32_t expiry_s, uint32_t touches, uint64_t sequence) {
    uint64_t content = (uint64_t)touches << 32 | expiry_s;
    uint64_t mixed = (content + sequence) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return mixed >> LAYOUT_TOUCH_CHECK_SHIFT << LAYOUT_TOUCH_CHECK_SHIFT | content;
}

static inline uint32_t layout_touch_expiry_s(uint64_t word) {
    return (uint32_t)word;
}

static inline uint32_t layout_touch_count(uint64_t word) {
    return (uint32_t)(word >> 32) & LAYOUT_TOUCHES_MAX;
}

/* The word of a bucket: the version is in the low half, the link in the high half. */
static inline uint32_t layout_word_version(uint64_t word) {
    return (uint32_t)word;
}

static inline uint32_t layout_word_link(uint64_t word) {
    return (uint32_t)(word >> 32);
}

static inline uint64_t layout_word(uint32_t link, uint32_t version) {
    return (uint64_t)link << 32 | version;
}

/* With fsync = always: whether a touch may not be on the disk yet. A sequence that was never given
 * out is damaged, and came from the disk with its file. Relaxed: a thread that has read the touch's
 * sequence sees at least that sequence as given out (record_touch). */
static inline bool layout_touch_is_new(const struct layout_index_header *index,
                                       uint64_t touch_sequence) {
    return touch_sequence > atomic_load_explicit(&index->durable_sequence, memory_order_relaxed) &&
           touch_sequence <= atomic_load_explicit(&index->sequence, memory_order_relaxed);
}

#endif
