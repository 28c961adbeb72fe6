#include "store/record.h"

#include "base/hash.h"

#include <assert.h>

static uint8_t record_info(const struct record *record) {
    unsigned info = (unsigned)record->kind;
    info |= record->client_flags != 0 ? LAYOUT_HAS_CLIENT_FLAGS : 0;
    info |= record->cas != 0 ? LAYOUT_HAS_CAS : 0;
    info |= record->created_s != 0 ? LAYOUT_HAS_CREATED : 0;
    info |= record->stale ? LAYOUT_STALE : 0;
    info |= record->token_sent ? LAYOUT_TOKEN_SENT : 0;
    info |= record->kind != LAYOUT_VALUE && record->paired ? LAYOUT_PAIRED : 0;
    info |= record->kind == LAYOUT_VALUE && record->touchable ? LAYOUT_TOUCHABLE : 0;
    return (uint8_t)info;
}

size_t record_size(const struct record *record) {
    size_t size = sizeof(struct layout_record) + record_options_size(record_info(record)) +
                  record->key.size + record->value.size + record->value_tail.size;
    return record_padded(size);
}

static char *record_put(char *to, const void *from, size_t size) {
    if (size > 0) {
        memcpy(to, from, size);
    }
    return to + size;
}

uint32_t record_crc_seed(uint32_t pool_crc_seed, const struct layout_segment_header *header) {
    uint32_t seed = hash_crc32c(pool_crc_seed, &header->generation, sizeof header->generation);
    seed = hash_crc32c(seed, &header->salt, sizeof header->salt);
    return seed == 0 ? 1 : seed;
}

/* What the CRC covers: from here to the end of the value, without the touch. */
enum { RECORD_CRC_FROM = offsetof(struct layout_record, sequence_low) };

/* The offset behind the touch, where the CRC continues. */
static size_t record_rest_from(uint8_t info) {
    return sizeof(struct layout_record) +
           (record_is_touchable(info) ? sizeof(struct layout_touch) : 0);
}

static uint32_t record_crc(const struct layout_record *at, size_t size, uint32_t crc_seed) {
    size_t rest = record_rest_from(at->info);
    uint32_t crc =
        hash_crc32c(crc_seed, (const char *)at + RECORD_CRC_FROM, sizeof *at - RECORD_CRC_FROM);
    return hash_crc32c(crc, (const char *)at + rest, size - rest);
}

/* Sets the touch of a record that no other thread reads yet. */
static void record_set_touch(struct layout_record *at, uint64_t word, uint64_t sequence) {
    struct layout_touch *touch = record_touch_at(at);
    atomic_init(&touch->expiry, word);
    atomic_init(&touch->sequence, sequence);
}

void record_write(struct layout_record *at, const struct record *record, uint32_t crc_seed) {
    assert(record->sequence <= LAYOUT_SEQUENCE_MAX && record->key.size <= UINT8_MAX);
    atomic_init(&at->accessed_s, record->accessed_s);
    at->sequence_low = (uint32_t)record->sequence;
    at->sequence_high = (uint16_t)(record->sequence >> 32);
    at->info = record_info(record);
    at->key_size = (uint8_t)record->key.size;
    at->expiry_s = record->expiry_s;
    at->value_size = (uint32_t)(record->value.size + record->value_tail.size);

    char *to = (char *)at + record_rest_from(at->info);
    if (record_is_touchable(at->info)) {
        record_set_touch(at, layout_touch_word(record->expiry_s, 0, record->sequence),
                         record->sequence);
    }
    if (at->info & LAYOUT_HAS_CLIENT_FLAGS) {
        to = record_put(to, &record->client_flags, sizeof record->client_flags);
    }
    if (at->info & LAYOUT_HAS_CAS) {
        to = record_put(to, &record->cas, sizeof record->cas);
    }
    if (at->info & LAYOUT_HAS_CREATED) {
        to = record_put(to, &record->created_s, sizeof record->created_s);
    }
    to = record_put(to, record->key.data, record->key.size);
    to = record_put(to, record->value.data, record->value.size);
    if (record->value_tail.data != NULL) {
        to = record_put(to, record->value_tail.data, record->value_tail.size);
    } else {
        memset(to, ' ', record->value_tail.size);
        to += record->value_tail.size;
    }
    at->crc = crc_seed == 0 ? 0 : record_crc(at, (size_t)(to - (char *)at), crc_seed);
}

