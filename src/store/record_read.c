/* Reads records. In a file of its own because libstayd, which only reads mapped pools, needs no
 * checksums. */
#include "store/record.h"

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
    record->paired = (info & LAYOUT_PAIRED) != 0;
    record->expiry_s = once->expiry_s;
    record->accessed_s = atomic_load_explicit(
        &at->accessed_s, memory_order_relaxed); /* a hint, pairs with nothing */
    record->sequence = (uint64_t)once->sequence_high << 32 | once->sequence_low;
    const char *from = (const char *)(at + 1);
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
