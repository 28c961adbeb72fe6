/* get, gets, gat and gats: one line with any number of keys, each answered as it is read.
 *
 * A line up to REQUEST_LINE_MAX is all there before its first key is looked up, so that a bad key
 * in it can take back the items before it and leave only the error, as memcached does. A longer one
 * is answered while it comes; a bad key in it ends its reply with the error behind the items. */
#ifndef STAYD_PROTO_RETRIEVAL_H
#define STAYD_PROTO_RETRIEVAL_H

#include "proto/request.h"

enum retrieval_variant { RETRIEVAL_CAS = 1, RETRIEVAL_TOUCH = 2 };

enum request_end retrieval_run(struct request *request, unsigned variant);

/* A retrieval whose line is longer than the limit; `line` is what lies within it. */
enum request_end retrieval_run_long(struct request *request, unsigned variant);

/* Goes on with a retrieval in PROTO_PHASE_KEYS: `start` is where its next key begins. */
enum request_end retrieval_resume(struct request *request);

#endif
