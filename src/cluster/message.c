#include "cluster/message.h"

#include "base/hash.h"

enum message_kind { MESSAGE_VALUE = 1, MESSAGE_TOMBSTONE = 2 };

enum {
    MESSAGE_STALE = 1,
    MESSAGE_TOKEN_SENT = 2,
    MESSAGE_KEEPS_READS = 4,
    MESSAGE_DERIVED = 8,
    MESSAGE_FLAGS = 15
};

struct message_head {
    uint8_t version;
    uint8_t kind;
    uint8_t flags;
    uint8_t reserved;
    uint32_t crc;
    uint32_t client_flags;
    uint32_t expiry_s;
    uint32_t created_s;
    uint32_t accessed_s;
    uint64_t host;
    uint64_t number;
    uint64_t flush;
};

_Static_assert(sizeof(struct message_head) == MESSAGE_HEAD_BYTES, "the format of the log");

static uint32_t message_crc(const struct message_head *head, struct bytes key, struct bytes value) {
    struct message_head covered = *head;
    covered.crc = 0;
    uint32_t crc = hash_crc32c(0, &covered, sizeof covered);
    crc = hash_crc32c(crc, key.data, key.size);
    return value.size > 0 ? hash_crc32c(crc, value.data, value.size) : crc;
}

bool message_write(struct buffer *buffer, const struct replica *replica, struct message_id id) {
    struct message_head head = {
        .version = MESSAGE_VERSION,
        .kind = replica->removed ? MESSAGE_TOMBSTONE : MESSAGE_VALUE,
        .flags = (uint8_t)((replica->stale ? MESSAGE_STALE : 0) |
                           (replica->token_sent ? MESSAGE_TOKEN_SENT : 0) |
                           (replica->keeps_reads ? MESSAGE_KEEPS_READS : 0) |
                           (replica->derived ? MESSAGE_DERIVED : 0)),
        .client_flags = replica->client_flags,
        .expiry_s = replica->expiry_s,
        .created_s = replica->created_s,
        .accessed_s = replica->accessed_s,
        .host = id.host,
        .number = id.number,
        .flush = replica->flush,
    };
    struct bytes value = replica->removed ? bytes_from(NULL, 0) : replica->value;
    head.crc = message_crc(&head, replica->key, value);
    buffer->size = 0;
    return buffer_reserve(buffer, sizeof head + value.size) &&
           buffer_append(buffer, &head, sizeof head) &&
           (value.size == 0 || buffer_append(buffer, value.data, value.size));
}

enum message_fault message_read(struct bytes payload, struct replica *replica,
                                struct message_id *id) {
    struct message_head head;
    if (payload.size < sizeof head) {
        return MESSAGE_DAMAGED;
    }
    memcpy(&head, payload.data, sizeof head);
    struct bytes value = bytes_from(payload.data + sizeof head, payload.size - sizeof head);
    if (head.version != MESSAGE_VERSION) {
        return MESSAGE_OTHER_VERSION;
    }
    if (head.crc != message_crc(&head, replica->key, value)) {
        return MESSAGE_DAMAGED;
    }
    if ((head.kind != MESSAGE_VALUE && head.kind != MESSAGE_TOMBSTONE) ||
        head.flags > MESSAGE_FLAGS || (head.kind == MESSAGE_TOMBSTONE && value.size > 0)) {
        return MESSAGE_OTHER_VERSION;
    }
    replica->removed = head.kind == MESSAGE_TOMBSTONE;
    replica->stale = (head.flags & MESSAGE_STALE) != 0;
    replica->token_sent = (head.flags & MESSAGE_TOKEN_SENT) != 0;
    replica->keeps_reads = (head.flags & MESSAGE_KEEPS_READS) != 0;
    replica->derived = (head.flags & MESSAGE_DERIVED) != 0;
    replica->flush = head.flush;
    replica->client_flags = head.client_flags;
    replica->expiry_s = head.expiry_s;
    replica->created_s = head.created_s;
    replica->accessed_s = head.accessed_s;
    replica->value = value;
    *id = (struct message_id){head.host, head.number};
    return MESSAGE_GOOD;
}

uint32_t message_life_s(const struct replica *change, uint64_t expected,
                        const struct message_life *life, uint32_t now_s) {
    if (change->removed) {
        bool is_short = expected == 0 && life->keep_s > MESSAGE_LATE_S;
        return is_short ? MESSAGE_LATE_S : life->keep_s;
    }
    uint64_t end_s = change->expiry_s != 0 ? change->expiry_s : UINT64_MAX;
    uint64_t idle_s = (uint64_t)change->accessed_s + life->idle_timeout_s;
    if (life->idle_timeout_s != 0 && idle_s < end_s) {
        end_s = idle_s;
    }
    if (end_s == UINT64_MAX) {
        return 0;
    }
    uint64_t left_s = (end_s > now_s ? end_s - now_s : 0) + life->keep_s;
    return left_s < UINT32_MAX ? (uint32_t)left_s : 0;
}
