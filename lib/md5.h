/* MD5 (RFC 1321), which ketama needs; not for anything secret. OpenSSL's MD5 takes a lock and some
 * allocations for each key, and is not available in FIPS mode. */
#ifndef STAYD_LIB_MD5_H
#define STAYD_LIB_MD5_H

#include "base/bytes.h"

#include <stdint.h>

enum { MD5_BYTES = 16 };

void md5(struct bytes text, uint8_t digest[MD5_BYTES]);

#endif
