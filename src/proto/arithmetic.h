/* incr and decr. */
#ifndef STAYD_PROTO_ARITHMETIC_H
#define STAYD_PROTO_ARITHMETIC_H

#include "proto/request.h"

enum arithmetic_variant { ARITHMETIC_INCREMENT, ARITHMETIC_DECREMENT };

enum request_end arithmetic_run(struct request *request, unsigned variant);

#endif
