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

/* How long the log is to keep the record, so that no host misses it: some time longer than it
 * counts. 0: for ever. */
uint32_t message_life_s(const struct replica *change, uint32_t now_s, uint32_t keep_s);

#endif
