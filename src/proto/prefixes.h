/* stats detail: counts how often keys with the same prefix were read, stored and deleted. A prefix
 * is the part of a key before its first delimiter; keys without a delimiter are not counted. There
 * are at most PREFIXES_MAX prefixes, so that a client that invents prefixes uses a bounded amount
 * of memory; keys with further prefixes are not counted. Any thread may call; one lock. */
#ifndef STAYD_PROTO_PREFIXES_H
#define STAYD_PROTO_PREFIXES_H

#include "base/buffer.h"
#include "base/bytes.h"

#include <stdbool.h>

enum { PREFIXES_MAX = 1000, PREFIX_DELIMITER = ':' /* the default */ };

enum prefix_counter { PREFIX_GETS, PREFIX_HITS, PREFIX_SETS, PREFIX_DELETES, PREFIX_COUNTERS };

struct prefixes;

/* NULL if memory is short. Allocates the prefixes when the first one is counted. */
struct prefixes *prefixes_create(char delimiter);
void prefixes_destroy(struct prefixes *prefixes);

void prefixes_count(struct prefixes *prefixes, struct bytes key, enum prefix_counter counter);
void prefixes_count_get(struct prefixes *prefixes, struct bytes key, bool hit);

/* Removes all prefixes. */
void prefixes_clear(struct prefixes *prefixes);

/* Appends PREFIX <prefix> get <n> hit <n> set <n> del <n>\r\n for each prefix; blanks and control
 * characters in a prefix become %NN. False: no memory. */
bool prefixes_dump(struct prefixes *prefixes, struct buffer *replies);

#endif
