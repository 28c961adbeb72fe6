/* MD5 (RFC 1321), which ketama needs; not for anything secret. OpenSSL's MD5 is slower (0.36 to
 * 0.65 us for a session's key, here 0.22 us), and is not available in FIPS mode. */
#ifndef STAYD_LIB_MD5_H
#define STAYD_LIB_MD5_H

#include "base/bytes.h"

#include <stdint.h>

enum { MD5_BYTES = 16 };

void md5(struct bytes text, uint8_t digest[MD5_BYTES]);

#endif
