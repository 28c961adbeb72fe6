/* Base64 of keys in meta commands (flag b). As lenient as memcached: bytes outside the alphabet are
 * skipped, and blocks after the padding are ignored. */
#ifndef STAYD_PROTO_BASE64_H
#define STAYD_PROTO_BASE64_H

#include "base/bytes.h"

#include <stddef.h>

/* Writes at most text.size / 4 * 3 bytes, and returns their number; 0: the text is not base64. */
size_t base64_decode(struct bytes text, char *data);

static inline size_t base64_encoded_size(size_t size) {
    return (size + 2) / 3 * 4;
}

/* Writes base64_encoded_size(data.size) bytes, with padding and without line ends. */
void base64_encode(struct bytes data, char *text);

#endif
