/* Looks ahead in a pipeline. Most of a look-up's time is two cache misses, the bucket's and the
 * record's. When several requests have arrived at once, the keys of the next ones are found first
 * and their memory is prefetched, so that the misses overlap. This is only a hint: a word that
 * looks like a key may be something else. */
#ifndef STAYD_PROTO_LOOKAHEAD_H
#define STAYD_PROTO_LOOKAHEAD_H

#include "proto/request.h"

/* Prefetches the items of the next requests in the input. Returns the number of these requests, at
 * least 1; call it again after so many. */
unsigned lookahead(const struct request *request);

#endif
