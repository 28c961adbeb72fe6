/* set, add, replace, append and prepend of the binary protocol. As with text (storage.h), the value
 * is used where it lies in the input once all of it has come, and one that will not be stored is
 * never waited for but thrown away as it comes. */
#ifndef STAYD_PROTO_BINARY_STORAGE_H
#define STAYD_PROTO_BINARY_STORAGE_H

#include "proto/binary.h"

/* The variant is an enum pool_store_mode. */
binary_handler binary_storage_run;

#endif
