/* get, gets, gat and gats: one line with any number of keys. Each key is answered as it is read.
 *
 * A line up to REQUEST_LINE_MAX has arrived completely before its first key is looked up. So if a
 * key is bad, the reply is only an error, without the items before it, as in memcached. A longer
 * line is answered while it arrives; a bad key in it ends the reply with an error after the
 * items. */
#ifndef STAYD_PROTO_RETRIEVAL_H
#define STAYD_PROTO_RETRIEVAL_H

#include "proto/request.h"

enum retrieval_variant { RETRIEVAL_CAS = 1, RETRIEVAL_TOUCH = 2 };

enum request_end retrieval_run(struct request *request, unsigned variant);

/* Begins a retrieval whose line is longer than the limit; `line` is the part within the limit. */
enum request_end retrieval_run_long(struct request *request, unsigned variant);

/* Continues a retrieval in PROTO_PHASE_KEYS; its next key begins at `start`. */
enum request_end retrieval_resume(struct request *request);

#endif
