/* set, add, replace, append and prepend of the binary protocol. As in text (storage.h), the value
 * is used in place once it has arrived completely. A value that will not be stored is discarded as
 * it arrives. */
#ifndef STAYD_PROTO_BINARY_STORAGE_H
#define STAYD_PROTO_BINARY_STORAGE_H

#include "proto/binary.h"

/* The variant is an enum pool_store_mode. */
binary_handler binary_storage_run;

#endif