bool record_verify(const struct layout_record *at, size_t room, uint32_t crc_seed,
                   struct record *record) {
    if (!record_read(at, room, record) || record->sequence > LAYOUT_SEQUENCE_FILE_MAX) {
        return false;
    }
    size_t size = (size_t)(record->value.data + record->value.size - (const char *)at);
    return crc_seed == 0 || record_crc(at, size, crc_seed) == at->crc;
}

bool record_verify_range(const struct layout_record *at, size_t room, uint32_t crc_seed,
                         const struct crc_ranges *ranges, size_t offset, struct record *record) {
    if (!record_read(at, room, record) || record->sequence > LAYOUT_SEQUENCE_FILE_MAX) {
        return false;
    }
    size_t size = (size_t)(record->value.data + record->value.size - (const char *)at);
    size_t rest = record_rest_from(at->info);
    uint32_t crc =
        crc_ranges_get(ranges, crc_seed, offset + RECORD_CRC_FROM, sizeof *at - RECORD_CRC_FROM);
    return crc_ranges_get(ranges, crc, offset + rest, size - rest) == at->crc;
}

/* The CRC of a record without key and value: it covers the header only. */
void record_write_end(struct layout_record *at, uint32_t offset, uint32_t crc_seed) {
    memset(at, 0, sizeof *at);
    at->expiry_s = offset;
    at->crc = record_crc(at, sizeof *at, crc_seed);
}

bool record_is_end(const struct layout_record *at, uint32_t offset, uint32_t crc_seed) {
    return at->info == LAYOUT_NONE && at->expiry_s == offset && record_sequence(at) == 0 &&
           at->key_size == 0 && at->value_size == 0 &&
           record_crc(at, sizeof *at, crc_seed) == at->crc;
}

void record_move(struct layout_record *to, const struct layout_record *from, uint32_t crc_seed) {
    /* accessed_s is copied separately, because a reader may change it at this moment. */
    uint32_t accessed_s = atomic_load_explicit(&from->accessed_s, memory_order_relaxed);
    atomic_init(&to->accessed_s, accessed_s);
    size_t rest = record_rest_from(from->info);
    size_t size = record_unpadded_size(from);
    memcpy((char *)to + RECORD_CRC_FROM, (const char *)from + RECORD_CRC_FROM,
           sizeof *from - RECORD_CRC_FROM);
    if (record_is_touchable(from->info)) {
        const struct layout_touch *touch = record_touch_at(from);
        record_set_touch(to, atomic_load(&touch->expiry), atomic_load(&touch->sequence));
    } else {
        to->info &= (uint8_t)~LAYOUT_PAIRED;
    }
    memcpy((char *)to + rest, (const char *)from + rest, size - rest);
    to->crc = crc_seed == 0 ? 0 : record_crc(to, size, crc_seed);
}

void record_touch(struct layout_record *at, uint32_t expiry_s, uint64_t sequence) {
    struct layout_touch *touch = record_touch_at(at);
    uint32_t touches = layout_touch_count(atomic_load(&touch->expiry));
    assert(touches < LAYOUT_TOUCHES_MAX);
    /* release, both: pair with the acquires in record_read_again. A thread that sees the sequence
     * also sees that it was given out, and a thread that sees the expiry also sees its sequence. */
    atomic_store_explicit(&touch->sequence, sequence, memory_order_release);
    atomic_store_explicit(&touch->expiry,
                          layout_touch_word(expiry_s, touches + 1, record_sequence(at)),
                          memory_order_release);
}

/* Also sets the expiry in the header. That expiry counts if the touch is damaged, so it must not be
 * later than `expiry_s`. */
void record_shorten(struct layout_record *at, uint32_t expiry_s, uint32_t crc_seed) {
    at->expiry_s = expiry_s;
    at->crc = crc_seed == 0 ? 0 : record_crc(at, record_unpadded_size(at), crc_seed);
    if (record_is_touchable(at->info)) {
        struct layout_touch *touch = record_touch_at(at);
        uint32_t touches = layout_touch_count(atomic_load(&touch->expiry));
        atomic_store(&touch->expiry, layout_touch_word(expiry_s, touches, record_sequence(at)));
    }
}
