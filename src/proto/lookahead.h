/* Looking ahead in a pipeline: most of the time that a look-up takes is two cache misses, the
 * bucket's and the record's. When several requests have arrived at once, the keys of the next ones
 * are found first and their memory is asked for, so that the misses overlap. Only a hint: what is
 * taken for a key here need not be one. */
#ifndef STAYD_PROTO_LOOKAHEAD_H
#define STAYD_PROTO_LOOKAHEAD_H

#include "proto/request.h"

/* Prefetches what the next requests of the input will look up. Returns after how many of them it is
 * worth calling again, at least 1. */
unsigned lookahead(const struct request *request);

#endif
