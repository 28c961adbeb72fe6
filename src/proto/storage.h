/* set, add, replace, append, prepend and cas, and what they share with ms: a line, and a value
 * behind it that is used where it lies in the input, once all of it has come. A value that will not
 * be stored is never waited for: it is refused at its line and thrown away as it comes. It is never
 * read as requests: whoever chooses a key that is refused, and the value with it, would command the
 * pool. Where a line that is refused does not tell how long its value is, the connection ends. */
#ifndef STAYD_PROTO_STORAGE_H
#define STAYD_PROTO_STORAGE_H

#include "proto/event.h"
#include "proto/request.h"

enum storage_variant {
    STORAGE_SET,
    STORAGE_ADD,
    STORAGE_REPLACE,
    STORAGE_APPEND,
    STORAGE_PREPEND,
    STORAGE_CAS,
};

/* Before the login: refused, whatever it says, and its value passed over. */
enum request_end storage_run(struct request *request, unsigned variant);

/* Whether an item with this key and value may be as large as that. If not, says so in the counters,
 * and to those who watch. */
bool storage_fits(struct request *request, struct bytes key, uint32_t length,
                  enum event_command command);

#define STORAGE_LENGTH_UNKNOWN UINT32_MAX /* above VALUE_BYTES_MAX */

/* Refuses a request at its line with this reply. The value behind the line is thrown away as it
 * comes; if its length is not known, the connection closes. */
enum request_end storage_refuse(struct request *request, const char *reply, uint32_t length);

/* Refuses a value that is too large: as above, but the reply comes once the value has come, as
 * memcached's does. */
enum request_end storage_refuse_value(struct request *request, uint32_t length);

enum storage_value {
    STORAGE_VALUE_WHOLE, /* `value` is it, and `next` stands behind it */
    STORAGE_VALUE_BAD,   /* no line end where it should be; `next` stands behind that place */
    STORAGE_VALUE_WAITS, /* not all has come: the handler returns REQUEST_WAITS */
};

enum storage_value storage_take_value(struct request *request, uint32_t length,
                                      struct bytes *value);

/* After a store failed. In a pool that may forget, the old item goes, so that what the client meant
 * to replace is not served (memcached's rule); in one that may not, it stays: whoever is logged in
 * stays so although an update did not fit. */
void storage_forget(struct request *request, struct bytes key);

#endif
