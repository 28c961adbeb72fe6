/* The value that stands behind a request line (set and its like, ms, a login): it is used where it
 * lies in the input, once all of it has come, or it is refused at its line and thrown away as it
 * comes. A value that is thrown away is never read as requests: a client that may choose a key that
 * is refused, and the value with it, could otherwise send commands. Where a line that is refused
 * does not tell how long its value is, the connection closes. Inside proto/ only. */
#ifndef STAYD_PROTO_VALUE_H
#define STAYD_PROTO_VALUE_H

#include "proto/event.h"
#include "proto/request.h"

#define VALUE_LENGTH_UNKNOWN UINT32_MAX /* above VALUE_BYTES_MAX */

enum value_state {
    VALUE_WHOLE, /* `value` is it, and `next` stands behind it */
    VALUE_BAD,   /* no line end where it should be; `next` stands behind that place */
    VALUE_WAITS, /* not all has come: the handler returns REQUEST_WAITS */
};

enum value_state value_take(struct request *request, uint32_t length, struct bytes *value);

/* Refuses a request at its line with this reply. The value behind the line is thrown away as it
 * comes; if its length is not known, the connection closes. */
enum request_end value_refuse(struct request *request, const char *reply, uint32_t length);

/* Refuses a value that is too large: the reply comes once the value has come, as memcached's does.
 */
enum request_end value_refuse_behind(struct request *request, uint32_t length);

/* Throws away what has come of a value that was refused (progress->skip_bytes). */
enum request_end value_skip(struct request *request);

/* Whether an item with this key and value may be as large as that. */
bool value_fits(const struct request *request, struct bytes key, uint32_t length);

/* It may not: counts that, and tells watchers. */
void value_note_too_large(struct request *request, struct bytes key, uint32_t length,
                          enum event_command command);

/* For a store that fails. A pool that evicts deletes the old item, so that what the client meant to
 * replace is not served (memcached's rule). A pool that does not evict keeps it: a user stays
 * logged in although an update did not fit. STATUS_NEEDS_ROOM, with nothing done: the tombstone of
 * the old item has no room yet. After a store that found no room, there is none for a tombstone
 * either: then the old item stays. */
enum status value_drop_old(struct request *request, struct bytes key);

#endif
