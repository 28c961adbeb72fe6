/* Sessions as the Python package packs them (python/stayd/packing.py): one byte with the number of
 * the dictionary, then a zstd frame without its magic number. */
#ifndef STAYD_CTL_UNPACK_H
#define STAYD_CTL_UNPACK_H

#include "base/bytes.h"

enum { UNPACK_MAX = 1 << 20 /* the maximum size of a value, packed and unpacked */ };

/* True if the value is a packed session. Then `unpacked` refers to the unpacked bytes, which are
 * valid until the next call. One thread at a time. */
bool unpack_session(struct bytes value, struct bytes *unpacked);

#endif
