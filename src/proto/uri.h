/* Keys in lines of key=value pairs: bytes other than letters, digits and -._~ become %NN, as in RFC
 * 3986 and in memcached. */
#ifndef STAYD_PROTO_URI_H
#define STAYD_PROTO_URI_H

#include "store/pool.h"

enum { URI_KEY_MAX = POOL_KEY_MAX * 3 };

/* Writes at most key.size * 3 bytes. Returns the end of what it wrote. */
char *uri_put(char *at, struct bytes key);

#endif
