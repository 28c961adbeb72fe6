/* Receives a group of statistics as pairs of a name and a value, and writes them in the
 * connection's protocol. The code that lists statistics knows nothing else about the protocol.
 *
 *     text:   STAT <name> <value>\r\n
 *     binary: a response for each pair, with the name as its key */
#ifndef STAYD_PROTO_STATS_SINK_H
#define STAYD_PROTO_STATS_SINK_H

#include "base/buffer.h"
#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

struct stats_sink {
    /* Writes one pair, and reserves the room for it. Sets `failed` if memory is short. */
    void (*write)(struct stats_sink *sink, struct bytes name, struct bytes value);
    struct buffer *replies;
    uint32_t opaque; /* binary: the request's opaque, repeated in each response */
    bool failed;     /* a pair is missing: close the connection */
};

/* `value` may be any bytes of any length. */
void stats_put_bytes(struct stats_sink *sink, struct bytes name, struct bytes value);

/* Values of at most 255 bytes. */
__attribute__((format(printf, 3, 4))) void stats_put(struct stats_sink *sink, const char *name,
                                                     const char *format, ...);
void stats_put_u64(struct stats_sink *sink, const char *name, uint64_t number);
void stats_put_bool(struct stats_sink *sink, const char *name, bool yes);

#endif
