/* Reads records. In a file of its own because libstayd, which only reads mapped pools, needs no
 * checksums. */
#include "store/record.h"

void record_read_again(const struct layout_record *at, struct record *record) {
    record->accessed_s = atomic_load_explicit(
        &at->accessed_s, memory_order_relaxed); /* a hint, pairs with nothing */
    if (!record->touchable) {
        return;
    }
    const struct layout_touch *touch = record_touch_at(at);
    /* acquire, both loads: pair with the releases in record_touch */
    uint64_t word = atomic_load_explicit(&touch->expiry, memory_order_acquire);
    uint32_t expiry_s = layout_touch_expiry_s(word);
    uint32_t touches = layout_touch_count(word);
    record->touch_damaged = word != layout_touch_word(expiry_s, touches, record->sequence);
    record->touches = record->touch_damaged ? 0 : touches;
    record->touch_sequence = atomic_load_explicit(&touch->sequence, memory_order_acquire);
    if (!record->touch_damaged) {
        record->expiry_s = expiry_s;
    }
}

bool record_read(const struct layout_record *at, size_t room, struct record *record) {
    if (room < sizeof *at) {
        return false;
    }
    /* Each field is read once: in another process's mapping it may change between two reads. */
    const volatile struct layout_record *once = at;
    uint8_t info = once->info;
    size_t key_size = once->key_size;
    size_t value_size = once->value_size;
    if ((info & LAYOUT_KIND_MASK) == LAYOUT_NONE ||
        sizeof *at + record_options_size(info) + key_size + value_size > room) {
        return false;
    }
    record->kind = (enum layout_kind)(info & LAYOUT_KIND_MASK);
    record->stale = (info & LAYOUT_STALE) != 0;
    record->token_sent = (info & LAYOUT_TOKEN_SENT) != 0;
    record->touchable = record_is_touchable(info);
    record->paired = (info & LAYOUT_PAIRED) != 0 && record->kind != LAYOUT_VALUE;
    record->expiry_s = once->expiry_s;
    record->sequence = (uint64_t)once->sequence_high << 32 | once->sequence_low;
    const char *from = (const char *)(at + 1);
    record->touches = 0;
    record->touch_sequence = 0;
    record->touch_damaged = false;
    record_read_again(at, record);
    if (record->touchable) {
        from += sizeof(struct layout_touch);
    }
    record->client_flags = 0;
    if (info & LAYOUT_HAS_CLIENT_FLAGS) {
        memcpy(&record->client_flags, from, sizeof record->client_flags);
        from += sizeof record->client_flags;
    }
    record->cas = record->sequence;
    if (info & LAYOUT_HAS_CAS) {
        memcpy(&record->cas, from, sizeof record->cas);
        from += sizeof record->cas;
    }
    record->created_s = 0;
    if (info & LAYOUT_HAS_CREATED) {
        memcpy(&record->created_s, from, sizeof record->created_s);
        from += sizeof record->created_s;
    }
    record->key = bytes_from(from, key_size);
    record->value = bytes_from(from + key_size, value_size);
    record->value_tail = bytes_from(NULL, 0);
    return true;
}
