/* A record of the log as bytes: all that a host must know of an item, or that there is none.
 *
 *     | version | kind | flags | 0 | crc | client flags | expiry | created | accessed |
 *     | write id: host, number | flush | value ...
 *
 *     little-endian; 48 bytes before the value. The CRC32C covers the key and all but itself.
 *
 * The write id says which write of which host this is: by it a host finds out whether a write whose
 * answer was lost is in the log. */
#ifndef STAYD_CLUSTER_MESSAGE_H
#define STAYD_CLUSTER_MESSAGE_H

#include "base/buffer.h"
#include "store/replication.h"

enum { MESSAGE_VERSION = 1, MESSAGE_HEAD_BYTES = 48 };

struct message_id {
    uint64_t host;   /* random, of one run of a daemon */
    uint64_t number; /* counts its writes */
};

/* Replaces the buffer's contents. False if memory is short. */
bool message_write(struct buffer *buffer, const struct replica *replica, struct message_id id);

enum message_fault { MESSAGE_GOOD, MESSAGE_DAMAGED, MESSAGE_OTHER_VERSION };

/* `replica` has key and sequence; the rest is filled in. Its value points into the payload. */
enum message_fault message_read(struct bytes payload, struct replica *replica,
                                struct message_id *id);

/* How long the log keeps records that do not count any more, so that no host misses their end. */
struct message_life {
    uint32_t keep_s;         /* a tombstone, and an item that has expired */
    uint32_t idle_timeout_s; /* of the pool; 0: none */
};

enum { MESSAGE_LATE_S = 60 * 60 };

/* How long the log is to keep the record. 0: for ever. `expected`: the sequence of the record that
 * it replaces; 0: the log has none. A tombstone of a key that the log does not know need not end
 * anything that a host has; it is only there to refuse writes that are still on their way, which
 * takes minutes at most: TCP gives up after some 15. */
uint32_t message_life_s(const struct replica *change, uint64_t expected,
                        const struct message_life *life, uint32_t now_s);

#endif
