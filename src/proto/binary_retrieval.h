/* get, touch and gat of the binary protocol, with and without the key in the response. */
#ifndef STAYD_PROTO_BINARY_RETRIEVAL_H
#define STAYD_PROTO_BINARY_RETRIEVAL_H

#include "proto/binary.h"

enum binary_retrieval_variant {
    BINARY_RETRIEVAL_KEY = 1,   /* the response has the key, also when there is no item */
    BINARY_RETRIEVAL_TOUCH = 2, /* the extras are the item's new expiry */
    /* touch: the response has the flags of the item, not its value */
    BINARY_RETRIEVAL_NO_VALUE = 4,
};

binary_handler binary_retrieval_run;

#endif
