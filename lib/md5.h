/* MD5 (RFC 1321), because ketama is defined with it: not for anything secret. OpenSSL's costs a
 * lock and some allocations for each key, and systems in FIPS mode have none. */
#ifndef STAYD_LIB_MD5_H
#define STAYD_LIB_MD5_H

#include "base/bytes.h"

#include <stdint.h>

enum { MD5_BYTES = 16 };

void md5(struct bytes text, uint8_t digest[MD5_BYTES]);

#endif
