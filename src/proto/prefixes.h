/* stats detail: how often keys with the same prefix were read, stored and deleted. A prefix is what
 * stands before the first delimiter of a key; keys without one are not counted. At most
 * PREFIXES_MAX of them, so that a client that makes them up costs no more memory than that; keys
 * with others are not counted. Any thread; one lock. */
#ifndef STAYD_PROTO_PREFIXES_H
#define STAYD_PROTO_PREFIXES_H

#include "base/buffer.h"
#include "base/bytes.h"

#include <stdbool.h>

enum { PREFIXES_MAX = 1000, PREFIX_DELIMITER = ':' /* unless another is asked for */ };

enum prefix_counter { PREFIX_GETS, PREFIX_HITS, PREFIX_SETS, PREFIX_DELETES, PREFIX_COUNTERS };

struct prefixes;

/* NULL if memory is short. Takes no room for prefixes before the first is counted. */
struct prefixes *prefixes_create(char delimiter);
void prefixes_destroy(struct prefixes *prefixes);

void prefixes_count(struct prefixes *prefixes, struct bytes key, enum prefix_counter counter);
void prefixes_count_get(struct prefixes *prefixes, struct bytes key, bool hit);

/* Forgets all of them. */
void prefixes_clear(struct prefixes *prefixes);

/* Appends PREFIX <prefix> get <n> hit <n> set <n> del <n>\r\n for each; blanks and control
 * characters in it become %NN. False: no memory. */
bool prefixes_dump(struct prefixes *prefixes, struct buffer *replies);

#endif
