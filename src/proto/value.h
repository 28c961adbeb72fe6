/* The value after a request line (set and the like, ms, a login). A value that is accepted is used
 * in place, once all of it has arrived. A value that is refused at its line is discarded as it
 * arrives, and never read as requests: otherwise a user who chooses a bad key and the value could
 * send commands. If a refused line does not say how long its value is, the connection closes.
 * Inside proto/ only. */
#ifndef STAYD_PROTO_VALUE_H
#define STAYD_PROTO_VALUE_H

#include "proto/event.h"
#include "proto/request.h"

#define VALUE_LENGTH_UNKNOWN UINT32_MAX /* above VALUE_BYTES_MAX */

enum value_state {
    VALUE_WHOLE, /* `value` is complete, and `next` is behind it */
    VALUE_BAD,   /* there is no line end after the value; `next` is 2 bytes behind the value */
    VALUE_WAITS, /* incomplete: the handler returns REQUEST_WAITS */
};

enum value_state value_take(struct request *request, uint32_t length, struct bytes *value);

/* Refuses a request at its line, with this reply. Its value is discarded as it arrives. If the
 * length is not known, the connection closes. */
enum request_end value_refuse(struct request *request, const char *reply, uint32_t length);

/* Refuses a value that is too large. The reply is sent after the value has arrived, as by
 * memcached. */
enum request_end value_refuse_behind(struct request *request, uint32_t length);

/* Discards what has arrived of a refused value (progress->skip_bytes). */
enum request_end value_skip(struct request *request);

/* Whether an item may be as large as this key and value. */
bool value_fits(const struct request *request, struct bytes key, uint32_t length);

/* Counts an item that is too large, and reports it to watchers. */
void value_note_too_large(struct request *request, struct bytes key, uint32_t length,
                          enum event_command command);

/* Call when a new value cannot be stored. A pool that evicts deletes the old item, so that a value
 * that the client meant to replace is not served (memcached's rule). A pool that does not evict
 * keeps the old item: a user stays logged in although an update did not fit. Returns
 * STATUS_NEEDS_ROOM, and deletes nothing, while there is no room for a tombstone. A caller whose
 * pool_store has failed does not wait for that room: the old item then stays. */
enum status value_drop_old(struct request *request, struct bytes key);

#endif
